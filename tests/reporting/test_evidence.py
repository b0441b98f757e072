"""What a difference is worth, by hand and beside scipy."""

import numpy as np
import pytest
from report_data import condition, records_of, study_of
from scipy.stats import ttest_rel

from kdlib.reporting.core.evidence import Difference, bootstrap, compare, holm, over_images, resampled
from kdlib.reporting.core.results import Results


def gap(tmp_path, first: dict[int, float], second: dict[int, float], role="baseline") -> Difference:
    """A distilled student minus another setting, each by seed."""
    outcomes = {condition("student", "m", seed=seed, T=2, alpha=0.5): value for seed, value in first.items()}
    outcomes |= {condition(role, "n", seed=seed): value for seed, value in second.items()}
    made = Results(study_of(), list(outcomes), records_of(list(outcomes), tmp_path, outcomes.get), "quick")
    return compare(made, {"role": "student"}, made, {"role": role})


def test_seeds_are_paired_where_they_are_shared(tmp_path):
    found = gap(tmp_path, {0: 0.63, 1: 0.65, 2: 0.65, 7: 0.9}, {0: 0.60, 1: 0.61, 2: 0.60})
    half = 4.302653 * 0.01 / np.sqrt(3)
    assert (found.n, found.over, len(found.runs)) == (3, "seeds", 6)
    assert found.mean == pytest.approx(0.04)
    assert found.interval == pytest.approx((0.04 - half, 0.04 + half))
    assert found.p == pytest.approx(ttest_rel([0.63, 0.65, 0.65], [0.60, 0.61, 0.60]).pvalue)


def test_of_fewer_than_three_shared_seeds_their_test_images_are_drawn(tmp_path):
    found = gap(tmp_path, {0: 0.63}, {0: 0.60, 1: 0.61, 2: 0.62})
    assert found.mean == pytest.approx(0.03)
    # 3 % of 10,000 images change: standard error sqrt(0.03 * 0.97 / 10,000)
    assert found.interval == pytest.approx((0.03 - 1.96 * 0.0017, 0.03 + 1.96 * 0.0017), abs=2e-4)
    assert (found.n, found.over, len(found.runs)) == (10_000, "images", 2)


def test_a_teacher_that_all_seeds_share_stands_against_each(tmp_path):
    found = gap(tmp_path, {0: 0.82, 1: 0.76, 2: 0.76}, {0: 0.80}, "teacher")
    assert found.mean == pytest.approx(-0.02)
    assert (found.n, found.over, found.verdict) == (3, "seeds", "open")
    assert gap(tmp_path / "b", {4: 0.82}, {0: 0.80}, "teacher").over == "images"


def test_seeds_that_none_shares_have_no_interval(tmp_path):
    found = gap(tmp_path, {0: 0.63, 1: 0.65, 2: 0.67}, {3: 0.60, 4: 0.61, 5: 0.62})
    assert found.mean == pytest.approx(0.04)
    assert (found.interval, found.values) == (None, ())


def test_equal_differences_show_no_spread_between_seeds(tmp_path):
    assert gap(tmp_path, dict.fromkeys((0, 1, 2), 0.52), dict.fromkeys((0, 1, 2), 0.5)).over == "images"


def test_the_bootstrap_agrees_with_the_normal_approximation_and_repeats():
    chance = np.random.default_rng(1)
    change = (chance.random(5000) < 0.7).astype(float) - (chance.random(5000) < 0.65)
    found, error = over_images(change.mean(), [change]), change.std() / np.sqrt(5000)
    assert found.interval == pytest.approx((change.mean() - 1.96 * error, change.mean() + 1.96 * error), abs=6e-4)
    assert (found.over, found.n) == ("images", 5000)
    assert over_images(change.mean(), [change]) == found
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
