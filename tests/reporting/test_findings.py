"""Sentences on constructed numbers say what these numbers bear out, and no more."""

import re

import numpy as np
import pytest
from report_data import Outcome, arm, records_of, study_of
from scipy.stats import ttest_ind

from kdlib.reporting.evidence import bootstrap, difference
from kdlib.reporting.findings import findings
from kdlib.reporting.results import Cell, Results


def said(tmp_path, outcomes, lang="en", **options) -> list[str]:
    records = records_of(list(outcomes), tmp_path, outcomes.get, **options)
    return findings(Results(study_of(labels={"m": "Net"}), list(outcomes), records, "quick"), lang)


def pair(alone, distilled, seeds=1):
    """One student alone and distilled; values or lists of values, one a seed."""
    alone, distilled = np.broadcast_to(alone, seeds), np.broadcast_to(distilled, seeds)
    outcomes = {arm("baseline", "m", seed=s): Outcome(float(v)) for s, v in enumerate(alone)}
    return outcomes | {arm("student", "m", seed=s, T=2, alpha=0.5): Outcome(float(v)) for s, v in enumerate(distilled)}


def test_the_first_sentence_says_where_the_numbers_come_from(tmp_path):
    assert said(tmp_path, pair(0.6, 0.7))[0].startswith("Profile: quick (not the report's own settings); data: cifar10")


def test_teacher_and_baseline(tmp_path):
    lines = said(tmp_path, {arm("teacher", "big"): 0.9154, **pair(0.6128, 0.6255)})
    assert lines[1] == "Teacher big: test accuracy 91.54%."
    assert lines[2] == "Net trained alone: test accuracy 61.28%."


def test_a_better_student(tmp_path):
    assert said(tmp_path, pair(0.6128, 0.6255))[2] == (
        "Distilled Net, T = 2, α = 0.5: test accuracy 62.55%, 1.27 percentage points above the same network trained "
        "alone."
    )


def test_a_better_student_in_turkish(tmp_path):
    assert said(tmp_path, pair(0.6128, 0.6255), "tr")[2] == (
        "Damıtılmış Net, T = 2; α = 0,5: test doğruluğu %62,55; tek başına eğitilen aynı ağdan 1,27 yüzde puanı daha "
        "yüksek."
    )


def test_a_worse_student(tmp_path):
    assert "0.50 percentage points below the same network" in said(tmp_path, pair(0.70, 0.695))[2]
    assert "0,50 yüzde puanı daha düşük" in said(tmp_path, pair(0.70, 0.695), "tr")[2]


def test_a_tie(tmp_path):
    lines = said(tmp_path, pair(0.70, 0.70))
    assert "the same as that of the same network trained alone" in lines[2]
    assert "above" not in lines[2]


def test_one_seed_claims_nothing_and_gives_the_noise_of_the_test_images(tmp_path):
    line = said(tmp_path, pair(0.6128, 0.6255))[3]
    assert line.startswith("Fewer than three seeds cannot tell an effect from the noise between seeds.")
    # 127 of 10,000 examples change: standard error sqrt(0.0127 * 0.9873 / 10000) = 0.112 points
    low, high = map(float, re.search(r"\[\+(.*); \+(.*)\]", line).groups())
    assert low == pytest.approx(1.27 - 1.96 * 0.112, abs=0.02)
    assert high == pytest.approx(1.27 + 1.96 * 0.112, abs=0.02)
    assert "(10,000 of them)" in line


def test_one_seed_without_predictions_still_says_what_one_seed_is_worth(tmp_path):
    outcomes = pair(0.6, 0.7)
    records = records_of(list(outcomes), tmp_path, outcomes.get)
    for file in tmp_path.rglob("predictions.npz"):
        file.unlink()
    lines = findings(Results(study_of(), list(outcomes), records, "quick"), "en")
    assert lines[3] == "Fewer than three seeds cannot tell an effect from the noise between seeds."


def test_several_seeds_above_the_noise(tmp_path):
    # differences 2.9, 3.0, 3.1: mean 3, sd 0.1, half width 4.303 * 0.1 / sqrt(3) = 0.25
    line = said(tmp_path, pair([0.60, 0.61, 0.62], [0.629, 0.640, 0.651], seeds=3))[3]
    assert "Over 3 seeds the difference is +3.00 points with a 95% t-interval of [+2.75; +3.25]" in line
    assert "is 1.00 alone and 1.10 distilled" in line
    assert "distillation helped here beyond the noise" in line


def test_several_seeds_below_and_within_the_noise(tmp_path):
    down = said(tmp_path / "a", pair([0.629, 0.640, 0.651], [0.60, 0.61, 0.62], seeds=3), "tr")[3]
    assert "[-3,25; -2,75]" in down
    assert "zarar verdi" in down
    within = said(tmp_path / "b", pair([0.60, 0.61, 0.60], [0.61, 0.605, 0.60], seeds=3))[3]
    assert "The interval holds zero: these seeds do not tell an effect from noise." in within


def grid(tests, vals):
    outcomes = {arm("baseline", "m"): 0.70}
    points = [(T, alpha) for T in (1, 5) for alpha in (0.1, 0.9)]
    return outcomes | {
        arm("student", "m", T=T, alpha=a): Outcome(t, v) for (T, a), t, v in zip(points, tests, vals, strict=True)
    }


def test_best_is_validations_choice_with_its_own_test_accuracy(tmp_path):
    lines = said(tmp_path, grid([0.72, 0.71, 0.69, 0.74], [0.60, 0.65, 0.62, 0.61]))
    assert lines[2].startswith(
        "Best distilled Net by validation accuracy, of 4 settings: T = 1, α = 0.9 (validation 65.00%). "
        "Its test accuracy is 71.00%, 1.00 percentage points above"
    )
    assert not any("74.00%" in line for line in lines)


def test_mean_of_all_settings_and_how_many_lie_above(tmp_path):
    lines = said(tmp_path, grid([0.72, 0.71, 0.69, 0.74], [0.6] * 4))
    assert lines[4] == (
        "All 4 distilled settings of Net: mean test accuracy 71.50%, +1.50 points against alone; 3 of 4 lie above it."
    )
    assert "4 ayarın 3 tanesi" in said(tmp_path, grid([0.72, 0.71, 0.69, 0.74], [0.6] * 4), "tr")[4]


def test_diverged_runs_are_named_with_seed_epoch_and_reason(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "accuracy fell back to chance", "epoch": 3})
    outcomes = {**pair(0.6, 0.7), arm("student", "m", seed=4, T=3, alpha=0.3): bad}
    assert said(tmp_path, outcomes)[-1] == (
        "Diverged and left out of every mean: Net, T = 3, α = 0.3, seed 4, epoch 3 (accuracy fell back to chance)."
    )
    assert "doğruluk şans düzeyine geri düştü" in said(tmp_path, outcomes, "tr")[-1]


def test_a_baseline_that_diverged_is_not_compared_with(tmp_path):
    outcomes = pair(0.6, 0.7)
    outcomes[arm("baseline", "m")] = Outcome(0.1, diverged={"reason": "x", "epoch": 1})
    lines = said(tmp_path, outcomes)
    assert "there is no run of the same network alone to compare with" in lines[1]


def test_nothing_to_report():
    assert findings(Results(study_of(), [arm("teacher", "m")], {}, "quick"), "tr") == ["Henüz raporlanacak koşu yok."]


def cell(**by_seed) -> Cell:
    from kdlib.reporting.results import estimate

    e = estimate(by_seed.values())
    return Cell(e.mean, e.sd, e.n, e.values, (), tuple(int(k[1:]) for k in by_seed))


def test_seeds_are_paired_where_they_are_shared():
    found = difference(cell(s0=0.63, s1=0.65, s2=0.65, s7=0.9), cell(s0=0.60, s1=0.61, s2=0.60))
    assert found.n == 3
    assert found.mean == pytest.approx(0.04)
    half = 4.302653 * 0.01 / np.sqrt(3)
    assert found.interval == pytest.approx((0.04 - half, 0.04 + half))


def test_unpaired_seeds_take_welchs_interval():
    first, second = [0.63, 0.65, 0.67], [0.60, 0.61, 0.62]
    found = difference(cell(s0=0.63, s1=0.65, s2=0.67), cell(s3=0.60, s4=0.61, s5=0.62))
    expected = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))


def test_fewer_than_three_seeds_or_no_spread_have_no_interval():
    assert difference(cell(s0=0.63), cell(s0=0.60, s1=0.61, s2=0.62)).interval is None
    assert difference(cell(s0=0.63, s1=0.65), cell(s0=0.60, s1=0.61)).interval is None
    assert difference(cell(s0=0.63, s1=0.65), cell(s3=0.60, s4=0.61, s5=0.62)).interval is None
    same = dict.fromkeys(("s0", "s1", "s2"), 0.5)
    assert difference(cell(**same), cell(**same)).interval is None


def test_bootstrap_agrees_with_the_normal_approximation_and_repeats():
    chance = np.random.default_rng(1)
    first, second = chance.random(5000) < 0.7, chance.random(5000) < 0.65
    gap = first.astype(float) - second
    low, high = bootstrap(gap)
    error = gap.std() / np.sqrt(5000)
    assert (low, high) == pytest.approx((gap.mean() - 1.96 * error, gap.mean() + 1.96 * error), abs=6e-4)
    assert bootstrap(gap) == (low, high)


def test_images_that_all_change_alike_have_no_interval():
    assert bootstrap(np.zeros(5)) is None
    assert bootstrap(np.ones(5)) is None
