"""Name what images show, by an exported ONNX file: onnxruntime, Pillow and numpy, nothing of torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdlib.errors import UserError, first_line
from kdlib.progress import note

BATCH = 32


def open_file(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """The onnxruntime session of an exported file, and what it says of itself.

    Raises ``UserError`` where onnxruntime is missing, the file is not there, or is none of `kdlib export`.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise UserError(f"{path} is not there; write it with: kdlib export RUN")
    try:
        import onnxruntime
    except ImportError:
        raise UserError("predicting needs onnxruntime, which is not installed; install kdlib[export]") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has errors of its own
        raise UserError(f"{path} is no ONNX file: {first_line(error)}") from None
    about = dict(session.get_modelmeta().custom_metadata_map)
    if "classes" not in about:
        raise UserError(f"{path} does not name its classes; write it with: kdlib export RUN")
    return session, {**about, "classes": json.loads(about["classes"])}


def logits(session: Any, images: np.ndarray) -> np.ndarray:
    """Logits (N, K) of images, uint8 (N, C, H, W), batch by batch."""
    starts = range(0, len(images), BATCH)
    return np.concatenate([session.run(None, {"images": images[k : k + BATCH]})[0] for k in starts])


def predict(file: str | Path, images: Sequence[str | Path], top: int = 5) -> Iterator[dict[str, Any]]:
    """Yield for each image its path and the ``top`` classes with their probabilities; for one that cannot be read,
    its path and ``error``."""
    from tqdm import tqdm

    session, about = open_file(file)
    paths = [path for image in images for path in _files(Path(os.path.expanduser(image)))]
    with tqdm(total=len(paths), desc="predicting", unit="image", disable=len(paths) <= BATCH) as bar:
        for begin in range(0, len(paths), BATCH):
            chunk = paths[begin : begin + BATCH]
            read = [_read(path, about) for path in chunk]
            good = [pixels for pixels in read if isinstance(pixels, np.ndarray)]
            answers = iter(logits(session, np.stack(good)) if good else ())
            for path, pixels in zip(chunk, read, strict=True):
                bar.update()
                if isinstance(pixels, str):
                    yield {"path": str(path), "error": pixels}
                else:
                    yield {"path": str(path), "classes": _named(next(answers), about["classes"], top)}


def _named(answer: np.ndarray, classes: list[str], top: int) -> list[dict[str, Any]]:
    weights = np.exp(answer - answer.max())
    shares = weights / weights.sum()
    return [{"class": classes[k], "probability": round(float(shares[k]), 6)} for k in np.argsort(-shares)[:top]]


def _files(path: Path) -> list[Path]:
    """An image, or every file of a folder that Pillow knows by its name."""
    if not path.is_dir():
        return [path]
    from PIL import Image

    Image.init()
    known = sorted(p for p in path.rglob("*") if p.suffix.lower() in Image.EXTENSION and p.name[0] != ".")
    if not known:
        note(f"{path} holds no images that Pillow knows")
    return known


def _read(path: Path, about: dict[str, Any]) -> np.ndarray | str:
    """An image as the network was trained on: turned as EXIF says, laid over a background, scaled; uint8 (C, H, W), or
    what is wrong with it."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode == "F" or image.mode.startswith("I"):
                # In training such values were scaled by the range of the whole folder, which is not known here.
                return f"it has more than 8 bits a value (mode {image.mode}); save it with 8"
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                over = Image.new("RGBA", image.size, about.get("background", "white"))
                over.alpha_composite(image.convert("RGBA"))
                image = over.convert("RGB")
            image = image.convert("L" if about["channels"] == "1" else "RGB")
            side, box = min(image.size), None
            if about.get("resize") == "crop":
                left, top = (image.width - side) / 2, (image.height - side) / 2
                box = (left, top, left + side, top + side)
            image = image.resize((int(about["width"]), int(about["height"])), Image.Resampling.BILINEAR, box=box)
            pixels = np.asarray(image, dtype=np.uint8)
    except Exception as error:  # Pillow raises what the format's reader raises
        return first_line(error)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
