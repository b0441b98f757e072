"""What a difference is worth, by hand and beside scipy."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from kdlib.reporting.core.evidence import Difference, bootstrap, difference, holm, over_images, resampled
from kdlib.reporting.core.results import Cell, estimate


def cell(**by_seed) -> Cell:
    e = estimate(by_seed.values())
    return Cell(e.mean, e.sd, e.n, e.values, (), tuple(int(k[1:]) for k in by_seed))


def test_seeds_are_paired_where_they_are_shared():
    found = difference(cell(s0=0.63, s1=0.65, s2=0.65, s7=0.9), cell(s0=0.60, s1=0.61, s2=0.60))
    half = 4.302653 * 0.01 / np.sqrt(3)
    assert (found.n, found.over) == (3, "seeds")
    assert found.mean == pytest.approx(0.04)
    assert found.interval == pytest.approx((0.04 - half, 0.04 + half))
    assert found.p == pytest.approx(ttest_rel([0.63, 0.65, 0.65], [0.60, 0.61, 0.60]).pvalue)


def test_only_seeds_that_both_have_enter():
    found = difference(cell(s0=0.63), cell(s0=0.60, s1=0.61, s2=0.62))
    assert found.mean == pytest.approx(0.03)
    assert found.interval is None
    assert found.values == (found.mean,)


def test_seeds_that_none_shares_have_no_interval():
    found = difference(cell(s0=0.63, s1=0.65, s2=0.67), cell(s3=0.60, s4=0.61, s5=0.62))
    assert found.mean == pytest.approx(0.04)
    assert (found.interval, found.values) == (None, ())


def test_fewer_than_three_seeds_or_no_spread_have_no_interval():
    assert difference(cell(s0=0.63), cell(s0=0.60, s1=0.61, s2=0.62)).interval is None
    assert difference(cell(s0=0.63, s1=0.65), cell(s0=0.60, s1=0.61)).interval is None
    assert difference(cell(s0=0.63, s1=0.65), cell(s3=0.60, s4=0.61, s5=0.62)).interval is None
    same = dict.fromkeys(("s0", "s1", "s2"), 0.5)
    assert difference(cell(**same), cell(**same)).interval is None


def test_the_bootstrap_agrees_with_the_normal_approximation_and_repeats():
    chance = np.random.default_rng(1)
    gap = (chance.random(5000) < 0.7).astype(float) - (chance.random(5000) < 0.65)
    found, error = over_images(gap.mean(), [gap]), gap.std() / np.sqrt(5000)
    assert found.interval == pytest.approx((gap.mean() - 1.96 * error, gap.mean() + 1.96 * error), abs=6e-4)
    assert (found.over, found.n) == ("images", 5000)
    assert over_images(gap.mean(), [gap]) == found
    assert found.p == 0.0  # none of the draws lies below zero


def test_images_that_all_change_alike_have_no_interval():
    assert bootstrap(np.zeros(5)) is None
    assert over_images(1.0, [np.ones(5)]) == Difference(1.0)


def test_a_mean_over_settings_draws_their_images_together():
    # Two settings change the same way: their mean is as uncertain as either; opposite ways: it is certain.
    change = np.array([1] * 30 + [0] * 60 + [-1] * 10)
    alone = over_images(0.2, [change])
    # standard error sqrt((0.4 - 0.04) / 100) = 0.06
    assert alone.interval == pytest.approx((0.2 - 1.96 * 0.06, 0.2 + 1.96 * 0.06), abs=0.02)
    assert over_images(0.2, [change, change]).interval == pytest.approx(alone.interval)
    assert over_images(0.0, [change, -change]).interval is None
    assert over_images(0.2, [change, None]).interval is None
    assert over_images(0.2, []).interval is None


def test_what_floats_leave_of_nothing_is_nothing():
    found = resampled(0.1, np.r_[np.full(300, 7.4e-19), np.full(9700, 0.1)], "images", 600)
    assert (found.interval[0], found.verdict) == (0.0, "open")
    assert found.p == pytest.approx(0.06)


def test_verdicts_follow_the_interval():
    assert Difference(0.1, (0.05, 0.15), "seeds", 3).verdict == "up"
    assert Difference(-0.1, (-0.15, -0.05), "seeds", 3).verdict == "down"
    assert Difference(0.1, (-0.05, 0.25), "seeds", 3).verdict == "open"
    assert Difference(0.1).verdict == "unknown"


def test_holm_by_hand():
    found = [Difference(0.1, p=p) for p in (0.04, 0.01, 0.03, None, 0.02)]
    # of four: 0.01 <= 0.05/4, but 0.02 > 0.05/3, and then none
    assert holm(found) == [False, True, False, False, False]
    assert holm([Difference(0.1, p=p) for p in (0.012, 0.016, 0.025, 0.05)]) == [True] * 4
    assert holm([]) == []
