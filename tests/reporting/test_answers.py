"""The answer cards: each names what its number is of, and what does harm is said."""

from types import SimpleNamespace

import pytest
from report_data import Outcome, condition, records_of, study_of

from kdlib.reporting.core.evidence import Difference
from kdlib.reporting.core.results import Results
from kdlib.reporting.page import answers
from kdlib.reporting.verdicts import AGAINST_RANDOM, ALONE, Verdict


def found(mean: float, **more) -> Verdict:
    """A verdict whose interval reaches one point to either side, over three seeds."""
    difference = Difference(mean / 100, ((mean - 1) / 100, (mean + 1) / 100), "seeds", 3)
    return Verdict(more.pop("question"), more.pop("setting", "here"), difference, **more)


@pytest.fixture
def card(monkeypatch):
    """The card, in English, of some verdicts of one study."""

    def made(*verdicts: Verdict, name: str = "ts6") -> answers.Card:
        study = SimpleNamespace(name=name, labels={}, pruning=None)
        monkeypatch.setattr(answers, "verdicts", lambda results: verdicts)
        results = SimpleNamespace(study=study, settings=lambda **_: [], cell=lambda _: SimpleNamespace(mean=None))
        of = {str(AGAINST_RANDOM): answers._criterion, str(ALONE): answers._distil}
        return of[str(verdicts[0].question)]([results], "en")

    return made


def test_the_number_is_that_of_the_criterion_that_is_named(card):
    asked = {"question": AGAINST_RANDOM}
    wins = [found(mean, subject="taylor", **asked) for mean in (5, 4)]
    once = [found(9, subject="coverage", setting="coverage, alone", **asked), found(0, subject="coverage", **asked)]
    none = [found(0, subject="wanda", **asked) for _ in range(2)]
    shown = card(*wins, *once, *none)
    assert shown.answer == "Taylor: ahead of random channels in 2 of 2 settings"
    assert shown.evidence.startswith("+5.00")
    # coverage wins as often as Taylor, by more in one place; Taylor's mean is higher, so the card is of it
    tied = [found(mean, subject="coverage", **asked) for mean in (7, 1.5)]
    shown = card(*wins, *tied, *none)
    assert shown.answer.startswith("Taylor")
    assert shown.evidence.startswith("+5.00")


def test_all_alike_show_the_strongest(card):
    asked = {"question": AGAINST_RANDOM}
    shown = card(found(5, subject="taylor", **asked), found(9, subject="coverage", **asked))
    assert shown.answer == "Any but random: each is ahead of random channels in 1 of 1 settings"
    assert shown.evidence.startswith("+9.00")


def test_harm_by_auroc_is_harm(card):
    asked = {"question": ALONE}
    shown = card(found(0.2, **asked), found(-4, metric="auroc", **asked), name="radiology_model1")
    assert shown.answer == "Not shown here: 0 of 1 settings gain accuracy"
    assert "It lost in radiology_model1 (1 of 2)." in shown.unless


def test_survivors_of_a_divergence_do_not_win(tmp_path):
    """T = 4 has one seed left, the best of all; T = 2 is the best that is sound, T = 1 the worst."""
    bad = Outcome(0.1, diverged={"reason": "x", "epoch": 1})
    by_T = {1: (0.70, 0.71, 0.72), 2: (0.78, 0.77, 0.79), 4: (0.85, bad, bad)}
    outcomes = {
        condition("student", "m", seed=seed, T=T, alpha=0.5): outcome
        for T, found in by_T.items()
        for seed, outcome in enumerate(found)
    }
    records = records_of(list(outcomes), tmp_path / "runs", outcomes.get)
    ((_, best, gap),) = answers._temperatures(Results(study_of(), list(outcomes), records, "quick"))
    assert best["T"] == 2
    assert gap.mean == pytest.approx(0.07)
