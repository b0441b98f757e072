"""Augmentation and normalisation of whole batches, on whatever device the images live."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from kdlib.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch; each part is off at zero.

    pad: random crop from the image padded by reflection, in pixels each side.
    flip: horizontal, with probability one half.
    rotate: degrees, the angle is uniform in +-rotate.
    scale: fraction, the magnification is uniform in 1 +- scale.
    brightness: fraction of the value range, the amount added is uniform in +-brightness.
    contrast: fraction, the factor about the image's mean is uniform in 1 +- contrast.
    Raises UserError for values outside these meanings.
    """

    pad: int = 0
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.pad, bool) or not isinstance(self.pad, int) or self.pad < 0:
            raise UserError(f"augmentation: pad must be a whole number of pixels, 0 or more, not {self.pad!r}")
        for name, top in (("rotate", 180.0), ("scale", 0.9), ("brightness", 1.0), ("contrast", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 <= value <= top:
                raise UserError(f"augmentation: {name} must lie in 0..{top:g}, not {value!r}")

    @property
    def active(self) -> bool:
        """Whether any part changes an image."""
        return self != Augmentation()


# The columns of `draws`, one for each part.
_ROTATE, _SCALE, _ROW, _COLUMN, _FLIP, _BRIGHTNESS, _CONTRAST = range(7)


def draws(count: int, seed: int) -> torch.Tensor:
    """Return the random numbers that augment images 0 to count - 1 of an epoch: float64 in 0..1, (count, 7).

    Row i depends on the seed and i alone, so an image is augmented the same in whatever batch, order, part of the data
    or augmentation it is asked for.
    """
    return torch.rand(count, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def augment(images: torch.Tensor, aug: Augmentation, numbers: torch.Tensor) -> torch.Tensor:
    """Augmented copy of a batch: rotation and scale, then crop and flip, then brightness and contrast.

    images: uint8 in 0..255 or floating point in 0..1, (B, C, H, W), any device.
    numbers: the images' rows of `draws`, (B, 7), on the CPU, so that a CPU and a GPU see the same crops.
    Returns the same shape, dtype and device. Raises UserError when pad is not smaller than the image.
    """
    if not aug.active:
        return images
    height, width = images.shape[-2:]
    if aug.pad >= min(height, width):
        raise UserError(f"augmentation: pad {aug.pad} must be smaller than the image ({height}x{width})")

    def uniform(column: int, amount: float) -> torch.Tensor:
        return (numbers[:, column] * 2 - 1) * amount

    if aug.rotate or aug.scale:
        images = affine(images, uniform(_ROTATE, aug.rotate), 1 + uniform(_SCALE, aug.scale))
    if aug.pad or aug.flip:
        rows, columns = ((numbers[:, c] * (2 * aug.pad + 1)).long() - aug.pad for c in (_ROW, _COLUMN))
        images = shift_flip(images, rows, columns, (numbers[:, _FLIP] < 0.5) & aug.flip)
    if aug.brightness or aug.contrast:
        images = _tone(images, uniform(_BRIGHTNESS, aug.brightness), 1 + uniform(_CONTRAST, aug.contrast))
    return images


def shift_flip(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Each image's window of its own reflection-padded self, mirrored where `flips` says so.

    images: (B, C, H, W). rows, columns: (B,) integers, the window's top-left corner relative to the image's
    (-2 = two reflected pixels come in at the top), smaller than the image. flips: (B,) bool, mirrors the window
    left to right.
    """
    count, channels, height, width = images.shape
    y = _reflect(rows[:, None] + torch.arange(height), height)
    x = torch.arange(width).expand(count, width)
    x = _reflect(columns[:, None] + torch.where(flips[:, None], x.flip(1), x), width)
    index = (y[:, :, None] * width + x[:, None, :]).view(count, 1, height * width).to(images.device)
    flat = images.reshape(count, channels, height * width)
    return flat.gather(2, index.expand(-1, channels, -1)).view(images.shape)


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    """Positions up to size - 1 outside 0..size-1, mirrored back in; the edge pixel is not repeated."""
    position = position.abs()
    return torch.where(position < size, position, 2 * (size - 1) - position)


def affine(images: torch.Tensor, angles: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Rotate and magnify each image about its centre, bilinear, edges continued by reflection.

    images: (B, C, H, W), uint8 or floating point. angles: (B,) degrees, positive turns counter-clockwise as
    seen. factors: (B,) magnification, above 1 enlarges. Returns the same shape and dtype.
    """
    height, width = images.shape[-2:]
    device = images.device
    # In float64: where in a batch an image stands decides the last bit of a float32 cosine.
    radians, factors = angles.double() * (math.pi / 180), factors.double()
    cos, sin = ((of(radians) / factors).to(device, torch.float32) for of in (torch.cos, torch.sin))
    y = torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2
    x = torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2
    y, x = y[None, :, None], x[None, None, :]
    # Where a pixel of the result comes from; the y axis points down, hence the signs.
    source_x = cos[:, None, None] * x - sin[:, None, None] * y
    source_y = sin[:, None, None] * x + cos[:, None, None] * y
    grid = torch.stack((source_x * (2 / width), source_y * (2 / height)), dim=-1)
    moved = F.grid_sample(
        images.to(torch.float32), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    if not images.is_floating_point():
        moved = moved.round_().clamp_(0, 255)
    return moved.to(images.dtype)


def _tone(images: torch.Tensor, offsets: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Contrast about each image's mean, then brightness; the result stays in the value range."""
    top = 1.0 if images.is_floating_point() else 255.0
    # A float64 sum of whole numbers is exact, in whatever order a batch of this size is summed.
    middle = images.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.float64) / images[0].numel()
    offsets, factors, middle = (
        numbers.view(-1, 1, 1, 1).to(images.device, torch.float32) for numbers in (offsets * top, factors - 1, middle)
    )
    values = images.to(torch.float32)
    values = values + (values - middle) * factors + offsets
    if not images.is_floating_point():
        values = values.round()
    return values.clamp(0, top).to(images.dtype)


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(images / 255 - mean) / std, float32, in channels_last memory.

    images: uint8 (B, C, H, W). mean, std: one value a channel, in 0..1 units (those of `Dataset`).
    """
    mean64 = torch.tensor(mean, dtype=torch.float64)
    std64 = torch.tensor(std, dtype=torch.float64)
    factor = (1 / (255 * std64)).to(images.device, torch.float32).view(1, -1, 1, 1)
    shift = (-mean64 / std64).to(images.device, torch.float32).view(1, -1, 1, 1)
    # Arithmetic first, layout last: seven times as fast as the other way round on a CPU.
    values = images.to(torch.float32).mul_(factor).add_(shift)
    return values.contiguous(memory_format=torch.channels_last)
