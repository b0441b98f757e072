"""phantom: chest-like radiographs, 64x64, "normal" or with an "opacity", made from a seed in seconds.

A stand-in for chest X-rays where there are none: it has their problem (a faint shadow among ribs, vessels and
heart, few patients with several films each, unequal classes), not their medicine, and nothing learnt on it says
anything about a patient. Each film is a sum of what lies in the beam (soft tissue, bone, heart; air takes away),
put through an exposure curve, so that bone is bright and lung is dark. Anatomy belongs to the patient; pose,
exposure, noise, leads and the strength of an opacity belong to the film. Every image is the same to the bit on every
machine (`kdlib.data.procedural` says how); the first n films of a larger set are those of a smaller one.

Coordinates: u to the reader's right, v down, both -1..1 across the film.
"""

from collections.abc import Callable

import numpy as np
import torch

from kdlib.data.procedural import (
    Array,
    Stream,
    clouds,
    direction,
    each,
    grid,
    in_blocks,
    noise,
    smooth,
    stream,
    to_bytes,
    wave,
)

CLASSES = ("normal", "opacity")
SIDE = 64
BLOCK = 100  # films a stream makes; more would not fit a processor's cache
MOST_FILMS = 4  # of one patient

# Normal films among all: as in the chest X-ray release, 1,341 of 5,216 in train and 234 of 624 in test.
NORMAL = {"train": (1341, 5216), "test": (234, 624)}

# How hard it is. Set so that a small convolutional net given 1,000 films is right on 80 to 90 % of the test part.
PATCH = (0.13, 0.38)  # what a focal opacity adds at its densest; the air of a lung takes 0.55 away
HAZE = (0.12, 0.28)  # what a diffuse one adds
DIFFUSE = 0.3  # of the opacities
NOISE = (0.006, 0.028)  # standard deviation, of the full range
EXPOSURE = (0.45, 1.0)  # beam: above, the film is paler

Draw = Callable[[float, float], Array]


def phantom(count: int, part: str = "train", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first `count` films of a part: uint8 (count, 3, 64, 64), labels and patients, int64 (count,).

    The three channels are equal. Label 1 is an opacity; all films of a patient have one label. Patients are
    numbered 0, 1, 2 .. within the part. part: "train" or "test", which never share a stream. seed: 0 or more.
    """
    films = np.empty((count, 1, SIDE, SIDE), np.uint8)
    labels, patients = np.empty(count, np.int64), np.empty(count, np.int64)

    def fill(start: int) -> None:
        uniform = stream(seed, ("train", "test").index(part), start // BLOCK, 2)
        patient, label = _admit(uniform, *NORMAL[part])
        mine = slice(start, min(start + BLOCK, count))
        films[mine, 0] = _films(uniform, patient, label)[: count - start]
        labels[mine] = label[: count - start]
        patients[mine] = patient[: count - start] + start  # a block has BLOCK patients at most

    in_blocks(count, BLOCK, fill)
    patients = np.unique(patients, return_inverse=True)[1].reshape(count)
    images = torch.from_numpy(films).expand(-1, 3, -1, -1).contiguous()
    return images, torch.from_numpy(labels), torch.from_numpy(patients)


def _admit(uniform: Stream, normal: int, among: int) -> tuple[Array, Array]:
    """Patient and label of each film of a block, int64 (BLOCK,): whoever is due keeps the classes in proportion."""
    films = np.floor(uniform(1, MOST_FILMS + 1, BLOCK)).astype(np.int64)
    patient = np.repeat(np.arange(BLOCK), films)[:BLOCK]
    label, seen = np.empty(BLOCK, np.int64), 0
    for number in range(int(patient[-1]) + 1):
        mine = patient == number
        first = int(mine.argmax())
        healthy = seen * among <= first * normal
        label[mine] = 0 if healthy else 1
        seen += int(mine.sum()) if healthy else 0
    return patient, label


def _films(uniform: Stream, patient: Array, label: Array) -> Array:
    """A block of films, uint8 (BLOCK, 64, 64)."""

    def body(low: float, high: float) -> Array:
        return each(uniform(low, high, BLOCK)[patient])

    def film(low: float, high: float) -> Array:
        return each(uniform(low, high, BLOCK))

    u, v = _pose(film)
    trunk, density = _trunk(u, v, body)
    lungs, middle = _lungs(u, v, body, film)
    heart = _heart(u, v, body)
    air = lungs * (1 - heart * np.float32(0.9))
    shadow = _opacity(uniform, u, v, body, film) * each(label.astype(np.float32))
    density = density - air * body(0.5, 0.6) + heart * body(0.05, 0.15)
    density = density + middle + _bones(u, v, body)
    density = density + air * (_vessels(u, v, body, uniform, patient) + shadow) + _breasts(u, v, body)
    density = (density * trunk).clip(0, None) + _leads(u, v, film) * trunk
    return to_bytes(_expose(uniform, density, film, u))


def _pose(film: Draw) -> tuple[Array, Array]:
    """How the patient stands: a small turn (tangent up to 0.1), size and shift."""
    y, x = (axis * np.float32(2 / SIDE) for axis in grid(SIDE))
    x, y = x - film(-0.08, 0.08), y - film(-0.08, 0.08)
    tangent, size = film(-0.1, 0.1), film(0.96, 1.16)
    length = np.sqrt(1 + tangent * tangent) * size
    return (x + tangent * y) / length, (y - tangent * x) / length


def _inside(distance: Array, softness: float) -> Array:
    """1 where the signed distance is negative, 0 outside, with an edge `softness` wide."""
    return smooth((np.float32(0.5) - distance / np.float32(softness)).clip(0, 1))


def _length(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v)


# --- what lies in the beam ---


def _trunk(u: Array, v: Array, body: Draw) -> tuple[Array, Array]:
    """Share of the film that is patient, and the soft tissue there: chest, shoulders, neck."""
    out, width = np.abs(u), body(0.84, 0.98)
    chest = out - width - (v - np.float32(0.2)) * np.float32(0.06)
    slope = v * np.float32(-0.87) + out * np.float32(0.5) - body(0.84, 0.94)
    neck = out - body(0.24, 0.34)
    # Upper arms hang away from the chest; where they end is beyond the film for most.
    arms = np.abs(out - width - body(0.06, 0.16) - v * body(0.1, 0.5)) - body(0.12, 0.18)
    trunk = np.maximum(np.minimum(chest, np.maximum(arms, np.float32(-0.5) - v)), slope)
    # The corner between neck and shoulder is rounded: the less of the two, less still where they are close.
    close = (np.float32(0.3) - np.abs(trunk - neck)).clip(0, None)
    whole = np.where(v < 0.2, np.minimum(trunk, neck) - close * close * np.float32(1 / 1.2), trunk)
    thickness = body(0.78, 0.92) + (v * np.float32(0.10)) - out * out * np.float32(0.25)
    return _inside(whole, 0.06), thickness


def _lungs(u: Array, v: Array, body: Draw, film: Draw) -> tuple[Array, Array]:
    """Air of both lungs, 0..1, and the density between them: mediastinum, windpipe, spine."""
    centre, wide, tall = body(0.36, 0.42), body(0.34, 0.42), body(0.92, 1.05)
    waist, breath = body(0.10, 0.16), film(-0.06, 0.08)
    air = np.zeros_like(u)
    for side in (-1, 1):
        out = u * np.float32(side)
        low = body(0.36, 0.46) + breath + np.float32(0.05 if side > 0 else 0.0)  # the liver lifts the other side
        round_ = (_length((out - centre) / wide, (v - np.float32(0.25)) / tall) - 1) * wide
        dome = out - body(0.30, 0.38)
        base = (v - low - dome * dome * body(0.6, 1.1)) * np.float32(0.9)
        air = air + _inside(np.maximum(np.maximum(round_, base), waist - out), 0.09)
    band = _inside(np.abs(u + body(-0.02, 0.02)) - waist * np.float32(0.9), 0.14)
    pipe = _inside(np.abs(u) - np.float32(0.045), 0.05) * _inside(v + np.float32(0.35), 0.3)
    discs = wave(v * body(6.0, 7.5) + body(0, 1)) * _inside(np.abs(u) - np.float32(0.085), 0.05)
    return air, band * body(0.10, 0.2) - pipe * body(0.08, 0.2) + discs * body(0.03, 0.1)


def _heart(u: Array, v: Array, body: Draw) -> Array:
    """The heart's shadow, 0..1, most of it to the reader's right, with the knob of the aorta above."""
    x, y = u - body(0.10, 0.18), v - body(0.16, 0.26)
    x, y = (x + y * np.float32(0.45)) / np.float32(1.0965856), (y - x * np.float32(0.45)) / np.float32(1.0965856)
    long, short = body(0.27, 0.40), body(0.22, 0.29)
    left = (_length(x / long, y / short) - 1) * short
    right = _length(u + body(0.02, 0.08), v - np.float32(0.24)) - body(0.15, 0.20)
    knob = _length(u - np.float32(0.10), v + body(0.15, 0.25)) - body(0.07, 0.12)
    return _inside(np.minimum(np.minimum(left, right), knob), 0.09)


def _bones(u: Array, v: Array, body: Draw) -> Array:
    """Ribs, behind (falling outwards) and in front (falling inwards), and collar bones."""
    cage = _inside(
        (_length(u / body(0.80, 0.88), (v - np.float32(0.25)) / np.float32(1.1)) - 1) * np.float32(0.8), 0.05
    )
    cage = cage * _inside(v - body(0.45, 0.65), 0.2)
    pitch, bend, place = body(0.165, 0.21), body(0.45, 0.7), body(0, 1)
    skew, slant, front = body(-0.04, 0.04), body(0.35, 0.55), body(0.2, 0.26)
    out = np.abs(u)
    behind = wave((v - out * out * bend + out * np.float32(0.12) + u * skew) / pitch + place)
    ahead = wave((v + out * slant + u * skew) / front + body(0, 1))
    rows = (behind * np.float32(2.2) - np.float32(1.2)).clip(0, 1) * body(0.10, 0.20)
    rows = rows + (ahead * 3 - 2).clip(0, 1) * body(0.03, 0.12) * _inside(np.float32(0.3) - out, 0.2)
    # The rim of the cage is met edge on.
    rim = _length(u / np.float32(0.84), (v - np.float32(0.25)) / np.float32(1.08)) - np.float32(0.97)
    rows = rows + _inside(np.abs(rim) - np.float32(0.02), 0.06) * np.float32(0.08)
    collar = np.abs(v + body(0.62, 0.72) + out * body(0.05, 0.3) - np.float32(0.05)) - np.float32(0.025)
    collar = np.maximum(collar, np.maximum(np.float32(0.08) - out, out - np.float32(0.7)))
    return rows * cage + _inside(collar, 0.05) * body(0.12, 0.22)


def _vessels(u: Array, v: Array, body: Draw, uniform: Stream, patient: Array) -> Array:
    """Vessels that leave each hilum and thin out, and the mottle of those too fine to follow."""
    strength, total = body(0.12, 0.28), np.zeros_like(u)
    for side in (-1, 1):
        x, y = u * np.float32(side) - body(0.15, 0.19), v - body(-0.06, 0.06)
        away = _length(x, y)
        fade = (1 - away * np.float32(1.7)).clip(0, 1)
        for _ in range(6):
            cos, sin = (each(values[patient]) for values in direction(uniform, BLOCK))
            along, across = cos * x + sin * y, np.abs(cos * y - sin * x + away * away * body(-0.5, 0.5))
            branch = _inside(across - fade * np.float32(0.03), 0.05) * _inside(-along, 0.1)
            total = np.maximum(total, branch * (np.float32(0.3) + fade * np.float32(0.7)))
        total = np.maximum(total, _inside(away - body(0.05, 0.10), 0.14))
    mottle = clouds(uniform, BLOCK, SIDE, 16)[patient] * clouds(uniform, BLOCK, SIDE, 5)[patient]
    return total * strength + mottle * body(0.05, 0.2)


def _breasts(u: Array, v: Array, body: Draw) -> Array:
    """Soft shadows at the foot of both lungs, in about a third of the patients: bright and yet nothing is wrong."""
    there = (body(0, 3) < 1).astype(np.float32) * body(0.05, 0.16)
    where, low, wide = body(0.38, 0.5), body(0.25, 0.4), body(0.2, 0.3)
    return _inside(_length(np.abs(u) - where, v - low) - wide, 0.2) * there


def _opacity(uniform: Stream, u: Array, v: Array, body: Draw, film: Draw) -> Array:
    """What an opacity adds within the lungs: one to three soft ragged patches, or a haze with streaks."""
    ragged = clouds(uniform, BLOCK, SIDE, 9) + clouds(uniform, BLOCK, SIDE, 18) * np.float32(0.5) - np.float32(0.75)
    patches, number = np.zeros_like(u), body(1, 3.2)
    for index in range(3):
        side = np.where(body(0, 1) < 0.5, np.float32(-1), np.float32(1))
        x, y = u - side * body(0.26, 0.56), v - body(-0.4, 0.36)
        size = _length(x / body(0.13, 0.30), y / body(0.13, 0.30))
        patch = smooth((np.float32(1.25) - size + ragged * np.float32(0.9)).clip(0, 1))
        patches = np.maximum(patches, patch * (number >= index + 1))
    streaks = np.abs(clouds(uniform, BLOCK, SIDE, 14) - np.float32(0.5)) * np.float32(-4) + 1
    cover = smooth(clouds(uniform, BLOCK, SIDE, 3))
    haze = (cover * np.float32(0.7) + streaks.clip(0, 1) * np.float32(0.6)) * film(*HAZE)
    return np.where(body(0, 1) < DIFFUSE, haze, patches * film(*PATCH))


def _leads(u: Array, v: Array, film: Draw) -> Array:
    """Cables with their electrodes, and the side marker, on some films of either class."""
    total = np.zeros_like(u)
    for _ in range(2):
        there = (film(0, 1) < 0.3).astype(np.float32)
        x, y = u - film(-0.6, 0.6), v - film(-0.5, 0.3)
        cable = np.abs(x + y * film(-0.6, 0.6) + y * y * film(-0.6, 0.6)) - np.float32(0.008)
        cable = np.maximum(cable, -y)
        pad = _length(x, y) - film(0.03, 0.06)
        total = np.maximum(total, np.maximum(_inside(cable, 0.03), _inside(pad, 0.03)) * there * film(0.15, 0.5))
    return total


def _expose(uniform: Stream, density: Array, film: Draw, u: Array) -> Array:
    """Density to brightness 0..1: a curve that saturates, light that falls off to one side, marker, noise."""
    level = density * film(*EXPOSURE) + film(0.0, 0.06)
    knee = film(0.4, 1.2)
    bright = level * (1 + knee) / (level + knee)
    bright = bright * (1 + u * film(-0.08, 0.08)) * film(0.8, 0.95)
    y, x = (axis * np.float32(2 / SIDE) for axis in grid(SIDE))
    mark = np.maximum(np.abs(x + film(0.7, 0.92)), np.abs(y + film(0.5, 0.9)) * film(0.6, 1)) - np.float32(0.04)
    bright = np.maximum(bright, _inside(mark, 0.04) * film(0.4, 1) * (film(0, 1) < 0.6))
    return bright + noise(uniform, NOISE, BLOCK, SIDE, SIDE)
