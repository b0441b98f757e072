"""Image files and arrays into uint8 tensors of one size and one number of channels."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdlib.errors import UserError
from kdlib.progress import Progress

CHUNK = 128  # images a thread takes at a time
WORTH_A_BAR = 3000  # images, about a second


def read_images(paths: Sequence[Path], image_size: int | None, grayscale: bool, what: str) -> torch.Tensor:
    """Decode files into one uint8 tensor (N, C, H, W): C is 3, or 1 when grayscale.

    image_size: side in pixels; the whole picture is resized to a square, bilinear with antialiasing.
    Without it all images must have one size. what: the progress bar's label.
    Raises UserError for an unreadable image (named) and for sizes that differ without image_size.
    """
    if not paths:
        side = image_size or 0
        return torch.empty(0, 1 if grayscale else 3, side, side, dtype=torch.uint8)
    first = _decode(paths[0], image_size, grayscale)
    out = np.empty((len(paths), *first.shape), dtype=np.uint8)

    def fill(start: int) -> int:
        chunk = paths[start : start + CHUNK]
        for place, path in enumerate(chunk, start):
            image = _decode(path, image_size, grayscale)
            if image.shape != first.shape:
                raise UserError(
                    f"images differ in size: {paths[0]} is {_size(first)}, {path} is {_size(image)}; "
                    "give image_size (a side in pixels) to resize them"
                )
            out[place] = image
        return len(chunk)

    bar = Progress(len(paths), f"reading {what}") if len(paths) >= WORTH_A_BAR else nullcontext()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, bar as shown:
        try:
            # Results come back in the files' order, and so does an error: it always names the first file.
            for done in pool.map(fill, range(0, len(paths), CHUNK)):
                if shown:
                    shown.advance(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def conform(images: torch.Tensor, image_size: int | None, grayscale: bool) -> torch.Tensor:
    """Images that are in memory already, brought to what `read_images` would have made of them.

    images: uint8 (N, C, H, W), C 1 or 3.
    """
    channels, *sides = images.shape[1:]
    if (image_size is None or sides == [image_size, image_size]) and (channels == 1) == grayscale:
        return images
    if not len(images):
        return images.new_empty(0, 1 if grayscale else 3, image_size or sides[0], image_size or sides[1])
    arrays = images.permute(0, 2, 3, 1).numpy()
    done = [_array(Image.fromarray(a[..., 0] if channels == 1 else a), image_size, grayscale) for a in arrays]
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).contiguous()


def _decode(path: Path, image_size: int | None, grayscale: bool) -> np.ndarray:
    """One file as uint8 (H, W, C)."""
    try:
        with Image.open(path) as image:
            if image_size is not None:
                # A JPEG can be decoded at a half, a quarter or an eighth: large photographs load much faster.
                image.draft(None, (2 * image_size, 2 * image_size))
            return _array(image, image_size, grayscale)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise UserError(f"cannot read image {path} ({reason}): replace or remove it") from None


def _array(image: Image.Image, image_size: int | None, grayscale: bool) -> np.ndarray:
    mode = "L" if grayscale else "RGB"
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it to white
        image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != mode:
        image = image.convert(mode)
    if image_size is not None and image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., None] if grayscale else array


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
