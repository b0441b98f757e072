"""Whether the reports' numbers came out again: every one of them beside ours, with a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kdlib.reporting import model_costs
from kdlib.reporting.core import numbers
from kdlib.reporting.core.evidence import Difference, compare, ids
from kdlib.reporting.core.i18n import N_, Message, both
from kdlib.reporting.core.reported import alone, given, joined, localised
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Table, Text
from kdlib.reporting.pruning import study as pruning_runs
from kdlib.reporting.pruning import tables as pruning_tables
from kdlib.reporting.pruning.study import as_reported
from kdlib.reporting.radiology import study as radiology_runs

VERDICTS: dict[str, Message] = {
    "equal": N_("to the digit"),
    "unequal": N_("counted otherwise"),
    "same": N_("same direction"),
    "opposite": N_("opposite direction"),
    "open": N_("direction open"),
    "level": N_("level only"),
    "absent": N_("not run here"),
}


@dataclass(frozen=True)
class Reproduced:
    """One number of a report beside ours, in the report's own unit (``scale`` times a fraction for accuracies).

    ``change``: the reported number minus what it is set against (the student alone, the unpruned model), None where
    the report sets it against nothing; ``found``: the same difference of ours. ``verdict``: a key of `VERDICTS`.
    """

    study: str
    where: Text
    reported: float
    digits: int
    ours: float | None
    verdict: str
    scale: float = 100.0
    change: float | None = None
    found: Difference | None = None
    runs: tuple[str, ...] = ()


def reproduced(results: Results) -> list[Reproduced]:
    """Every number that the study's report gives, once each; none for a study of no report."""
    return [*_accuracies(results), *_pruned(results), *_clinical(results), *_counted(results)]


def _accuracies(results: Results) -> Iterable[Reproduced]:
    found = given(results.study)
    for label, where, number, scale in found.values():
        theirs = alone(found, where) if where.get("role") == "student" else None
        change, base = (number - theirs.number, theirs.where) if theirs else (None, None)
        yield _accuracy(results, label, {"method": None, **where}, number, scale, change, base)


def _accuracy(results: Results, label: Text, where: dict, number, scale=100.0, change=None, base=None) -> Reproduced:
    """A reported accuracy beside ours, and its ``change`` against what the report gives for ``base``."""
    cell, digits = results.cell(where), numbers.decimals_of([number], 4)
    if cell.mean is None:
        return Reproduced(results.study.name, label, number, digits, None, "absent", scale, change)
    found = compare(results, where, results, base)
    verdict = _direction(change, found) if found and change else "level"
    runs = tuple(dict.fromkeys((*ids(results, where), *(found.runs if found else ()))))
    return Reproduced(results.study.name, label, number, digits, scale * cell.mean, verdict, scale, change, found, runs)


def _direction(change: float, found: Difference) -> str:
    if found.verdict not in ("up", "down"):
        return "open"
    return "same" if (found.verdict == "up") == (change > 0) else "opposite"


def _pruned(results: Results) -> Iterable[Reproduced]:
    """Accuracies after fine-tuning, each against the unpruned model, and what else the report gives of each network;
    nothing of it was run where another network stands in for the report's, or another share of channels left."""
    study = pruning_runs.read(results)
    if study is None:
        return
    report = as_reported(results.study.name) or study.spec
    base = report.reported["original"].accuracy if "original" in report.reported else None
    ours = ["original"] if report.model == study.spec.model else []
    ours += study.criteria("report") if study.spec.reported else []  # at another ratio nothing is beside it
    for row, said in report.reported.items():
        called = pruning_tables.named(study, row)
        cells = pruning_tables.measures(study, row) if row in ours else None
        label = joined([called, localised(pruning_tables.COLUMNS["accuracy"])])
        where = {"role": "original"} if row == "original" else study.where("finetuned", row, "report")
        if said.accuracy is not None and cells and where:
            change = said.loss if base is None else said.accuracy - base
            against = () if row == "original" or change is None else (change, {"role": "original"})
            yield _accuracy(results, label, where, said.accuracy, 100.0, *against)
        elif said.accuracy is not None:
            yield Reproduced(results.study.name, label, said.accuracy, 2, None, "absent")
        if row == "original":  # counted, see below
            continue
        for key in ("size_mb", "latency_ms", "flops_g"):
            if (number := getattr(said, key)) is not None:
                label = joined([called, localised(pruning_tables.COLUMNS[key])])
                here = cells[key].number if cells else None
                digits, verdict = numbers.decimals_of([number], 4), "absent" if here is None else "level"
                yield Reproduced(results.study.name, label, number, digits, here, verdict, scale=1.0)


def _clinical(results: Results) -> Iterable[Reproduced]:
    """Accuracies of teacher and distilled student; the report gives none of the student alone."""
    study = radiology_runs.read(results)
    for role, number in (results.study.clinical.reported if study else {}).items():
        for case in study.cases:
            if role in case.models:
                yield _accuracy(results, radiology_runs.ROLES[role], case.models[role].where, number)


def _counted(results: Results) -> Iterable[Reproduced]:
    """Parameters, sizes and operations: counted, so they are the report's or they are not."""
    for table in model_costs.sheets(results)[:1]:
        yield from _cells(results.study.name, table)
    study = pruning_runs.read(results)
    if table := study and pruning_tables.reference(study):
        found = list(_cells(results.study.name, table))
        equal = {one.reported for one in found if one.verdict == "equal"}
        # A number set beside several structures is that of one of them.
        yield from (one for one in found if one.verdict == "equal" or one.reported not in equal)


def _cells(study: str, table: Table) -> Iterable[Reproduced]:
    def called(i: int, j: int, lang: str) -> str:
        return " · ".join([*table.row_labels(lang)[i], table.columns(lang)[j]])

    for i, row in enumerate(table.cells):
        for j, cell in enumerate(row):
            if cell.reported is not None:
                label = both(called, i, j)
                digits = 0 if cell.kind == "count" else numbers.decimals_of([cell.reported], 4)
                verdict = "absent"
                if cell.number is not None:
                    # As printed: -18.75 comes to a reported -18.8, whichever way its next decimals lean.
                    apart = numbers.rounded(abs(cell.number - cell.reported), digits + 1)
                    verdict = "equal" if apart <= 0.5 * 10**-digits else "unequal"
                yield Reproduced(study, label, cell.reported, digits, cell.number, verdict, scale=1.0)


def counts(found: list[Reproduced]) -> dict[str, int]:
    """How many numbers have each verdict, in the order of `VERDICTS`."""
    return {verdict: n for verdict in VERDICTS if (n := sum(one.verdict == verdict for one in found))}
