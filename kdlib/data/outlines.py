"""The outlines that shapes10 and outlines10 tell apart, as signed distances.

Each takes coordinates (u, v) in units of the shape's radius and returns how far outside it they lie, negative
inside; correctly rounded operations only, as `kdlib.data.procedural` explains.
"""

from collections.abc import Callable

import numpy as np

from kdlib.data.procedural import Array


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


# --- the ten of outlines10 ---


def _box(u: Array, v: Array, left: float, right: float, top: float, bottom: float) -> Array:
    across = np.maximum(np.float32(left) - u, u - np.float32(right))
    return np.maximum(across, np.maximum(np.float32(top) - v, v - np.float32(bottom)))


def _heart(u: Array, v: Array) -> Array:
    # A square on its corner, a disc on each of its upper sides.
    u, v = np.abs(u), v + np.float32(0.05)
    square = (u + np.abs(v) - np.float32(0.66)) * np.float32(0.70710678)
    return np.minimum(square, _length(u - np.float32(0.33), v + np.float32(0.33)) - np.float32(0.46669048))


def _ellipse(u: Array, v: Array) -> Array:
    # The level over its slope: close to the distance near the edge, where it matters.
    level = _length(u / np.float32(0.95), v / np.float32(0.52))
    slope = _length(u / np.float32(0.95 * 0.95), v / np.float32(0.52 * 0.52))
    tiny = np.float32(1e-6)
    return (level - 1) * np.maximum(level, tiny) / np.maximum(slope, tiny)


def _letter_l(u: Array, v: Array) -> Array:
    return np.minimum(_box(u, v, -0.65, -0.15, -0.85, 0.85), _box(u, v, -0.65, 0.65, 0.37, 0.85))


def _letter_t(u: Array, v: Array) -> Array:
    return np.minimum(_box(u, v, -0.8, 0.8, -0.8, -0.34), _box(u, v, -0.24, 0.24, -0.8, 0.85))


def _pentagon(u: Array, v: Array) -> Array:
    normals = ((0.95105652, 0.30901699), (0.58778525, -0.80901699))
    distance, u = v, np.abs(u)
    for a, b in normals:
        distance = np.maximum(distance, u * np.float32(a) + v * np.float32(b))
    return distance - np.float32(0.72)


def _drop(u: Array, v: Array) -> Array:
    # A disc and the cone whose sides touch it; the sine of the half angle is radius over distance, 0.55 / 1.25.
    u = np.abs(u)
    side = u * np.float32(0.89799777) - (v + np.float32(0.95)) * np.float32(0.44)
    cone = np.maximum(side, v - np.float32(0.058))
    return np.minimum(cone, _length(u, v - np.float32(0.3)) - np.float32(0.55))


def _half_disc(u: Array, v: Array) -> Array:
    v = v - np.float32(0.42)
    return np.maximum(_length(u, v) - np.float32(0.9), v)


def _hourglass(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    side = u * np.float32(0.85749293) - v * np.float32(0.51449576) - np.float32(0.1)
    return np.maximum(side, v - np.float32(0.85))


def _chevron(u: Array, v: Array) -> Array:
    v = np.abs(v)
    arms = np.abs(u + v - np.float32(0.4)) * np.float32(0.70710678) - np.float32(0.27)
    return np.maximum(arms, v - np.float32(0.85))


def _clover(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    return _length(np.maximum(u, v) - np.float32(0.47), np.minimum(u, v)) - np.float32(0.47)


Outline = Callable[[Array, Array], Array]

SHAPES10: dict[str, Outline] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
    "crescent": _crescent,
    "hexagon": _hexagon,
    "arrow": _arrow,
    "bars": _bars,
}
OUTLINES10: dict[str, Outline] = {
    "heart": _heart,
    "ellipse": _ellipse,
    "L": _letter_l,
    "T": _letter_t,
    "pentagon": _pentagon,
    "drop": _drop,
    "half disc": _half_disc,
    "hourglass": _hourglass,
    "chevron": _chevron,
    "clover": _clover,
}
