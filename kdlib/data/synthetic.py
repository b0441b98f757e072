"""Embedded images, made from a seed in a second: shapes10 and outlines10 (20×20, RGB), phantom (32×32 radiographs).

Every image is the same to the bit on every machine, because nothing but correctly rounded operations (+ - * / sqrt,
comparisons) and raw PCG64 words enter: no sine, no exponential, no sum whose order a library chooses. Images are made
in blocks with a stream of their own, so the first n images of a larger set are those of a smaller one.

Arrays are float32. Coordinates u (to the right) and v (down) are measured from the middle of the image.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import torch

Array = np.ndarray
BLOCK = 200  # images a stream makes; a multiple of ten
SIDE = 20

# How hard the shapes are.
RADIUS = (0.45, 0.8)
TURN = 0.25  # the tangent of half the largest angle
OFFSET = 0.25  # of the centre from the image's
STRETCH = 0.1  # of one axis against the other
SCRAPS = 2  # strokes that lie about
NOISE = (0.02, 0.08)  # standard deviation


class Stream:
    """Random numbers of one key's own generator, one a drawn image unless a shape says more."""

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        """Float32 numbers (*shape) between low and high, from raw 64-bit words."""
        words = self._bits.random_raw(int(np.prod(shape))).reshape(shape) >> np.uint64(40)
        return words.astype(np.float32) * np.float32((high - low) / 2**24) + np.float32(low)

    def each(self, low: float, high: float) -> Array:
        """One number an image, (BLOCK, 1, 1)."""
        return self.uniform(low, high, BLOCK, 1, 1)

    def noise(self, deviation: Array, *shape: int) -> Array:
        """Pixel noise (*shape): four uniform numbers sum up to nearly a normal one, and need no logarithm."""
        total = self.uniform(-1, 1, *shape)
        for _ in range(3):
            total += self.uniform(-1, 1, *shape)
        return total * deviation * np.float32(0.8660254)

    def turned(self, u: Array, v: Array, most: float = 1) -> tuple[Array, Array]:
        """Coordinates in frames turned by a random angle, without a cosine; most: the tangent of half the largest."""
        t = self.each(-most, most)
        cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        return cos * u + sin * v, cos * v - sin * u


def make(draw: Callable[..., Array], key: tuple[int, ...], labels: Array, *more: Array) -> torch.Tensor:
    """Images, uint8 (N, C, H, W), of the N labels; draw(stream, labels, *more) makes a block's in 0..1."""
    blocks = -(-len(labels) // BLOCK)
    padded = [np.resize(values, blocks * BLOCK).reshape(blocks, BLOCK) for values in (labels, *more)]

    def block(number: int) -> Array:
        canvas = draw(Stream(*key, number), *(values[number] for values in padded))
        return np.floor(canvas * 255 + np.float32(0.5)).clip(0, 255).astype(np.uint8)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        made = np.concatenate(list(pool.map(block, range(blocks))))
    return torch.from_numpy(made[: len(labels)])


def grid(side: int) -> tuple[Array, Array]:
    """Pixel centres (u, v) in -1..1, to broadcast with (n, side, side)."""
    line = (np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)) * np.float32(2 / side)
    return line[None, None, :], line[None, :, None]


def cover(canvas: Array, distance: Array, colour: Array, softness: float) -> Array:
    """The colour laid over the canvas where the signed distance is negative; the edge is `softness` wide."""
    share = (np.float32(0.5) - distance * np.float32(1 / softness)).clip(0, 1)
    return canvas + (colour - canvas) * share


# --- shapes10 and outlines10: the class is the outline alone ---


def disc(u: Array, v: Array, radius: float, x: float = 0, y: float = 0) -> Array:
    """Signed distance of a disc about (x, y)."""
    return np.sqrt((u - x) * (u - x) + (v - y) * (v - y)) - radius


def box(u: Array, v: Array, width: float, height: float, x: float = 0, y: float = 0) -> Array:
    """Signed distance (near the edge) of a box about (x, y); width and height are halves."""
    return np.maximum(np.abs(u - x) - width, np.abs(v - y) - height)


def planes(u: Array, v: Array, *normals: tuple[float, float], at: float) -> list[Array]:
    """Signed distances of half planes that lie ``at`` from the origin."""
    return [u * a + v * b - at for a, b in normals]


def within(distances: list[Array]) -> Array:
    """Signed distance of what lies inside all of them."""
    return reduce(np.maximum, distances)


def _star(u: Array, v: Array) -> Array:
    # A pentagram is what lies inside at least four of the five lines through its points: the second largest distance.
    return np.sort(planes(u, v, *PENTAGON, at=0.36), axis=0)[-2]


TRIANGLE = ((0.8660254, 0.5), (-0.8660254, 0.5), (0, -1))
PENTAGON = ((0, 1), (0.9510565, 0.309017), (-0.9510565, 0.309017), (0.5877853, -0.809017), (-0.5877853, -0.809017))
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda u, v: disc(u, v, 0.9),
    "ring": lambda u, v: np.abs(disc(u, v, 0.7)) - 0.22,
    "square": lambda u, v: box(u, v, 0.75, 0.75),
    "triangle": lambda u, v: within(planes(u, v, *TRIANGLE, at=0.55)),
    "cross": lambda u, v: np.minimum(box(u, v, 0.3, 0.95), box(u, v, 0.95, 0.3)),
    "star": _star,
    "crescent": lambda u, v: np.maximum(disc(u, v, 0.95), -disc(u, v, 0.72, 0.45)),
    "frame": lambda u, v: np.abs(box(u, v, 0.62, 0.62)) - 0.2,
    "arrow": lambda u, v: np.minimum(within([0.7 * u + 0.7 * np.abs(v) - 0.63, -u]), box(u, v, 0.5, 0.22, -0.4)),
    "bars": lambda u, v: box(u, np.abs(v) - 0.5, 0.9, 0.26),
}
OUTLINES: dict[str, Callable[[Array, Array], Array]] = {
    "heart": lambda u, v: np.minimum(disc(abs(u), v, 0.47, 0.33, -0.33), 0.7 * abs(u) + 0.7 * abs(v) - 0.47),
    "ellipse": lambda u, v: disc(0.55 * u, v, 0.52),
    "L": lambda u, v: np.minimum(box(u, v, 0.25, 0.85, -0.4), box(u, v, 0.65, 0.25, 0, 0.6)),
    "T": lambda u, v: np.minimum(box(u, v, 0.8, 0.24, 0, -0.56), box(u, v, 0.24, 0.8)),
    "pentagon": lambda u, v: within(planes(u, v, *PENTAGON, at=0.72)),
    "drop": lambda u, v: np.minimum(disc(u, v, 0.55, 0, 0.3), within([0.9 * abs(u) - 0.44 * v - 0.4, v - 0.1])),
    "half disc": lambda u, v: np.maximum(disc(u, v, 0.95, 0, 0.4), v - 0.4),
    "hourglass": lambda u, v: np.maximum(0.86 * abs(u) - 0.51 * abs(v) - 0.1, abs(v) - 0.85),
    "chevron": lambda u, v: np.maximum(0.7 * abs(u + abs(v) - 0.4) - 0.27, abs(v) - 0.85),
    "clover": lambda u, v: disc(np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v)), 0.47, 0.47),
}


def shapes10(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` images of a part: uint8 (count, 3, 20, 20), and labels, int64 (count,), of ``SHAPES``.

    Image i is of class i mod 10; colours, place, size, angle, scraps, light and noise are drawn alike for all. part:
    "train" or "test", which never share a stream. seed: 0 or more; another seed, other images.
    """
    return _shapes(SHAPES, 0, count, part, seed)


def outlines10(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """As `shapes10`, with ten other outlines, and streams of its own: a source task to transfer from."""
    return _shapes(OUTLINES, 1, count, part, seed)


def _shapes(outlines: dict, task: int, count: int, part: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    def draw(stream: Stream, labels: Array) -> Array:
        ground, figure = stream.uniform(0, 0.55, 2, BLOCK, 3, 1, 1), stream.uniform(0.4, 1, 3, BLOCK, 3, 1, 1)
        # The ground goes over from one colour to another; the figure has, of a few, the colour that stands off most.
        u, v = grid(SIDE)
        across, _ = stream.turned(u, v)
        canvas = ground[0] + (ground[1] - ground[0]) * (across * 0.35 + 0.5)[:, None]
        apart = np.abs(figure - ground[:1] * 0.5 - ground[1:] * 0.5)
        best = (apart[:, :, 0] + apart[:, :, 1] + apart[:, :, 2]).argmax(0)[:, 0, 0]
        for _ in range(SCRAPS):
            x, y = u - stream.each(-1, 1), v - stream.each(-1, 1)
            x, y = stream.turned(x, y)
            scrap = box(x, y, stream.each(0.05, 0.5), stream.each(0.04, 0.12))
            canvas = cover(canvas, scrap[:, None], stream.uniform(0, 1, BLOCK, 3, 1, 1), 2 / SIDE)
        radius, stretch = stream.each(*RADIUS), stream.each(1 - STRETCH, 1 + STRETCH)
        x, y = stream.turned(u - stream.each(-OFFSET, OFFSET), v - stream.each(-OFFSET, OFFSET), TURN)
        x, y, distance = x / (radius * stretch), y * stretch / radius, np.empty((BLOCK, SIDE, SIDE), np.float32)
        for label, outline in enumerate(outlines.values()):
            distance[labels == label] = outline(x[labels == label], y[labels == label])
        canvas = cover(canvas, (distance * radius)[:, None], figure[best, np.arange(BLOCK)], 2 / SIDE)
        return canvas + stream.noise(stream.uniform(*NOISE, BLOCK, 1, 1, 1), *canvas.shape)

    labels = np.arange(count) % len(outlines)
    key = (seed, ("train", "test").index(part), task)
    return make(draw, key, labels), torch.from_numpy(labels)


# --- phantom: chest-like radiographs, "normal" or with an "opacity" ---

FINDINGS = ("normal", "opacity")
FILM = 32
MOST_FILMS = 3  # of one patient
# Normal films among all: as in the chest X-ray release, 1,341 of 5,216 in train and 234 of 624 in test.
NORMAL = {"train": (1341, 5216), "test": (234, 624)}
# How hard the films are.
PATCH = (0.3, 0.55)  # what an opacity adds; the air of a lung takes 0.5 away
GRAIN = (0.01, 0.03)  # standard deviation of the noise


def phantom(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first `count` films of a part: uint8 (count, 3, 32, 32), labels and patients, int64 (count,).

    A stand-in for chest X-rays where there are none: it has their problem (a faint shadow among ribs, vessels and
    heart, few patients with several films each, unequal classes), not their medicine, and nothing learnt on it says
    anything about a patient. The three channels are equal; label 1 is an opacity; all films of a patient have one
    label. Patients are numbered 0, 1, 2 .. within the part. part, seed: as in `shapes10`.
    """
    key = (seed, ("train", "test").index(part), 2)
    patients, labels = _patients(Stream(*key[:2], 3), count, *NORMAL[part])
    images = make(_films, key, labels, patients)
    return images.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(labels), torch.from_numpy(patients)


def _patients(stream: Stream, count: int, normal: int, among: int) -> tuple[Array, Array]:
    """Patient and label of each film: whoever is due keeps the classes in proportion."""
    sizes = np.floor(stream.uniform(1, MOST_FILMS + 1, count)).astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    sick, healthy = np.empty(count, np.int64), 0
    for i, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        sick[i] = healthy * among > start * normal
        healthy += 0 if sick[i] else size
    # Whose films two blocks would share is a patient in each.
    patients = np.repeat(np.arange(count), sizes)[:count] + np.arange(count) // BLOCK
    return np.unique(patients, return_inverse=True)[1].reshape(-1), np.repeat(sick, sizes)[:count]


def _films(stream: Stream, labels: Array, patients: Array) -> Array:
    """A block of films in 0..1, (BLOCK, 1, 32, 32): anatomy is the patient's, pose, exposure and patches the film's."""
    begins = np.concatenate([[True], patients[1:] != patients[:-1]])
    first = np.maximum.accumulate(np.where(begins, np.arange(BLOCK), 0))  # where each film's patient begins

    def body(low: float, high: float) -> Array:
        return stream.each(low, high)[first]

    film = stream.each
    u, v = grid(FILM)
    u, v = (u - film(-0.08, 0.08)) * film(0.92, 1.06), (v - film(-0.08, 0.08)) * film(0.92, 1.06)
    out = abs(u)
    density = np.float32(0.75) - out * out * 0.2 + 0 * v  # soft tissue
    lungs = disc((out - body(0.4, 0.44)) / body(0.3, 0.36), (v + 0.05) / body(0.72, 0.85), 1) * 0.3
    base = v - body(0.45, 0.6) - (out - 0.4) * (out - 0.4)  # the diaphragm
    heart = disc((u - body(0.1, 0.18)) / body(0.26, 0.36), (v - body(0.2, 0.3)) / body(0.3, 0.36), 1) * 0.3
    air = cover(np.zeros_like(density), np.maximum(np.maximum(lungs, base), -heart), np.float32(1), 0.15)
    spine = cover(np.zeros_like(density), out - 0.1, body(0.1, 0.2), 0.08)
    pitch, bend = body(0.26, 0.34), body(0.3, 0.6)
    ribs = (wave((v - out * out * bend) / pitch + body(0, 1)) * 2 - 1).clip(0, 1) * body(0.06, 0.16)
    mottle = clouds(stream, 9)[first] * clouds(stream, 5)[first] * body(0.05, 0.25)
    density = density + spine + ribs * (out < 0.85) - air * (body(0.45, 0.55) - mottle)
    # Two patches at most, ragged, somewhere in the lungs.
    ragged, shadow = clouds(stream, 9) * 0.6, np.zeros_like(density)
    for there in (True, film(0, 1) < 0.5):
        x, y = u - np.where(film(0, 1) < 0.5, film(-0.56, -0.28), film(0.28, 0.56)), v - film(-0.5, 0.35)
        patch = (1.2 - disc(x / film(0.18, 0.34), y / film(0.18, 0.34), 0) - ragged).clip(0, 1)
        shadow = np.maximum(shadow, patch * there * film(*PATCH))
    density = density + air * shadow * labels[:, None, None].astype(np.float32)
    # Cables and side markers are bright, and say nothing.
    cable = cover(np.zeros_like(density), abs(u - film(-1, 1) - v * film(-1, 1)) - 0.01, film(0.1, 0.4), 0.06)
    density = density + cable * (film(0, 1) < 0.4) * (v > film(-1, 1))
    bright = (density * film(0.85, 1.1) + film(-0.06, 0.06)).clip(0, None)
    bright = bright * (1 + u * film(-0.1, 0.1))
    return (bright + stream.noise(film(*GRAIN), *bright.shape))[:, None]


def wave(position: Array) -> Array:
    """Triangular wave of period 1 between 0 and 1."""
    return abs(position - np.floor(position) - 0.5) * 2


def clouds(stream: Stream, cells: int) -> Array:
    """Smooth noise (BLOCK, 32, 32) in 0..1: random values on a lattice, smoothly joined."""
    lattice = stream.uniform(0, 1, BLOCK, cells + 1, cells + 1)
    place = (np.arange(FILM, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / FILM)
    low = np.floor(place).astype(np.int64)
    part = place - low.astype(np.float32)
    part = part * part * (3 - 2 * part)
    rows = lattice[:, low] * (1 - part)[:, None] + lattice[:, low + 1] * part[:, None]
    return rows[..., low] * (1 - part) + rows[..., low + 1] * part
