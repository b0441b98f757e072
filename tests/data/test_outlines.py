"""Outlines: inside is negative, the size is that of the radius, the level near the edge is a distance."""

import numpy as np
import pytest

from kdlib.data.outlines import OUTLINES10, SHAPES10

LINE = np.linspace(-1.3, 1.3, 400, dtype=np.float32)
V, U = np.meshgrid(LINE, LINE, indexing="ij")
CELL = (LINE[1] - LINE[0]) ** 2


@pytest.mark.parametrize("name", [*SHAPES10, *OUTLINES10])
def test_an_outline_lies_within_its_radius_and_fills_a_good_part(name):
    distance = {**SHAPES10, **OUTLINES10}[name](U, V)
    inside = distance < 0
    assert distance.dtype == np.float32
    assert np.isfinite(distance).all()
    assert 0.8 < np.hypot(U, V)[inside].max() < 1.25
    assert 0.9 < inside.sum() * CELL < 2.6


@pytest.mark.parametrize("name", OUTLINES10)
def test_the_edge_of_an_outline_is_a_distance(name):
    # Between one and two tenths inside and outside, the level rises by about as much as one walks.
    distance = OUTLINES10[name](U, V)
    slope = np.hypot(*np.gradient(distance, LINE, LINE))
    edge = np.abs(distance) < 0.05
    assert 0.85 < np.median(slope[edge]) < 1.15
    assert slope[edge].max() < 1.6


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("ellipse", np.pi * 0.95 * 0.52),
        ("L", 0.5 * 1.7 + 0.8 * 0.48),
        ("T", 1.6 * 0.46 + 0.48 * 1.19),
        ("pentagon", 5 * 0.72**2 * np.tan(np.pi / 5)),
        ("half disc", np.pi * 0.9**2 / 2),
    ],
)
def test_areas_by_hand(name, area):
    assert (OUTLINES10[name](U, V) < 0).sum() * CELL == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize("name", ["heart", "drop", "hourglass", "T", "ellipse", "pentagon", "half disc", "clover"])
def test_mirror_images_are_alike(name):
    outline = OUTLINES10[name]
    assert outline(U, V) == pytest.approx(outline(-U, V), abs=1e-6)


def test_no_two_outlines_are_alike():
    shapes = [outline(U, V) < 0 for outline in (SHAPES10 | OUTLINES10).values()]
    for i, first in enumerate(shapes):
        for second in shapes[:i]:
            assert (first & second).sum() / (first | second).sum() < 0.9
