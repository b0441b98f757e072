"""Image files and arrays into uint8 tensors of one size and one number of channels."""

import hashlib
import math
import os
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps

from kdlib.errors import UserError
from kdlib.progress import Progress, note

CHUNK = 128, 2**22  # images a thread takes at a time, and their bytes
WORTH_A_BAR = 3000  # images, about a second
RULES = 3
"""Of decoding; it goes up when an image would be decoded to other pixels. 3: bit depth is for whole numbers alone."""

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
        for name, known in (("resize", RESIZES), ("background", tuple(BACKGROUNDS))):
            if (value := getattr(self, name)) not in known:
                raise UserError(f"{name} must be {' or '.join(known)}, not {value!r}")
        if self.resize == "crop" and self.image_size is None:
            raise UserError("resize=crop needs image_size, the side in pixels")


class Depth:
    """How the values of deep images (16 or 32 bits, or floats) become 0..255: one rule for all files of a data set.

    By the least and greatest value in all its deep files: with negative values linearly from the least to the
    greatest; within 0..1 times 255; whole numbers by the fewest bits of 8, 10, 12, 14, 16, 24, 32 that hold the
    greatest, of which the upper eight are kept, so that 12 bits in a 16-bit file fill the range; others linearly from 0
    to the greatest. NaN is 0.
    Files are looked at when the first deep one is met; 8-bit images are never scaled.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths, self._look = paths, Lock()
        self.met = False
        self._range: tuple[float, float, bool] | None = None

    def _measure(self) -> None:
        """Look at the deep files among the paths, once; what cannot be read says so where it is decoded."""
        with self._look:  # others that meet a deep image meanwhile wait
            if self.met:
                return
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                found = [ends for ends in pool.map(_ends, self._paths) if ends]
            if found:
                lows, highs, whole = zip(*found, strict=True)
                self._range = min(lows), max(highs), all(whole)
            self.met = True

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Values (H, W) of a deep image as uint8 (H, W)."""
        self._measure()
        values = _finite(values)
        low, high, whole = self._range or _range(values)
        if low < 0:
            scaled = np.rint((values - low) * (255 / max(high - low, 1e-30)))
        elif high <= 1:
            scaled = np.rint(values * 255)
        else:
            bits = next((bits for bits in _DEPTHS if whole and high < 2**bits), None)
            if bits is None:
                scaled = np.rint(values * (255 / high))
            else:
                scaled = np.rint(values) if bits == 8 else np.floor(values / 2 ** (bits - 8))
        return scaled.clip(0, 255).astype(np.uint8)


def _deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _range(values: np.ndarray) -> tuple[float, float, bool]:
    """The least and the greatest of some values, and whether all are whole numbers."""
    return float(values.min()), float(values.max()), bool((values == np.rint(values)).all())


def _ends(path: Path) -> tuple[float, float, bool] | None:
    """The `_range` of a deep file; None for any other."""
    try:
        with Image.open(path) as image:
            if not _deep(image):
                return None
            return _range(_finite(np.asarray(image)))
    except _WRONG:
        return None


@dataclass(frozen=True, eq=False)
class Files:
    """Image files, and how they are read.

    what: the progress bar's label. depth: how deep images are scaled, the same for all files of a data set.
    EXIF orientation is applied, transparent images are laid over the background.
    """

    paths: Sequence[Path]
    decoding: Decoding
    what: str
    depth: Depth

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: torch.Tensor) -> "Files":
        """Those of the indices, int64 (n,), as of images in memory."""
        return replace(self, paths=[self.paths[i] for i in indices.tolist()])

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of the images: C is 3, or 1 when grayscale; the sides are the first one's unless asked for."""
        side = height = width = self.decoding.image_size or 0
        if not side and self.paths:
            height, width = _decode(self.paths[0], self.decoding, self.depth).shape[:2]
        return len(self.paths), 1 if self.decoding.grayscale else 3, height, width

    @cached_property
    def key(self) -> str:
        """What the images are known by: paths, sizes and times of the files, and what is made of them."""
        digest = hashlib.sha256(f"{RULES} {self.decoding}".encode())
        for path in self.paths:
            try:
                about = os.stat(path)
            except OSError as error:
                raise _unreadable(path, error) from None
            digest.update(f"\n{os.path.abspath(path)} {about.st_size} {about.st_mtime_ns}".encode())
        return digest.hexdigest()[:24]

    def read(self) -> torch.Tensor:
        """The images in memory, uint8 (N, C, H, W). Raises UserError as `decode` does."""
        images = np.empty(self.shape, np.uint8)

        def put(start: int, chunk: np.ndarray) -> None:
            images[start : start + len(chunk)] = chunk

        self.decode(put)
        return torch.from_numpy(images)

    def decode(self, take: Callable[[int, np.ndarray], object]) -> None:
        """Hand over the images in their order, a few at a time: the first one's number, and uint8 (n, C, H, W).

        Raises UserError for an unreadable image (the first is named) and for sizes that differ without image_size.
        """
        if not self.paths:
            return
        workers = min(8, os.cpu_count() or 1)
        bar = Progress(len(self.paths), f"reading {self.what}") if len(self.paths) >= WORTH_A_BAR else nullcontext()
        with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool, bar as shown:
            # Pillow's own warning names no file; `_decode` says which it was.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            size = max(1, min(CHUNK[0], CHUNK[1] // math.prod(self.shape[1:])))
            chunks = [self.paths[start : start + size] for start in range(0, len(self.paths), size)]
            try:
                # Few at a time, or chunks would pile up where they are taken more slowly than decoded.
                for number, images in enumerate(ahead(pool, self._images, chunks, 2 * workers)):
                    take(number * size, images)
                    if shown:
                        shown.advance(len(images))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _images(self, paths: Sequence[Path]) -> np.ndarray:
        """Some of the images, uint8 (n, C, H, W)."""
        return np.stack([self._image(path) for path in paths])

    def _image(self, path: Path) -> np.ndarray:
        """One image as uint8 (C, H, W)."""
        image = _decode(path, self.decoding, self.depth)
        _, _, height, width = self.shape
        if image.shape[:2] != (height, width):
            raise UserError(
                f"images differ in size: {self.paths[0]} is {width}x{height}, {path} is "
                f"{image.shape[1]}x{image.shape[0]}; give image_size (a side in pixels) to resize them"
            )
        return np.ascontiguousarray(image.transpose(2, 0, 1))


def ahead(pool: Executor, do: Callable, items: Iterable, most: int) -> Iterator:
    """Yield ``do(item)`` of each item, in order; at most so many are begun and not yet handed over."""
    left = iter(items)
    waiting = deque(pool.submit(do, item) for item in islice(left, most))
    while waiting:
        found = waiting.popleft().result()
        waiting.extend(pool.submit(do, item) for item in islice(left, 1))
        yield found


def conform(images: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Images that are in memory already, brought to what `Files` would have made of them.

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


def _decode(path: Path, decoding: Decoding, depth: Depth) -> np.ndarray:
    """One file as uint8 (H, W, C)."""
    size = decoding.image_size
    try:
        with Image.open(path) as image:
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
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    return UserError(f"cannot read image {path} ({reason}): replace or remove it")


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
