"""Image files and arrays into uint8 tensors of one size and one number of channels."""

import os
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps

from kdlib.errors import UserError
from kdlib.progress import Progress, note

CHUNK = 128  # images a thread takes at a time
WORTH_A_BAR = 3000  # images, about a second
RULES = 2
"""Of decoding; it goes up when an image would be decoded to other pixels. 2: orientation, transparency, bit depth."""

RESIZES = ("squash", "crop")
BACKGROUNDS = {"white": (255, 255, 255, 255), "black": (0, 0, 0, 255)}
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_WRONG = (OSError, ValueError, SyntaxError, EOFError, struct.error, OverflowError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Decoding:
    """What is made of a file: uint8, grey or RGB, of one size.

    image_size: side in pixels; None leaves images as they are. resize: `squash` takes the whole picture to a square,
    `crop` the largest square in its middle; both bilinear with antialiasing. background: what transparent images are
    laid over, white or black.
    """

    image_size: int | None = None
    grayscale: bool = False
    resize: str = "squash"
    background: str = "white"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("resize", self.resize, RESIZES),
            ("background", self.background, tuple(BACKGROUNDS)),
        ):
            if value not in known:
                raise UserError(f"{name} must be {' or '.join(known)}, not {value!r}")
        if self.resize == "crop" and self.image_size is None:
            raise UserError("resize=crop needs image_size, the side in pixels")


class Depth:
    """How the values of deep images (16 or 32 bits, or floats) become 0..255: one rule for all files of a data set.

    By the least and greatest value in all its deep files: with negative values linearly from the least to the
    greatest; within 0..1 times 255; else by the fewest bits of 8, 10, 12, 14, 16, 24, 32 that hold the greatest, of
    which the upper eight are kept, so that 12 bits in a 16-bit file fill the range. NaN is 0.
    Files are looked at when the first deep one is met; 8-bit images are never scaled.
    """

    def __init__(self, paths: Sequence[Path] = ()):
        self._paths = paths
        self.met = False
        self._range: tuple[float, float] | None = None

    def look(self) -> None:
        """Measure the deep files among the paths; what cannot be read says so where it is decoded."""
        if self.met:
            return
        self.met = True
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = [ends for ends in pool.map(_ends, self._paths) if ends]
        if found:
            self._range = min(low for low, _ in found), max(high for _, high in found)

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Values (H, W) of a deep image as uint8 (H, W)."""
        values = _finite(values)
        low, high = self._range or (float(values.min()), float(values.max()))
        if low < 0:
            scaled = np.rint((values - low) * (255 / max(high - low, 1e-30)))
        elif high <= 1:
            scaled = np.rint(values * 255)
        else:
            bits = next((bits for bits in _DEPTHS if high < 2**bits), None)
            if bits is None:
                scaled = np.rint(values * (255 / high))
            else:
                scaled = np.rint(values) if bits == 8 else np.floor(values / 2 ** (bits - 8))
        return scaled.clip(0, 255).astype(np.uint8)


def _deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _ends(path: Path) -> tuple[float, float] | None:
    """Least and greatest value of a deep file; None for any other."""
    try:
        with Image.open(path) as image:
            if not _deep(image):
                return None
            values = _finite(np.asarray(image))
            return float(values.min()), float(values.max())
    except _WRONG:
        return None


def read_images(paths: Sequence[Path], decoding: Decoding, what: str, depth: Depth | None = None) -> torch.Tensor:
    """Decode files into one uint8 tensor (N, C, H, W): C is 3, or 1 when grayscale.

    EXIF orientation is applied; transparent images are laid over the background; deep images are scaled by `depth`
    (without it, by the range of these files). what: the progress bar's label.
    Raises UserError for an unreadable image (named) and for sizes that differ without image_size.
    """
    if not paths:
        side = decoding.image_size or 0
        return torch.empty(0, 1 if decoding.grayscale else 3, side, side, dtype=torch.uint8)
    depth = depth or Depth(paths)
    with warnings.catch_warnings():
        # Pillow's own warning names no file; `_decode` says which it was.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return _read(paths, decoding, what, depth)


def _read(paths: Sequence[Path], decoding: Decoding, what: str, depth: Depth) -> torch.Tensor:
    if not depth.met and _is_deep(paths[0]):
        depth.look()
    first = _decode(paths[0], decoding, depth)
    out = np.empty((len(paths), *first.shape), dtype=np.uint8)
    later: list[int] = []

    def fill(start: int) -> int:
        chunk = paths[start : start + CHUNK]
        for place, path in enumerate(chunk, start):
            if not put(place, path):
                later.append(place)
        return len(chunk)

    def put(place: int, path: Path) -> bool:
        image = _decode(path, decoding, depth)
        if image is None:  # the first deep ones: the range is not known yet
            return False
        if image.shape != first.shape:
            raise UserError(
                f"images differ in size: {paths[0]} is {_size(first)}, {path} is {_size(image)}; "
                "give image_size (a side in pixels) to resize them"
            )
        out[place] = image
        return True

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
    if later:
        depth.look()
    for place in sorted(later):
        put(place, paths[place])
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def conform(images: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Images that are in memory already, brought to what `read_images` would have made of them.

    images: uint8 (N, C, H, W), C 1 or 3.
    """
    channels, *sides = images.shape[1:]
    size, grayscale = decoding.image_size, decoding.grayscale
    if (size is None or sides == [size, size]) and (channels == 1) == grayscale:
        return images
    if not len(images):
        return images.new_empty(0, 1 if grayscale else 3, size or sides[0], size or sides[1])
    arrays = images.permute(0, 2, 3, 1).numpy()
    done = [_array(Image.fromarray(a[..., 0] if channels == 1 else a), decoding) for a in arrays]
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).contiguous()


def _is_deep(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return _deep(image)
    except _WRONG:
        return False


def _decode(path: Path, decoding: Decoding, depth: Depth) -> np.ndarray | None:
    """One file as uint8 (H, W, C); None for a deep one while the depth has not been looked at."""
    size = decoding.image_size
    try:
        with Image.open(path) as image:
            if _deep(image) and not depth.met:
                return None
            if (limit := Image.MAX_IMAGE_PIXELS) and image.width * image.height > limit:
                note(f"{path} is a very large image ({image.width}x{image.height}); it is read all the same")
            if size is not None:
                # A JPEG can be decoded at a half, a quarter or an eighth: large photographs load much faster.
                image.draft(None, (2 * size, 2 * size))
            image.load()  # before the orientation is asked for: Pillow turns a TIFF by itself, here
            upright = _upright(image)
            if _deep(upright):
                upright = Image.fromarray(depth.scale(np.asarray(upright)))
            return _array(upright, decoding)
    except _WRONG as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise UserError(f"cannot read image {path} ({reason}): replace or remove it") from None


def _upright(image: Image.Image) -> Image.Image:
    """The image as EXIF says it is to be seen; as it is where the tag cannot be read."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except (*_WRONG, KeyError, TypeError):
        return image


def _array(image: Image.Image, decoding: Decoding) -> np.ndarray:
    mode, size = "L" if decoding.grayscale else "RGB", decoding.image_size
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUNDS[decoding.background]), image)
        image = image.convert("RGB")
    if image.mode != mode:
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        box = None
        if decoding.resize == "crop":
            side = min(image.size)
            left, top = (image.width - side) / 2, (image.height - side) / 2
            box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    array = np.asarray(image)
    return array[..., None] if decoding.grayscale else array


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
