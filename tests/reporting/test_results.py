"""Cells are honest: seeds once each, diverged runs apart, no mixing of settings."""

import math

import pytest
from report_data import Outcome, condition, record, records_of, study_of

from kdlib.errors import UserError
from kdlib.reporting.core.results import Results, best_by_validation, estimate
from kdlib.reporting.reading import read
from kdlib.studies import records


def test_estimate_by_hand():
    e = estimate([0.890, 0.892, 0.897])  # mean 0.893; deviations -3, -1, +4 thousandths: 26 / 2 = 13
    assert e.mean == pytest.approx(0.893)
    assert e.sd == pytest.approx(math.sqrt(13e-6))
    half = 4.302653 * math.sqrt(13e-6) / math.sqrt(3)
    assert e.interval == pytest.approx((0.893 - half, 0.893 + half))


def test_one_seed_has_no_spread_and_none_has_nothing():
    assert (estimate([0.5]).sd, estimate([0.5]).interval) == (None, None)
    assert estimate([0.5, 0.6]).interval is None
    assert estimate([0.5, 0.5, 0.5]).interval is None
    assert (estimate([]).mean, estimate([]).n) == (None, 0)


def results_of(tmp_path, outcomes: dict, **study) -> Results:
    """`outcomes`: condition -> outcome."""
    return Results(study_of(**study), list(outcomes), records_of(list(outcomes), tmp_path, outcomes.get), "quick")


def test_diverged_runs_enter_no_mean(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "accuracy fell back to guessing", "epoch": 4})
    outcomes = {condition("student", "m", seed=s, T=2, alpha=0.5): o for s, o in enumerate([0.90, bad, 0.92])}
    cell = results_of(tmp_path, outcomes).cell({"role": "student", "T": 2.0})
    assert cell.mean == pytest.approx(0.91)
    assert (cell.n, cell.runs, cell.by_seed) == (2, 3, {0: 0.90, 2: 0.92})
    assert [(d.seed, d.epoch, d.reason) for d in cell.diverged] == [(1, 4, "accuracy fell back to guessing")]


def test_a_frame_has_a_row_a_run(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "accuracy fell back to guessing", "epoch": 4})
    outcomes = {condition("student", "m", seed=s, T=T, alpha=0.5): o for T in (2, 4) for s, o in ((0, 0.9), (1, bad))}
    frame = results_of(tmp_path, outcomes).frame()
    assert frame[["role", "model", "T", "seed", "test_accuracy", "diverged"]].to_numpy().tolist() == [
        ["student", "m", T, seed, accuracy, gone]
        for T in (2, 4)
        for seed, accuracy, gone in ((0, 0.9, False), (1, 0.1, True))
    ]
    assert frame[~frame.diverged].groupby("T").test_accuracy.mean().tolist() == [0.9, 0.9]


def test_a_record_that_two_conditions_share_counts_once(tmp_path):
    found = record(tmp_path, "one", Outcome(0.9))
    conditions = [condition("teacher", "m", id="one"), condition("baseline", "m", id="one")]
    cell = Results(study_of(), conditions, {"one": found}, "quick").cell({"model": "m"})
    assert (cell.n, cell.mean) == (1, 0.9)


def test_mixing_settings_is_refused_by_name(tmp_path):
    outcomes = {condition("student", "m", T=T, alpha=0.5): 0.9 for T in (1, 2)}
    results = results_of(tmp_path, outcomes)
    with pytest.raises(UserError, match=r"differ in T: add it"):
        results.cell({"role": "student"})


def test_an_unknown_property_is_refused(tmp_path):
    results = results_of(tmp_path, {condition("teacher", "m"): 0.9})
    with pytest.raises(UserError, match="temperature is no property"):
        results.cell({"temperature": 2})


def test_where_takes_lists_and_floats_meet_integers(tmp_path):
    outcomes = {condition("teacher", "m"): 0.9, condition("student", "m", T=2.0, alpha=0.5): 0.8}
    results = results_of(tmp_path, outcomes)
    assert results.cell({"role": ["baseline", "teacher"]}).mean == 0.9
    assert results.cell({"T": 2, "alpha": 0.5}).mean == 0.8
    assert results.cell({"T": None}).mean == 0.9


def test_runs_not_made_are_absent_not_zero(tmp_path):
    outcomes = {condition("student", "m", T=1, alpha=0.5): None, condition("teacher", "m"): 0.9}
    results = results_of(tmp_path, outcomes)
    assert results.cell({"role": "student"}).mean is None
    assert results.missing == 1


def test_best_is_chosen_by_validation_though_test_disagrees(tmp_path):
    outcomes = {
        condition("student", "m", T=1, alpha=0.5): Outcome(test=0.95, val=0.80),
        condition("student", "m", T=2, alpha=0.5): Outcome(test=0.70, val=0.81),
    }
    results = results_of(tmp_path, outcomes)
    assert best_by_validation(results, results.settings(role="student"))["T"] == 2


def test_a_setting_of_which_a_seed_diverged_is_not_best_unless_all_have_one(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "x", "epoch": 1})
    shaky = {condition("student", "m", seed=s, T=1, alpha=0.5): o for s, o in enumerate([0.95, bad])}
    sound = {condition("student", "m", seed=s, T=2, alpha=0.5): 0.90 for s in (0, 1)}
    results = results_of(tmp_path, {**shaky, **sound})
    assert best_by_validation(results, results.settings(role="student"))["T"] == 2
    results = results_of(tmp_path, shaky)
    assert best_by_validation(results, results.settings(role="student"))["T"] == 1


def test_validation_chooses_over_the_seeds_that_all_settings_have(tmp_path):
    several = {condition("student", "m", seed=s, T=2, alpha=0.5): v for s, v in enumerate([0.92, 0.80, 0.80])}
    results = results_of(tmp_path, {**several, condition("student", "m", T=1, alpha=0.5): 0.90})
    assert best_by_validation(results, results.settings(role="student"))["T"] == 2


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({"T": [8.0]}, ["T"]),
        ({"epochs": 3, "dataset": "shapes10"}, ["dataset", "epochs"]),
        ({"seeds": [0, 1]}, []),
        ({"seeds": [0, 1], "T": [8.0]}, ["T"]),
    ],
)
def test_paper_profile_with_other_settings_is_not_the_reports(tmp_path, asked, changed):
    about = {"study": "cnn_grid", "profile": "paper", "parameters": {"lang": "tr", **asked}}
    records.write_conditions(tmp_path / "paper" / "cnn_grid", [], about)
    assert read(tmp_path / "paper" / "cnn_grid").changed == changed
