"""What is said of a study: where it comes from, what is compared, what was found, and what that cannot know."""

import re

import pytest
from pruning_data import results as pruning_results
from report_data import Outcome, condition, records_of, study_of

from kdlib.reporting.core.results import Results
from kdlib.reporting.findings import findings

LEFTOVER = re.compile(r"\{|\}|\bNone\b|\bnan\b")
LIMIT = "Intervals over test images or patients know nothing of the spread between seeds, which takes 3 seeds."


def said(tmp_path, outcomes, lang="en", **options) -> list[str]:
    records = records_of(list(outcomes), tmp_path, outcomes.get, **options)
    return findings(Results(study_of(labels={"m": "Net"}), list(outcomes), records, "quick"), lang)


def pair(alone, distilled):
    """One student alone and distilled, a value a seed."""
    outcomes = {condition("baseline", "m", seed=s): Outcome(v) for s, v in enumerate(alone)}
    return outcomes | {condition("student", "m", seed=s, T=2, alpha=0.5): Outcome(v) for s, v in enumerate(distilled)}


def test_one_seed(tmp_path):
    lines = said(tmp_path, {condition("teacher", "big"): 0.9154, **pair([0.6128], [0.6255])})
    assert lines[0].startswith("Profile: quick (not the report's own settings); data: cifar10")
    assert lines[1] == "Test accuracy (%): big, Teacher 91.54; Net, alone 61.28; Net, T = 2, α = 0.5 62.55."
    # 127 of 10,000 images change: standard error 0.112 points
    assert re.fullmatch(
        r"Distilled − alone: \+1\.27 \[\+1\.0[4-6]; \+1\.(49|50)\] "
        r"\(T = 2, α = 0\.5, 10,000 test images\), above zero\.",
        lines[2],
    )
    assert lines[3:] == [LIMIT]


def test_three_seeds_in_turkish(tmp_path):
    # differences -2.9, -3.0, -3.1: half width 4.303 * 0.1 / sqrt(3) = 0.25
    lines = said(tmp_path, pair([0.629, 0.640, 0.651], [0.60, 0.61, 0.62]), "tr")
    assert lines[1:] == [
        "Test doğruluğu (%): Net, tek başına 64,00 ± 1,10; Net, T = 2; α = 0,5 61,00 ± 1,00.",
        "Damıtılmış − tek başına: -3,00 [-3,25; -2,75] (T = 2; α = 0,5, 3 tohum), sıfırın altında.",
    ]


def test_diverged_runs_are_named_with_seed_epoch_and_reason(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "accuracy fell back to guessing", "epoch": 3})
    outcomes = {**pair([0.6], [0.7]), condition("student", "m", seed=4, T=3, alpha=0.3): bad}
    assert said(tmp_path, outcomes)[-1] == (
        "Diverged and left out of every mean: Net, T = 3, α = 0.3, seed 4, epoch 3 (accuracy fell back to guessing)."
    )
    assert "doğruluk rastgele tahmin düzeyine geri düştü" in said(tmp_path, outcomes, "tr")[-1]


def test_a_reason_in_a_records_own_words_is_passed_on(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "lost {x} of %s", "epoch": 3})
    lines = said(tmp_path, {**pair([0.6], [0.7]), condition("student", "m", seed=4, T=3, alpha=0.3): bad}, "tr")
    assert "(lost {x} of %s)" in lines[-1]


def test_nothing_to_report():
    assert findings(Results(study_of(), [condition("teacher", "m")], {}, "quick"), "tr") == [
        "Henüz raporlanacak bir çalıştırma yok."
    ]


@pytest.mark.parametrize(("study", "seeds"), [("ts4", (0,)), ("ts5", (0,)), ("ts6", (0, 1, 2))])
def test_no_text_keeps_a_placeholder_or_runs_on(tmp_path, study, seeds):
    found = pruning_results(tmp_path, study, seeds=seeds, test_size=200)
    for lang in ("en", "tr"):
        lines = findings(found, lang)
        assert not LEFTOVER.search("".join(lines))
        assert len(lines) <= 6
