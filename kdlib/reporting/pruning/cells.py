"""Cells and words that the tables of pruning studies share."""

from __future__ import annotations

from dataclasses import replace

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import Difference
from kdlib.reporting.core.i18n import LANGS, N_, say, translations
from kdlib.reporting.core.results import Cell as Gathered
from kdlib.reporting.core.results import Estimate
from kdlib.reporting.core.table import Cell, Row, Text
from kdlib.reporting.pruning.runs import Pruning
from kdlib.reporting.pruning.text import BOOK
from kdlib.studies import schema


def accuracy(cell: Gathered, best: bool = False) -> Cell:
    """An accuracy over seeds, in per cent, with how many of its runs diverged."""
    mark = f" †{len(cell.diverged)}" if cell.diverged else ""
    number = None if cell.mean is None else 100 * cell.mean
    return Cell(number, 2, sd=None if cell.sd is None else 100 * cell.sd, best=best, mark=mark)


def share(left: Estimate) -> Cell:
    """A share over seeds, in per cent."""
    if left.mean is None:
        return Cell()
    return Cell(100 * left.mean, 1, sd=None if left.sd is None else 100 * left.sd)


def change(left: Estimate) -> Cell:
    """What is left, as a change in per cent: 0.726 is -27.4."""
    if left.mean is None:
        return Cell()
    return Cell(100 * (left.mean - 1), 1, "signed", sd=None if left.sd is None else 100 * left.sd)


def evidence(gap: Difference | None) -> str | dict[str, str]:
    """What a difference's interval was drawn over."""
    if gap is None or not gap.over:
        return numbers.DASH
    return translations(BOOK[f"over_{gap.over}"], n=lambda lang: numbers.integer(gap.n, lang))


def beside(cell: Cell, reported: float | None, most: int = 3) -> Cell:
    """The cell with what the report gave, as precise as the report was, but two decimals where ours has them."""
    if reported is None:
        return cell
    given = numbers.decimals_of([reported], most)
    return replace(cell, reported=reported, reported_digits=max(given, min(cell.digits, 2)))


def best_of(values: list[float | None], scale: float, digits: int) -> set[int]:
    """Places of the highest printed value; all on a tie, none when fewer than two compete."""
    printed = [None if value is None else numbers.rounded(scale * value, digits) for value in values]
    there = [value for value in printed if value is not None]
    return {k for k, value in enumerate(printed) if value == max(there)} if len(there) > 1 else set()


def leader(study: Pruning, setting: str) -> str | None:
    """The criterion that fine-tuned lies surely above the next one at a setting; None where none does."""
    means = {
        c: cell.mean for c in study.criteria(setting) if not (cell := study.cell("finetuned", c, setting)).diverged
    }
    ranked = sorted(means, key=means.get, reverse=True)
    gap = study.gap(*(study.where("finetuned", c, setting) for c in ranked[:2])) if len(ranked) > 1 else None
    return ranked[0] if gap and gap.verdict == "up" else None


def places(values: dict[str, float], scale: float) -> dict[str, int]:
    """Place by value as printed, 1 the highest; equal values share a place."""
    printed = {key: numbers.rounded(scale * value, 2) for key, value in values.items()}
    return {key: 1 + sum(other > value for other in printed.values()) for key, value in printed.items()}


def named(study: Pruning, criterion: str) -> dict[str, str]:
    """A criterion's name, or the original's, in both languages, as a row begins with it."""
    return {lang: names.capital(study.name(criterion, lang), lang) for lang in LANGS}


def setting_words(study: Pruning, setting: str) -> dict:
    """A setting and its scope, for a title."""
    return {"setting": lambda lang: study.called(study.settings[setting], lang), "scope": study.scope}


def spread(study: Pruning) -> Text:
    """What the numbers are: means over seeds, or those of one; and whether all seeds share an original."""
    if len({condition.seed for condition, _ in study.results.select(role="finetuned")}) < 2:
        return N_("One seed")
    originals = {record.id for _, record in study.results.select(role="original")}
    return (
        N_("Mean ± standard deviation over seeds, which all start from one original model")
        if len(originals) == 1
        else N_("Mean ± standard deviation over seeds")
    )


def diverged_note(rows: list[Row]) -> list[Text]:
    """What the dagger says, where a cell has one."""
    cells = (cell for row in rows for cell in row.cells if isinstance(cell, Cell))
    return [N_("†k: k runs diverged and enter no mean.")] if any("†" in cell.mark for cell in cells) else []


def provenance(study: Pruning) -> dict[str, str]:
    """Where the numbers come from; and of which network, where it is not the report's."""
    report = as_reported(study.study.name)
    other = report is not None and report.model != study.spec.model

    def said(lang: str) -> str:
        line = names.provenance(study.results, lang)
        return say("Network: {model}.", lang, model=study.name(study.spec.model, lang)) + " " + line if other else line

    return {lang: said(lang) for lang in LANGS}


def as_reported(name: str):
    """A study's pruning as its report had it, run or not; None for a study that is none of ours."""
    return schema.load(name).pruning if name in schema.names() else None


def image(data: dict) -> str:
    """The size of a dataset's images: 64×64."""
    return "×".join(str(side) for side in data["shape"][1:])


def span(values: list[float], digits: int, lang: str) -> str:
    """The lowest and highest of some numbers, or the one they all print as."""
    low, high = (numbers.decimal(pick, digits, lang) for pick in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
