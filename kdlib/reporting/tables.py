"""Every table of a study; and the report's own in their own shape, our number beside the reported one in each cell.

A cell of a report's table is every run that its row's and column's `where` select, over seeds. Ours and the reported
numbers compete for bold each by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kdlib.errors import UserError
from kdlib.reporting import all_runs, model_costs, verdicts
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import compare
from kdlib.reporting.core.guessing import only_guesses
from kdlib.reporting.core.i18n import LANGS, N_, Message, say, text, translations
from kdlib.reporting.core.results import Cell as Gathered
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Cell, Row, Table, Text
from kdlib.reporting.distillation import methods
from kdlib.reporting.pruning import tables as pruning_tables
from kdlib.reporting.radiology import tables as radiology_tables

# Factor from fractions, decimals, what the legend says, what CSV says.
_UNITS = {
    "percent": (100.0, 2, N_("Accuracy in %"), N_("percent")),
    "fraction": (1.0, 4, N_("Accuracy as a fraction"), N_("fraction")),
}


def tables(results: Results) -> list[Table]:
    """Every table the study's report has, with our numbers, what it should have had, and one of all that was run.

    Where nothing is better than guessing, only the last, and what the models cost. Raises UserError for a cell that
    mixes settings.
    """
    everything = report_table(results, all_runs.spec(results))
    if only_guesses(results):
        return [*model_costs.sheets(results), everything]
    reported = [report_table(results, spec) for spec in getattr(results.study, "tables", None) or []]
    found = [*verdicts.sheets(results), *radiology_tables.sheets(results), *pruning_tables.sheets(results), *reported]
    return [*found, *methods.sheets(results), *model_costs.sheets(results), everything]


def report_table(results: Results, spec) -> Table:
    """The table that a study's YAML describes, filled with our runs.

    Raises UserError for an unknown unit or rule for bold, a row whose numbers do not fit the columns, and a cell that
    mixes settings.
    """
    unit, best = getattr(spec, "unit", None) or "percent", getattr(spec, "best", None) or "none"
    if unit not in _UNITS:
        raise UserError(f"table {spec.id}: unit must be percent or fraction, got {unit!r}")
    if best not in ("column", "row", "none"):
        raise UserError(f"table {spec.id}: best must be column, row or none, got {best!r}")
    gathered = [[_gathered(results, spec, row, column) for column in spec.columns] for row in spec.rows]
    cells = _bold(results, spec, best, _differences(spec, _cells(spec, unit, gathered)))
    rows = [Row(list(row.label), line, getattr(row, "group", None)) for row, line in zip(spec.rows, cells, strict=True)]
    columns = [column.label for column in spec.columns]
    notes = [*_notes(results, spec), *_diverged(spec, gathered), *_sources(results, spec)]
    legend = {lang: _legend(spec, unit, cells, lang) for lang in LANGS}
    return Table(spec.id, spec.title, spec.head, columns, rows, legend, notes, results.study.name, _UNITS[unit][3])


def _of(results: Results, row, column) -> tuple[Results | None, dict]:
    """Whose runs a cell shows, and which: those of a study beside where the row names one."""
    other = getattr(row, "study", None)
    # What a reader distilled by another method is no answer to the report's numbers.
    where = {"method": None, **(row.where or {}), **(column.where or {})}
    return (results.beside.get(other) if other else results), where


def _gathered(results: Results, spec, row, column) -> Gathered:
    of, where = _of(results, row, column)
    if of is None:  # that study has not been run
        return Gathered(None, None, 0, ())
    try:
        return of.cell(where, _metric(spec))
    except UserError as error:
        raise UserError(f"table {spec.id}: {error}") from None


def _metric(spec) -> str:
    return getattr(spec, "metric", None) or "test_accuracy"


def _cells(spec, unit: str, gathered: list[list[Gathered]]) -> list[list[Cell]]:
    scale, decimals = _UNITS[unit][:2]
    decimals = decimals if getattr(spec, "decimals", None) is None else spec.decimals
    # The report's numbers keep its own precision: "67 (+3)" stays that beside our 67.12.
    theirs = numbers.decimals_of([number for row in spec.rows for number in (row.reported or [])], decimals)
    most = max((cell.runs for line in gathered for cell in line), default=0)
    out = []
    for row, line in zip(spec.rows, gathered, strict=True):
        reported = list(row.reported or [None] * len(spec.columns))
        if len(reported) != len(spec.columns):
            raise UserError(f"table {spec.id}: a row reports {len(reported)} numbers for {len(spec.columns)} columns")
        out.append([_cell(*pair, scale, decimals, theirs, most) for pair in zip(line, reported, strict=True)])
    return out


def _cell(runs: Gathered, reported: float | None, scale: float, decimals: int, theirs: int, most: int) -> Cell:
    mark = f" [n={runs.n}]" if 0 < runs.runs < most else ""
    mark += f" †{len(runs.diverged)}/{runs.runs}" if runs.diverged else ""
    mean, sd = (None if value is None else scale * value for value in (runs.mean, runs.sd))
    said = {"reported": reported, "reported_digits": theirs, "n": runs.n, "diverged": len(runs.diverged)}
    return Cell(mean, decimals, sd=sd, mark=mark, **said)


def _differences(spec, cells: list[list[Cell]]) -> list[list[Cell]]:
    if rule := getattr(spec, "difference", None):
        column, base = difference_columns(rule)
        for line in cells:
            cell, against = line[column], line[base]
            ours, theirs = _minus(cell.number, against.number), _minus(cell.reported, against.reported)
            line[column] = replace(cell, difference=ours, reported_difference=theirs)
    return cells


def difference_columns(rule) -> tuple[int, int]:
    """(column, from) of a difference rule; `from` is a Python keyword, so a schema may call it `from_`."""
    if isinstance(rule, dict):
        return rule["column"], rule["from"]
    return rule.column, getattr(rule, "from_", None) if hasattr(rule, "from_") else getattr(rule, "from")


def _bold(results: Results, spec, best: str, cells: list[list[Cell]]) -> list[list[Cell]]:
    """Ours: the highest, where it surely lies above the next; the report's: its highest as printed."""
    fields: dict[tuple, list[tuple[int, int]]] = {}
    for i, row in enumerate(spec.rows):
        for j in range(len(spec.columns)):
            if best != "none":
                key = (i,) if best == "row" else (j, getattr(row, "group", None))
                fields.setdefault(key, []).append((i, j))
    for places in fields.values():
        ours = sorted(
            (p for p in places if cells[p[0]][p[1]].number is not None and not cells[p[0]][p[1]].diverged),
            key=lambda place: cells[place[0]][place[1]].number,
            reverse=True,
        )
        if len(ours) > 1 and _leads(results, spec, *ours[:2]):
            i, j = ours[0]
            cells[i][j] = replace(cells[i][j], best=True)
        theirs = cells[places[0][0]][places[0][1]].reported_digits
        for i, j in _highest([cells[i][j].reported for i, j in places], places, theirs):
            cells[i][j] = replace(cells[i][j], reported_best=True)
    return cells


def _leads(results: Results, spec, first: tuple[int, int], second: tuple[int, int]) -> bool:
    sides = [_of(results, spec.rows[i], spec.columns[j]) for i, j in (first, second)]
    if _metric(spec) != "test_accuracy":
        return False
    (of, one), (others, other) = sides
    found = compare(of, one, others, other)
    return found is not None and found.verdict == "up"


def _highest(values, places, decimals: int):
    """Places of the highest printed value; all of them on a tie, none when fewer than two compete."""
    printed = [None if v is None else numbers.rounded(v, decimals) for v in values]
    competing = [v for v in printed if v is not None]
    if len(competing) < 2:
        return []
    return [place for place, v in zip(places, printed, strict=True) if v == max(competing)]


def _minus(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _legend(spec, unit: str, cells: list[list[Cell]], lang: str) -> str:
    """What the numbers are: unit, spread, difference."""
    parts = [say(_UNITS[unit][2], lang)]
    if any(cell.sd is not None for line in cells for cell in line):
        parts.append(say("mean ± standard deviation over seeds", lang))
    if rule := getattr(spec, "difference", None):
        column = text(spec.columns[difference_columns(rule)[1]].label, lang)
        parts.append(say("in brackets: change against “{column}”, in percentage points", lang, column=column))
    return "; ".join(parts)


def _notes(results: Results, spec) -> Iterable[Text]:
    yield getattr(spec, "note", None) or ""
    if results.has_methods and not all("method" in (row.where or {}) for row in spec.rows):
        yield N_(
            "Students distilled by another method than the report's are not in this table, but in that of methods."
        )


def _diverged(spec, gathered: list[list[Gathered]]) -> list[Text]:
    """The runs that diverged, by name."""
    runs = [
        (row, column, run)
        for row, line in zip(spec.rows, gathered, strict=True)
        for column, cell in zip(spec.columns, line, strict=True)
        for run in cell.diverged
    ]

    def said(row, column, run, lang: str) -> str:
        where = " / ".join(numbers.localised(text(label, lang), lang) for label in [*row.label, column.label])
        epoch, reason = numbers.DASH if run.epoch is None else run.epoch, text(Message(run.reason), lang)
        message = N_("{where}: seed {seed}, epoch {epoch} ({reason})")
        return say(message, lang, where=where, seed=run.seed, epoch=epoch, reason=reason)

    rule = N_("† k/n: k of n runs diverged; they enter no mean, and the cell does not compete for bold.")
    named = {lang: f"{say(rule, lang)} {'; '.join(said(*run, lang) for run in runs)}." for lang in LANGS}
    return [named] if runs else []


def _sources(results: Results, spec) -> list[Text]:
    """Where the numbers come from: one line, or one for each study that rows show; and what has not been run."""
    others = dict.fromkeys(row.study for row in spec.rows if getattr(row, "study", None))
    if not others:
        return [{lang: names.provenance(results, lang) for lang in LANGS}]
    out, profile = [], results.profile
    for name, shown in {results.study.name: results, **{name: results.beside.get(name) for name in others}}.items():
        if shown is None:
            message = N_(
                "Rows of study {study} are empty: it has not been run in profile {profile}. To run it: {command}"
            )
            command = f"kdlib run {name} --profile {profile}"
            out.append(translations(message, study=name, profile=profile, command=command))
        else:
            message, line = N_("Study {study}. {provenance}"), lambda lang, shown=shown: names.provenance(shown, lang)
            out.append(translations(message, study=name, provenance=line))
    return out
