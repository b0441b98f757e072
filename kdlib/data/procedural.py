"""What the embedded data sets are drawn with: streams of random numbers, frames, textures.

Every image made from these is the same to the bit on every machine, because nothing but correctly rounded
operations (+ - * / sqrt, comparisons) and raw PCG64 words enter: no sine, no exponential, no sum whose order a
library chooses. Arrays are float32; positions are pixels, measured from the middle of the image, y down.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

Array = np.ndarray
Stream = Callable[..., Array]


def stream(*key: int) -> Stream:
    """uniform(low, high, *shape): float32 numbers from the raw words of this key's own generator."""
    bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(low: float, high: float, *shape: int) -> Array:
        words = bits.random_raw(int(np.prod(shape))).reshape(shape) >> np.uint64(40)
        return words.astype(np.float32) * np.float32((high - low) / 2**24) + np.float32(low)

    return uniform


def in_blocks(count: int, block: int, fill: Callable[[int], None]) -> None:
    """Call fill(start) for start = 0, block, 2 * block .. below count, in a few threads; each fills its own part."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(fill, range(0, count, block)))


def to_bytes(canvas: Array) -> Array:
    """Values in 0..1 (cut off beyond) to uint8, rounded half up."""
    return np.floor(canvas * np.float32(255) + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def grid(side: int) -> tuple[Array, Array]:
    """Pixel centres (y, x), shaped to broadcast with (n, side, side)."""
    line = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    return line[None, :, None], line[None, None, :]


def each(values: Array) -> Array:
    """(n,) shaped to broadcast over an image's rows and columns."""
    return values[:, None, None]


def direction(uniform: Stream, count: int) -> tuple[Array, Array]:
    """Unit vectors (cos, sin) of random angles, without a cosine: up to 45 degrees, then quarters. Each (count,)."""
    t = uniform(-0.41421354, 0.41421354, count)  # the tangent of half the angle
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    quarter, half = uniform(0, 1, count) < 0.5, uniform(0, 1, count) < 0.5
    cos, sin = np.where(quarter, -sin, cos), np.where(quarter, cos, sin)
    return np.where(half, -cos, cos), np.where(half, -sin, sin)


def frame(uniform: Stream, count: int, side: int, offset: float) -> tuple[Array, Array]:
    """Coordinates (u, v) in pixels of a randomly turned frame, placed up to `offset` off; each (count, side, side)."""
    y, x = grid(side)
    y, x = y - each(uniform(-offset, offset, count)), x - each(uniform(-offset, offset, count))
    cos, sin = map(each, direction(uniform, count))
    return cos * x + sin * y, cos * y - sin * x


def wave(position: Array) -> Array:
    """Triangular wave of period 1 between 0 and 1."""
    return np.abs(position - np.floor(position) - np.float32(0.5)) * 2


def smooth(part: Array) -> Array:
    """0..1 onto 0..1 with level ends."""
    return part * part * (3 - 2 * part)


def clouds(uniform: Stream, count: int, side: int, cells: int) -> Array:
    """Smooth noise (count, side, side) in 0..1: random values on a lattice, smoothly joined."""
    lattice = uniform(0, 1, count, cells + 1, cells + 1)
    place = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / side)
    low = np.floor(place).astype(np.int64)
    part = smooth(place - low.astype(np.float32))
    rows = lattice[:, low] * (1 - part)[:, None] + lattice[:, low + 1] * part[:, None]
    return rows[..., low] * (1 - part) + rows[..., low + 1] * part


def noise(uniform: Stream, deviation: tuple[float, float], *shape: int) -> Array:
    """Pixel noise of `shape`; each image has a standard deviation of its own between the two.

    The sum of four uniform numbers is close to a normal one and needs no logarithm.
    """
    spread = uniform(*deviation, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    total = uniform(-1, 1, *shape)
    for _ in range(3):
        total = total + uniform(-1, 1, *shape)
    return total * spread * np.float32(0.8660254)
