"""Guesses are not compared with guesses: what a study says of a teacher that learnt nothing."""

from types import SimpleNamespace

import pytest
from report_data import conditions_of, records_of

from kdlib import reporting
from kdlib.reporting.core.guessing import Guess, only_guesses
from kdlib.studies import schema


@pytest.fixture
def answering(tmp_path):
    """Return a study's results with its teacher right in so many of its test images, ten classes of one size."""

    def made(right: int, images: int = 200):
        study = schema.load("cifar_conv")
        conditions = conditions_of(study, seeds=(0,))
        records = records_of(conditions, tmp_path / str(images), lambda condition: right / images, test_size=images)
        return reporting.Results(study, conditions, records, "quick")

    return made


@pytest.mark.parametrize("right", [20, 26])
def test_thirteen_percent_of_ten_classes_is_guessing(answering, right):
    # 26 of 200: Wilson's interval is [9.0; 18.4] %, and a tenth lies in it.
    assert only_guesses(answering(right)) == Guess(right / 200, 0.1, 200)


def test_the_same_share_of_more_images_is_not(answering):
    assert only_guesses(answering(260, 2000)) is None


def test_a_study_of_guesses_says_that_and_nothing_more(answering):
    results = answering(20)
    said = {lang: reporting.findings(results, lang) for lang in ("en", "tr")}
    assert [len(lines) for lines in said.values()] == [2, 2]
    assert "10.00%" in said["en"][1]
    assert "not clearly above" in said["en"][1]
    assert "%10,00" in said["tr"][1]
    assert [table.id for table in reporting.tables(results)] == ["all_runs"]
    assert all(stem.startswith("curves") for stem in reporting.draw(results, "en"))


def test_what_has_no_predictions_is_not_judged(answering):
    results = answering(20)
    for record in results.used:
        (record.path / "predictions.npz").unlink()
    assert only_guesses(results) is None
    assert only_guesses(SimpleNamespace(select=lambda **_: [], used=[])) is None
