"""Folders of images to load."""

from pathlib import Path

import numpy as np
from PIL import Image


def two_classes(folder: Path, **counts: int) -> Path:
    """Write so many images of 12×10 pixels a part and class, ``train=15, test=10``; return the folder."""
    chance = np.random.default_rng(0)
    for part, count in counts.items():
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = chance.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder
