"""shapes10: textured shapes in clutter, 32x32 RGB, ten classes, made from a seed in seconds.

The class is the outline alone: colours, textures, place, size, orientation, clutter, occlusion, light and
noise are drawn from the same distributions for all. Every image is the same to the bit on every machine,
because nothing but correctly rounded operations (+ - * / sqrt, comparisons) and raw PCG64 words enter: no
sine, no exponential, no sum whose order a library chooses. Images are made in blocks with a stream of their
own, so the first n images of a larger set are those of a smaller one; the label of image i is i mod 10.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

CLASSES = ("disc", "ring", "square", "triangle", "cross", "star", "crescent", "hexagon", "arrow", "bars")
SIDE = 32
BLOCK = 250  # images a stream makes; a multiple of ten

# How hard it is. Set so that a ResNet18 given 3,000 images for eight epochs reaches about 85 %, a net of two
# convolutions about 50 %.
RADIUS = (7.0, 11.5)  # of the shape, in pixels
OFFSET = 5.0  # of its centre from the image's, in pixels each way
STRETCH = 0.15  # of one axis against the other
GROUND = (0.0, 0.5)  # colour values of the background
FIGURE = (0.5, 1.0)  # and of the shape, always the lighter: with no such order it is far harder
COLOURS_TRIED = 3  # for the shape; the one farthest from the ground is taken
SWING = 0.3  # of the colour within a texture
STROKES, FRAGMENTS = 3, 4  # behind the shape
OCCLUDERS = 2  # scraps in front of it
LIGHT = 0.35  # how far the illumination rises or falls from the centre to a border
NOISE = (0.02, 0.10)  # standard deviation

Array = np.ndarray
Stream = Callable[..., Array]


def shapes10(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` images of a part: uint8 (count, 3, 32, 32), and labels, int64 (count,).

    part: "train" or "test", which never share a stream. seed: 0 or more; another seed, other images.
    """
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)

    def fill(start: int) -> None:
        made = _block(_stream(seed, ("train", "test").index(part), start // BLOCK))
        images[start : start + BLOCK] = made[: count - start]

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(fill, range(0, count, BLOCK)))
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _stream(*key: int) -> Stream:
    """uniform(low, high, *shape): float32 numbers from the raw words of this key's own generator."""
    bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(low: float, high: float, *shape: int) -> Array:
        words = bits.random_raw(int(np.prod(shape))).reshape(shape) >> np.uint64(40)
        return words.astype(np.float32) * np.float32((high - low) / 2**24) + np.float32(low)

    return uniform


def _block(uniform: Stream) -> Array:
    """One block of images, uint8 (BLOCK, 3, 32, 32); image i is of class i mod 10."""
    ground_colour = uniform(*GROUND, BLOCK, 3)
    canvas = _paint(uniform, ground_colour)
    for _ in range(FRAGMENTS):
        canvas = _cover(canvas, _fragment(uniform, 2.0, 5.0, SIDE / 2), _paint(uniform, uniform(0, 1, BLOCK, 3)))
    for _ in range(STROKES):
        canvas = _cover(canvas, _stroke(uniform), _plain(uniform(0, 1, BLOCK, 3)))
    canvas = _cover(canvas, _outline(uniform), _paint(uniform, _apart(uniform, ground_colour)))
    for _ in range(OCCLUDERS):
        colour = _paint(uniform, uniform(0, 1, BLOCK, 3))
        canvas = _cover(canvas, _fragment(uniform, 2.0, 4.0, 8.0), colour)
    canvas = _light(uniform, canvas)
    canvas = canvas + _noise(uniform)
    return np.floor(canvas * np.float32(255) + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def _grid() -> tuple[Array, Array]:
    """Pixel centres (y, x), measured from the middle of the image, shaped to broadcast."""
    line = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)
    return line[None, :, None], line[None, None, :]


def _each(values: Array) -> Array:
    """(n,) shaped to broadcast over an image's rows and columns."""
    return values[:, None, None]


def _direction(uniform: Stream) -> tuple[Array, Array]:
    """Unit vectors (cos, sin) of BLOCK random angles, without a cosine: up to 45 degrees, then quarters."""
    t = uniform(-0.41421354, 0.41421354, BLOCK)  # the tangent of half the angle
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    quarter, half = uniform(0, 1, BLOCK) < 0.5, uniform(0, 1, BLOCK) < 0.5
    cos, sin = np.where(quarter, -sin, cos), np.where(quarter, cos, sin)
    return np.where(half, -cos, cos), np.where(half, -sin, sin)


def _frame(uniform: Stream, offset: float) -> tuple[Array, Array]:
    """Coordinates (u, v) in pixels of a randomly placed and turned frame, each (BLOCK, 32, 32)."""
    y, x = _grid()
    y, x = y - _each(uniform(-offset, offset, BLOCK)), x - _each(uniform(-offset, offset, BLOCK))
    cos, sin = map(_each, _direction(uniform))
    return cos * x + sin * y, cos * y - sin * x


# --- what is painted ---


def _plain(colour: Array) -> Array:
    return colour[:, :, None, None]


def _apart(uniform: Stream, ground: Array) -> Array:
    """Colours (BLOCK, 3) that stand off from the ground's: the farthest of a few."""
    tried = uniform(*FIGURE, COLOURS_TRIED, BLOCK, 3)
    far = np.abs(tried - ground)
    best = (far[..., 0] + far[..., 1] + far[..., 2]).argmax(0)
    return tried[best, np.arange(BLOCK)]


def _paint(uniform: Stream, colour: Array) -> Array:
    """A textured surface (BLOCK, 3, 32, 32) about a colour: stripes, checks, dots, clouds or plain."""
    u, v = _frame(uniform, 8.0)
    period = _each(uniform(3.5, 9.0, BLOCK))
    across, along = _wave(u / period), _wave(v / period)
    kinds = (
        across,
        np.where((across < 0.5) == (along < 0.5), np.float32(1), np.float32(0)),
        np.minimum(across, along) * 2 - np.float32(0.3),
        _clouds(uniform),
        np.float32(0.5),
    )
    kind = _each(uniform(0, len(kinds), BLOCK))
    pattern = kinds[-1]
    for number, texture in enumerate(kinds[:-1]):
        pattern = np.where((kind >= number) & (kind < number + 1), texture, pattern)
    pattern = pattern.clip(0, 1) - np.float32(0.5)
    swing = uniform(-SWING, SWING, BLOCK, 3)
    return _plain(colour) + pattern[:, None] * _plain(swing)


def _wave(position: Array) -> Array:
    """Triangular wave of period 1 between 0 and 1."""
    return np.abs(position - np.floor(position) - np.float32(0.5)) * 2


def _clouds(uniform: Stream, cells: int = 5) -> Array:
    """Smooth noise (BLOCK, 32, 32) in 0..1: random values on a lattice, smoothly joined."""
    lattice = uniform(0, 1, BLOCK, cells + 1, cells + 1)
    place = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / SIDE)
    low = np.floor(place).astype(np.int64)
    part = place - low.astype(np.float32)
    part = part * part * (3 - 2 * part)
    rows = lattice[:, low] * (1 - part)[:, None] + lattice[:, low + 1] * part[:, None]
    return rows[..., low] * (1 - part) + rows[..., low + 1] * part


def _cover(canvas: Array, distance: Array, surface: Array) -> Array:
    """The surface laid over the canvas where the signed distance (pixels) is negative, edges anti-aliased."""
    share = (np.float32(0.5) - distance).clip(0, 1)[:, None]
    return canvas + (surface - canvas) * share


def _light(uniform: Stream, canvas: Array) -> Array:
    """Illumination that rises in some direction across the image."""
    y, x = _grid()
    cos, sin = map(_each, _direction(uniform))
    slope = _each(uniform(0, LIGHT / SIDE * 2, BLOCK))
    return canvas * (1 + (cos * x + sin * y) * slope)[:, None]


def _noise(uniform: Stream) -> Array:
    """Pixel noise: the sum of four uniform numbers is close to a normal one and needs no logarithm."""
    deviation = uniform(*NOISE, BLOCK)[:, None, None, None]
    total = uniform(-1, 1, BLOCK, 3, SIDE, SIDE)
    for _ in range(3):
        total = total + uniform(-1, 1, BLOCK, 3, SIDE, SIDE)
    return total * deviation * np.float32(0.8660254)


# --- what lies about ---


def _fragment(uniform: Stream, smallest: float, largest: float, near: float) -> Array:
    """Signed distance of a scrap: a disc or a box with a straight cut. near: how far off."""
    u, v = _frame(uniform, near)
    size = _each(uniform(smallest, largest, BLOCK))
    shape = _each(uniform(0, 1, BLOCK))
    whole = np.where(shape < 0.5, np.sqrt(u * u + v * v), np.maximum(np.abs(u), np.abs(v) * np.float32(1.5)))
    return np.maximum(whole - size, u - size * _each(uniform(-0.2, 0.9, BLOCK)))


def _stroke(uniform: Stream) -> Array:
    """Signed distance of a straight stroke, rounded at its ends."""
    u, v = _frame(uniform, SIDE / 2)
    beyond = np.maximum(np.abs(u) - _each(uniform(3, 12, BLOCK)), 0)
    return np.sqrt(beyond * beyond + v * v) - _each(uniform(0.5, 1.5, BLOCK))


# --- the classes: signed distances in units of the radius ---


def _outline(uniform: Stream) -> Array:
    """Signed distance in pixels (BLOCK, 32, 32) of the shape that image i's class names."""
    u, v = _frame(uniform, OFFSET)
    radius = _each(uniform(*RADIUS, BLOCK))
    stretch = 1 + _each(uniform(-STRETCH, STRETCH, BLOCK))
    u, v = u / (radius * stretch), v * stretch / radius
    distance = np.empty_like(u)
    for label, shape in enumerate(_SHAPES):
        mine = slice(label, None, len(CLASSES))
        distance[mine] = shape(u[mine], v[mine])
    return distance * radius


def _length(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v)


def _disc(u: Array, v: Array) -> Array:
    return _length(u, v) - np.float32(0.9)


def _ring(u: Array, v: Array) -> Array:
    return np.abs(_length(u, v) - np.float32(0.72)) - np.float32(0.22)


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.78)


def _triangle(u: Array, v: Array) -> Array:
    # An equilateral triangle about its centre: the inner radius is half the outer.
    return np.maximum(np.abs(u) * np.float32(0.8660254) + v * np.float32(0.5), -v) - np.float32(0.55)


def _cross(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(u, v) - np.float32(0.3), np.maximum(u, v) - np.float32(0.95))


def _star(u: Array, v: Array) -> Array:
    # A pentagram is what lies inside at least four of the five lines through its points: take the second
    # largest distance.
    normals = ((0.0, 1.0), (0.95105652, 0.30901699), (0.58778525, -0.80901699))
    u = np.abs(u)
    sides = [u * np.float32(a) + v * np.float32(b) for a, b in normals]
    sides += [v * np.float32(b) - u * np.float32(a) for a, b in normals[1:]]
    first = second = np.full_like(u, -np.inf)
    for side in sides:
        first, second = np.maximum(first, side), np.maximum(second, np.minimum(first, side))
    return second - np.float32(0.36)


def _crescent(u: Array, v: Array) -> Array:
    bite = _length(u - np.float32(0.45), v) - np.float32(0.72)
    return np.maximum(_length(u, v) - np.float32(0.95), -bite)


def _hexagon(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(u * np.float32(0.8660254) + v * np.float32(0.5), v) - np.float32(0.82)


def _arrow(u: Array, v: Array) -> Array:
    v = np.abs(v)
    head = np.maximum((u + v * np.float32(1.0)) * np.float32(0.70710678) - np.float32(0.7), np.float32(0.1) - u)
    shaft = np.maximum(v - np.float32(0.24), np.abs(u + np.float32(0.4)) - np.float32(0.6))
    return np.minimum(head, shaft)


def _bars(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(np.abs(v) - np.float32(0.5)) - np.float32(0.26), np.abs(u) - np.float32(0.9))


_SHAPES = (_disc, _ring, _square, _triangle, _cross, _star, _crescent, _hexagon, _arrow, _bars)
