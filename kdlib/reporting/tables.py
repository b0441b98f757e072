"""Every table of a study; and the report's own in their own shape, our number beside the reported one in each cell.

A cell of a report's table is every run that its row's and column's `where` select, over seeds. Ours and the reported
numbers compete for bold each by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from kdlib.errors import UserError
from kdlib.reporting import all_runs, compression, model_costs, verdicts
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import compare
from kdlib.reporting.core.guessing import only_guesses
from kdlib.reporting.core.i18n import N_, both, say, text, translations
from kdlib.reporting.core.results import Cell as Gathered
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Cell, Row, Table, Text, estimate_cell
from kdlib.reporting.distillation import methods
from kdlib.reporting.pruning import tables as pruning_tables
from kdlib.reporting.radiology import tables as radiology_tables
from kdlib.studies import schema

# Factor from fractions, decimals, what the legend says, what CSV says.
_UNITS = {
    "percent": (100.0, 2, N_("Accuracy in %"), N_("percent")),
    "fraction": (1.0, 4, N_("Accuracy as a fraction"), N_("fraction")),
}


def tables(results: Results) -> list[Table]:
    """Every table the study's report has, with our numbers, what it should have had, and one of all that was run.

    Where nothing is better than guessing, only the last, and what the networks cost. Raises UserError for a cell that
    mixes settings.
    """
    everything = report_table(results, all_runs.spec(results))
    if only_guesses(results):
        return [*compression.sheets(results), *model_costs.sheets(results), everything]
    reported = [report_table(results, spec) for spec in results.study.tables]
    found = [*compression.sheets(results), *verdicts.sheets(results), *radiology_tables.sheets(results)]
    found += [*pruning_tables.sheets(results), *reported]
    return [*found, *methods.sheets(results), *model_costs.sheets(results), everything]


def report_table(results: Results, spec: schema.Table) -> Table:
    """The table that a study's YAML describes, filled with our runs.

    Raises UserError for a cell that mixes settings.
    """
    places = [[_of(results, row, column) for column in spec.columns] for row in spec.rows]
    gathered = [[_gathered(spec, *place) for place in line] for line in places]
    cells = _cells(spec, gathered)
    if spec.difference:
        column, base = spec.difference.column, spec.difference.from_
        for line in cells:
            cell, against = line[column], line[base]
            ours, theirs = _minus(cell.number, against.number), _minus(cell.reported, against.reported)
            line[column] = replace(cell, difference=ours, reported_difference=theirs)
    _bold(spec, places, cells)
    rows = [Row(list(row.label), line, row.group) for row, line in zip(spec.rows, cells, strict=True)]
    columns = [column.label for column in spec.columns]
    notes: list[Text] = [spec.note or ""]
    if results.has_methods and not all("method" in row.where for row in spec.rows):
        notes.append(
            N_("Students distilled by another method than the report's are not in this table, but in that of methods.")
        )
    notes += [*_diverged(spec, gathered), *_sources(results, spec)]
    unit, legend = _UNITS[spec.unit][3], both(_legend, spec, cells)
    return Table(spec.id, spec.title, spec.head, columns, rows, legend, notes, results.study.name, unit)


def _of(results: Results, row: schema.Row, column: schema.Column) -> tuple[Results | None, dict]:
    """Whose runs a cell shows (those of a study beside where the row names one; None: not run), and which."""
    # What a reader distilled by another method is no answer to the report's numbers.
    return (results.beside.get(row.study) if row.study else results), {"method": None, **row.where, **column.where}


def _gathered(spec: schema.Table, of: Results | None, where: dict) -> Gathered:
    if of is None:
        return Gathered(None, None, 0, ())
    try:
        return of.cell(where, spec.metric)
    except UserError as error:
        raise UserError(f"table {spec.id}: {error}") from None


def _cells(spec: schema.Table, gathered: list[list[Gathered]]) -> list[list[Cell]]:
    scale, decimals = _UNITS[spec.unit][:2]
    decimals = decimals if spec.decimals is None else spec.decimals
    # The report's numbers keep its own precision: "67 (+3)" stays that beside our 67.12.
    theirs = numbers.decimals_of([number for row in spec.rows for number in row.reported], decimals)
    most = max((cell.runs for line in gathered for cell in line), default=0)

    def cell(runs: Gathered, reported: float | None) -> Cell:
        mark = f" [n={runs.n}]" if 1 < runs.runs < most else ""
        mark += f" †{len(runs.diverged)}/{runs.runs}" if runs.diverged else ""
        said = {"reported": reported, "reported_digits": theirs, "n": runs.n, "diverged": len(runs.diverged)}
        return estimate_cell(runs, scale, decimals, mark=mark, **said)

    return [
        [cell(*pair) for pair in zip(line, row.reported or [None] * len(line), strict=True)]
        for row, line in zip(spec.rows, gathered, strict=True)
    ]


def _bold(spec: schema.Table, places: list[list[tuple]], cells: list[list[Cell]]) -> None:
    """Ours: the highest, where it surely lies above the next; the report's: its highest as printed, ties shared."""
    fields: dict[tuple, list[tuple[int, int]]] = {}
    for i, row in enumerate(spec.rows if spec.best != "none" else ()):
        for j in range(len(spec.columns)):
            fields.setdefault((i,) if spec.best == "row" else (j, row.group), []).append((i, j))
    for field in fields.values():
        ours = [(i, j) for i, j in field if cells[i][j].number is not None and not cells[i][j].diverged]
        ours.sort(key=lambda at: cells[at[0]][at[1]].number, reverse=True)
        if len(ours) > 1 and spec.metric == "test_accuracy":
            (i, j), (k, m) = ours[:2]
            found = compare(*places[i][j], *places[k][m])
            if found and found.verdict == "up":
                cells[i][j] = replace(cells[i][j], best=True)
        reported = [(i, j) for i, j in field if cells[i][j].reported is not None]
        printed = [numbers.rounded(cells[i][j].reported, cells[i][j].reported_digits) for i, j in reported]
        for (i, j), value in zip(reported, printed, strict=True):
            if len(printed) > 1 and value == max(printed):
                cells[i][j] = replace(cells[i][j], reported_best=True)


def _minus(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _legend(spec: schema.Table, cells: list[list[Cell]], lang: str) -> str:
    """What the numbers are: unit, spread, difference."""
    parts = [say(_UNITS[spec.unit][2], lang)]
    spread = {cell.sd is not None for line in cells for cell in line if cell.number is not None}
    if True in spread:
        parts.append(say("mean ± standard deviation over seeds", lang))
    if len(spread) > 1:
        parts.append(say("without ±: one seed", lang))
    if spec.difference:
        column = text(spec.columns[spec.difference.from_].label, lang)
        parts.append(say("in brackets: change against “{column}”, in percentage points", lang, column=column))
    return "; ".join(parts)


def _diverged(spec: schema.Table, gathered: list[list[Gathered]]) -> list[Text]:
    """The runs that diverged, by name."""
    runs = [
        ([*row.label, column.label], run)
        for row, line in zip(spec.rows, gathered, strict=True)
        for column, cell in zip(spec.columns, line, strict=True)
        for run in cell.diverged
    ]

    def said(lang: str) -> str:
        listed = []
        for labels, run in runs:
            where = " / ".join(numbers.localised(text(label, lang), lang) for label in labels)
            listed.append(f"{where}: {names.diverged(run, lang)}")
        rule = N_("† k/n: k of n runs diverged; they enter no mean, and the cell does not compete for bold.")
        return f"{say(rule, lang)} {'; '.join(listed)}."

    return [both(said)] if runs else []


def _sources(results: Results, spec: schema.Table) -> list[Text]:
    """Where the numbers come from: one line, or one for each study that rows show; and what has not been run."""
    others = dict.fromkeys(row.study for row in spec.rows if row.study)
    if not others:
        return [both(names.provenance, results)]
    shown, message = {results.study.name: results, **results.beside}, N_("Study {study}. {provenance}")
    return [
        translations(message, study=name, provenance=partial(names.provenance, shown[name]))
        if name in shown
        else names.not_run(results, name)
        for name in (results.study.name, *others)
    ]
