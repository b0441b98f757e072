"""What a study found, in a few sentences over its table of verdicts."""

from __future__ import annotations

from kdlib.reporting.core import guessing, names
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.results import MIN_SEEDS, best_by_validation
from kdlib.reporting.core.table import accuracy_cell
from kdlib.reporting.radiology import findings as radiology_findings
from kdlib.reporting.transfer import runs as transfer
from kdlib.reporting.verdicts import Verdict, sentences, verdicts

LEVELS = ("source", "teacher", "original", "baseline")
QUESTIONS = 3  # that are said; the table has them all


def findings(results, lang: str) -> list[str]:
    """Where the numbers come from, what is compared, the first questions' answers, and what these cannot know; of
    radiology also what its models must not be used for."""
    if not results.used:
        return [say("There are no runs to report yet.", lang)]
    if guess := guessing.only_guesses(results):
        return [names.provenance(results, lang), guessing.sentence(guess, lang)]
    found = verdicts(results)
    out = [names.provenance(results, lang), _levels(results, lang), transfer.outside(results, lang)]
    out += [*sentences(found, lang)[:QUESTIONS], _limit(found, lang)]
    out += [_diverged(results, lang), *radiology_findings.findings(results, lang)]
    return [line for line in out if line]


def _levels(results, lang: str) -> str:
    """Test accuracies of what the others are compared with, and of the distilled settings that validation takes."""
    wheres = [where for role in LEVELS for where in results.settings(role=role)]
    for here in names.trained(results, {}):
        best = best_by_validation(results, results.settings(role="student", **here))
        wheres += [best] if best else []
    said = [
        f"{names.described(results, where, lang)} {accuracy_cell(cell).ours(lang)}"
        for where in wheres
        if (cell := results.cell(where)).mean is not None
    ]
    return say("Test accuracy (%): {models}.", lang, models="; ".join(said)) if said else ""


def _limit(found: list[Verdict], lang: str) -> str:
    """What intervals over test images cannot know."""
    if all(one.found.over == "seeds" for one in found):
        return ""
    limit = N_(
        "Intervals over test images or patients know nothing of the spread between seeds, which takes {n} seeds."
    )
    return say(limit, lang, n=MIN_SEEDS)


def _diverged(results, lang: str) -> str:
    runs = [
        f"{names.described(results, where, lang)}, {names.diverged(run, lang)}"
        for where in results.settings()
        for run in results.cell(where).diverged
    ]
    return say("Diverged and left out of every mean: {runs}.", lang, runs="; ".join(runs)) if runs else ""
