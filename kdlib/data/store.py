"""Decoded images in the user's cache folder: a collection is decoded once, and then mapped into memory."""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from kdlib.data.images import RULES, Decoding
from kdlib.files import cache_folder, make_room, whole
from kdlib.progress import note

LIMIT = 20_000_000_000
"""Bytes; beyond them the longest unused collections go."""
OFF = "KDLIB_NO_STORE"
"""An environment variable that turns the store off."""
_WORTH = 1000  # images


def stored(
    paths: Sequence[Path],
    decoding: Decoding,
    decode: Callable[[], torch.Tensor],
    keep: Callable[[], bool] = lambda: True,
) -> torch.Tensor:
    """Return what ``decode`` gives for these files, uint8 (N, C, H, W), from the store where it is there.

    A collection is known by its files' paths, sizes and times, and by what is made of them. ``keep``, asked after
    decoding, says whether the pixels depend on these files alone. Few images, and calls with
    KDLIB_NO_STORE in the environment, do without the store; so does what cannot be written.
    """
    if len(paths) < _WORTH or os.environ.get(OFF):
        return decode()
    try:
        folder, key = cache_folder() / "images", _key(paths, decoding)
    except OSError:  # a file is missing: decoding says which
        return decode()
    for path in folder.glob(f"{key}.*.npy"):
        with contextlib.suppress(Exception):  # damaged, its header may raise anything
            found = np.load(path, mmap_mode="c", allow_pickle=False)
            right = found.dtype == np.uint8 and found.ndim == 4 and len(found) == len(paths)
            if right and path.name == _named(key, found):
                os.utime(path)
                return torch.from_numpy(found)
    images = decode()
    if not keep():
        return images
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for damaged in folder.glob(f"{key}.*.npy"):
            damaged.unlink(missing_ok=True)
        if make_room(folder, "*.npy", images.numel(), LIMIT):
            array = images.numpy()
            with whole(folder / _named(key, array)) as aside, open(aside, "wb") as file:
                np.save(file, array)
            size = f"{images.numel() / 1e6:,.0f} MB"
            note(f"decoded images kept in {folder} ({size}; --no-store: not)")
    except OSError:
        pass
    return images


def _named(key: str, images: np.ndarray) -> str:
    """A file's name holds the checksum of its pixels: damaged ones are never taken for the images."""
    return f"{key}.{zlib.crc32(np.ascontiguousarray(images)):08x}.npy"


def _key(paths: Sequence[Path], decoding: Decoding) -> str:
    digest = hashlib.sha256(f"{RULES} {decoding}".encode())
    for path in paths:
        about = os.stat(path)
        digest.update(f"\n{os.path.abspath(path)} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]
