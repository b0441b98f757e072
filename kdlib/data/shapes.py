"""shapes10 and outlines10: textured shapes in clutter, 32x32 RGB, ten classes each, made from a seed in seconds.

The class is the outline alone: colours, textures, place, size, orientation, clutter, occlusion, light and
noise are drawn from the same distributions for all. The two differ in their outlines (`kdlib.data.outlines`) and
in nothing else, so that one can be the source task of a transfer to the other. Every image is the same to the bit
on every machine (`kdlib.data.procedural` says how). Images are made in blocks with a stream of their
own, so the first n images of a larger set are those of a smaller one; the label of image i is i mod 10.
"""

import numpy as np
import torch

from kdlib.data.outlines import OUTLINES10, SHAPES10, Outline
from kdlib.data.procedural import (
    Array,
    Stream,
    clouds,
    direction,
    each,
    frame,
    grid,
    in_blocks,
    noise,
    stream,
    to_bytes,
    wave,
)

CLASSES = tuple(SHAPES10)
OTHER_CLASSES = tuple(OUTLINES10)
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


def shapes10(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` images of a part: uint8 (count, 3, 32, 32), and labels, int64 (count,), of `CLASSES`.

    part: "train" or "test", which never share a stream. seed: 0 or more; another seed, other images.
    """
    return _make(SHAPES10, (), count, part, seed)


def outlines10(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """As `shapes10`, with ten other outlines (`OTHER_CLASSES`) and streams of its own."""
    return _make(OUTLINES10, (1,), count, part, seed)


def _make(
    outlines: dict[str, Outline], own: tuple[int, ...], count: int, part: str, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`own` is what sets the streams of these outlines apart from the others'."""
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)

    def fill(start: int) -> None:
        made = _block(stream(seed, ("train", "test").index(part), start // BLOCK, *own), outlines)
        images[start : start + BLOCK] = made[: count - start]

    in_blocks(count, BLOCK, fill)
    labels = np.arange(count, dtype=np.int64) % len(outlines)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _block(uniform: Stream, outlines: dict[str, Outline]) -> Array:
    """One block of images, uint8 (BLOCK, 3, 32, 32); image i is of class i mod 10."""
    ground_colour = uniform(*GROUND, BLOCK, 3)
    canvas = _paint(uniform, ground_colour)
    for _ in range(FRAGMENTS):
        canvas = _cover(canvas, _fragment(uniform, 2.0, 5.0, SIDE / 2), _paint(uniform, uniform(0, 1, BLOCK, 3)))
    for _ in range(STROKES):
        canvas = _cover(canvas, _stroke(uniform), _plain(uniform(0, 1, BLOCK, 3)))
    canvas = _cover(canvas, _outline(uniform, outlines), _paint(uniform, _apart(uniform, ground_colour)))
    for _ in range(OCCLUDERS):
        colour = _paint(uniform, uniform(0, 1, BLOCK, 3))
        canvas = _cover(canvas, _fragment(uniform, 2.0, 4.0, 8.0), colour)
    canvas = _light(uniform, canvas)
    canvas = canvas + noise(uniform, NOISE, BLOCK, 3, SIDE, SIDE)
    return to_bytes(canvas)


def _frame(uniform: Stream, offset: float) -> tuple[Array, Array]:
    return frame(uniform, BLOCK, SIDE, offset)


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
    period = each(uniform(3.5, 9.0, BLOCK))
    across, along = wave(u / period), wave(v / period)
    kinds = (
        across,
        np.where((across < 0.5) == (along < 0.5), np.float32(1), np.float32(0)),
        np.minimum(across, along) * 2 - np.float32(0.3),
        clouds(uniform, BLOCK, SIDE, 5),
        np.float32(0.5),
    )
    kind = each(uniform(0, len(kinds), BLOCK))
    pattern = kinds[-1]
    for number, texture in enumerate(kinds[:-1]):
        pattern = np.where((kind >= number) & (kind < number + 1), texture, pattern)
    pattern = pattern.clip(0, 1) - np.float32(0.5)
    swing = uniform(-SWING, SWING, BLOCK, 3)
    return _plain(colour) + pattern[:, None] * _plain(swing)


def _cover(canvas: Array, distance: Array, surface: Array) -> Array:
    """The surface laid over the canvas where the signed distance (pixels) is negative, edges anti-aliased."""
    share = (np.float32(0.5) - distance).clip(0, 1)[:, None]
    return canvas + (surface - canvas) * share


def _light(uniform: Stream, canvas: Array) -> Array:
    """Illumination that rises in some direction across the image."""
    y, x = grid(SIDE)
    cos, sin = map(each, direction(uniform, BLOCK))
    slope = each(uniform(0, LIGHT / SIDE * 2, BLOCK))
    return canvas * (1 + (cos * x + sin * y) * slope)[:, None]


# --- what lies about ---


def _fragment(uniform: Stream, smallest: float, largest: float, near: float) -> Array:
    """Signed distance of a scrap: a disc or a box with a straight cut. near: how far off."""
    u, v = _frame(uniform, near)
    size = each(uniform(smallest, largest, BLOCK))
    shape = each(uniform(0, 1, BLOCK))
    whole = np.where(shape < 0.5, np.sqrt(u * u + v * v), np.maximum(np.abs(u), np.abs(v) * np.float32(1.5)))
    return np.maximum(whole - size, u - size * each(uniform(-0.2, 0.9, BLOCK)))


def _stroke(uniform: Stream) -> Array:
    """Signed distance of a straight stroke, rounded at its ends."""
    u, v = _frame(uniform, SIDE / 2)
    beyond = np.maximum(np.abs(u) - each(uniform(3, 12, BLOCK)), 0)
    return np.sqrt(beyond * beyond + v * v) - each(uniform(0.5, 1.5, BLOCK))


# --- the class ---


def _outline(uniform: Stream, outlines: dict[str, Outline]) -> Array:
    """Signed distance in pixels (BLOCK, 32, 32) of the shape that image i's class names."""
    u, v = _frame(uniform, OFFSET)
    radius = each(uniform(*RADIUS, BLOCK))
    stretch = 1 + each(uniform(-STRETCH, STRETCH, BLOCK))
    u, v = u / (radius * stretch), v * stretch / radius
    distance = np.empty_like(u)
    for label, shape in enumerate(outlines.values()):
        mine = slice(label, None, len(outlines))
        distance[mine] = shape(u[mine], v[mine])
    return distance * radius
