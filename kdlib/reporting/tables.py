"""The report's own tables in their own shape: each cell holds our number and the reported one.

A cell is every run that its row's and column's `where` select, over seeds. Ours and the reported numbers compete for
bold each by themselves. Nothing here formats a document: see `render` and `latex`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kdlib.errors import UserError
from kdlib.reporting import all_runs, clinical, latex, methods, model_costs, names, numbers, render, verdicts
from kdlib.reporting.guessing import only_guesses
from kdlib.reporting.i18n import N_, Message, say, text
from kdlib.reporting.pruning import tables as pruning_tables
from kdlib.reporting.results import Cell, Results
from kdlib.reporting.sheet import Sheet

if TYPE_CHECKING:
    import pandas as pd

_DECIMALS = {"percent": 2, "fraction": 4}
_UNITS = {"percent": N_("Accuracy in %"), "fraction": N_("Accuracy as a fraction")}


@dataclass(frozen=True)
class Entry:
    """One cell, in the table's unit: our mean, sd and runs, the reported number, and what each is bold for."""

    ours: Cell
    scale: float
    reported: float | None
    ours_difference: float | None = None
    reported_difference: float | None = None
    ours_best: bool = False
    reported_best: bool = False

    @property
    def mean(self) -> float | None:
        """Our mean in the table's unit; None when no run converged or none was made."""
        return None if self.ours.mean is None else self.ours.mean * self.scale

    @property
    def sd(self) -> float | None:
        """Our standard deviation in the table's unit; None below two seeds."""
        return None if self.ours.sd is None else self.ours.sd * self.scale


class ReportTable:
    """One table of a report; renders itself in either language."""

    def __init__(self, results: Results, spec):
        self.results, self.spec = results, spec
        self.id: str = spec.id
        self.unit: str = getattr(spec, "unit", None) or "percent"
        if self.unit not in _DECIMALS:
            raise UserError(f"table {self.id}: unit must be percent or fraction, got {self.unit!r}")
        given = getattr(spec, "decimals", None)
        self.decimals: int = _DECIMALS[self.unit] if given is None else given
        reported = [number for row in spec.rows for number in (row.reported or [])]
        self.has_reported = any(number is not None for number in reported)
        # The report's numbers keep its own precision: "67 (+3)" stays that beside our 67.12.
        self.reported_decimals = numbers.decimals_of(reported, self.decimals)
        self.entries: list[list[Entry]] = self._bold(self._differences(self._entries()))

    def _entries(self) -> list[list[Entry]]:
        metric = getattr(self.spec, "metric", None) or "test_accuracy"
        scale = 100.0 if self.unit == "percent" else 1.0
        out = []
        for row in self.spec.rows:
            reported = list(row.reported or [None] * len(self.spec.columns))
            if len(reported) != len(self.spec.columns):
                raise UserError(
                    f"table {self.id}: a row reports {len(reported)} numbers for {len(self.spec.columns)} columns"
                )
            out.append(
                [
                    Entry(self._cell(row, {**(row.where or {}), **(column.where or {})}, metric), scale, number)
                    for column, number in zip(self.spec.columns, reported, strict=True)
                ]
            )
        return out

    def _cell(self, row, where: dict, metric: str) -> Cell:
        of = self._of(row)
        if of is None:  # that study has not been run
            return Cell(None, None, 0, ())
        try:
            # What a reader distilled by another method is no answer to the report's numbers.
            return of.cell({"method": None, **where}, metric)
        except UserError as error:
            raise UserError(f"table {self.id}: {error}") from None

    def _of(self, row) -> Results | None:
        """The results a row shows: the study's own, or those of one beside it, None where it has not been run."""
        other = getattr(row, "study", None)
        return self.results.beside.get(other) if other else self.results

    def _sources(self, lang: str) -> list[str]:
        """Where the numbers come from: one line, or one for each study that rows show; and what has not been run."""
        others = list(dict.fromkeys(row.study for row in self.spec.rows if getattr(row, "study", None)))
        if not others:
            return [names.provenance(self.results, lang)]
        shown = {self.results.study.name: self.results, **{name: self.results.beside.get(name) for name in others}}
        profile, out = self.results.profile, []
        for name, results in shown.items():
            if results is None:
                command = f"kdlib run {name} --profile {profile}"
                out.append(
                    say(
                        "Rows of study {study} are empty: it has not been run in profile {profile}. To run it: "
                        "{command}",
                        lang,
                        study=name,
                        profile=profile,
                        command=command,
                    )
                )
            else:
                out.append(
                    say("Study {study}. {provenance}", lang, study=name, provenance=names.provenance(results, lang))
                )
        return out

    def _differences(self, entries: list[list[Entry]]) -> list[list[Entry]]:
        if not (rule := getattr(self.spec, "difference", None)):
            return entries
        column, base = difference_columns(rule)
        for row in entries:
            entry, against = row[column], row[base]
            row[column] = replace(
                entry,
                ours_difference=_minus(entry.mean, against.mean),
                reported_difference=_minus(entry.reported, against.reported),
            )
        return entries

    def _bold(self, entries: list[list[Entry]]) -> list[list[Entry]]:
        best = getattr(self.spec, "best", None) or "none"
        if best not in ("column", "row", "none"):
            raise UserError(f"table {self.id}: best must be column, row or none, got {best!r}")
        fields: dict[tuple, list[tuple[int, int]]] = {}
        for i, row in enumerate(self.spec.rows):
            for j in range(len(self.spec.columns)):
                if best != "none":
                    key = (i,) if best == "row" else (j, getattr(row, "group", None))
                    fields.setdefault(key, []).append((i, j))
        for places in fields.values():
            ours = [None if entries[i][j].ours.diverged else entries[i][j].mean for i, j in places]
            for i, j in _highest(ours, places, self.decimals):
                entries[i][j] = replace(entries[i][j], ours_best=True)
            reported = [entries[i][j].reported for i, j in places]
            for i, j in _highest(reported, places, self.reported_decimals):
                entries[i][j] = replace(entries[i][j], reported_best=True)
        return entries

    # What a renderer asks for, in one language.

    def title(self, lang: str) -> str:
        """The table's title."""
        return text(self.spec.title, lang)

    def head(self, lang: str) -> list[str]:
        """Titles of the row-label columns."""
        return [text(item, lang) for item in self.spec.head]

    def columns(self, lang: str) -> list[str]:
        """Titles of the data columns."""
        return [numbers.localised(text(column.label, lang), lang) for column in self.spec.columns]

    def row_labels(self, lang: str) -> list[list[str]]:
        """Per row one label for each head column; labels that are plain numbers take the language's decimal mark."""
        return [[numbers.localised(text(item, lang), lang) for item in row.label] for row in self.spec.rows]

    def groups(self) -> list:
        """Per row the group it competes in (None where the study names none)."""
        return [getattr(row, "group", None) for row in self.spec.rows]

    @property
    def expected_runs(self) -> int:
        """The most seeds any cell has; a cell with fewer says so."""
        return max((entry.ours.runs for row in self.entries for entry in row), default=0)

    def ours(self, entry: Entry, lang: str) -> str:
        """Our side of a cell: mean ± sd (difference), how many diverged, and n where it is lower than elsewhere."""
        out = numbers.mean_sd(entry.mean, entry.sd, self.decimals, lang)
        if entry.ours_difference is not None:
            out += f" ({numbers.signed(entry.ours_difference, self.decimals, lang)})"
        if 0 < entry.ours.runs < self.expected_runs:
            out += f" [n={entry.ours.n}]"
        if entry.ours.diverged:
            out += f" †{len(entry.ours.diverged)}/{entry.ours.runs}"
        return out

    def reported(self, entry: Entry, lang: str) -> str:
        """The report's side of a cell, as precise as the report was."""
        out = numbers.decimal(entry.reported, self.reported_decimals, lang)
        if entry.reported_difference is not None:
            out += f" ({numbers.signed(entry.reported_difference, self.reported_decimals, lang)})"
        return out

    def legend(self, lang: str) -> str:
        """What the numbers are: unit, spread, difference, bold."""
        parts = [say(_UNITS[self.unit], lang)]
        if any(entry.sd is not None for row in self.entries for entry in row):
            parts.append(say("mean ± standard deviation over seeds", lang))
        if rule := getattr(self.spec, "difference", None):
            parts.append(
                say(
                    "in brackets: change against “{column}”, in percentage points",
                    lang,
                    column=self.columns(lang)[difference_columns(rule)[1]],
                )
            )
        if any(entry.ours_best or entry.reported_best for row in self.entries for entry in row):
            parts.append(say("bold: best", lang))
        return "; ".join(parts) + "."

    def notes(self, lang: str) -> list[str]:
        """The lines below the table: the study's note, diverged runs by name, and where the numbers come from."""
        out = [note] if (note := text(getattr(self.spec, "note", None), lang)) else []
        if self.results.has_methods and not all("method" in (row.where or {}) for row in self.spec.rows):
            out.append(
                say(
                    "Students distilled by another method than the report's are not in this table, but in that "
                    "of methods.",
                    lang,
                )
            )
        columns, labels = self.columns(lang), self.row_labels(lang)
        runs = [
            say(
                "{where}: seed {seed}, epoch {epoch} ({reason})",
                lang,
                where=" / ".join([*labels[i], columns[j]]),
                seed=run.seed,
                epoch=numbers.DASH if run.epoch is None else run.epoch,
                reason=text(Message(run.reason), lang),
            )
            for i, row in enumerate(self.entries)
            for j, entry in enumerate(row)
            for run in entry.ours.diverged
        ]
        if runs:
            out.append(
                say("† k/n: k of n runs diverged; they enter no mean, and the cell does not compete for bold.", lang)
                + " "
                + "; ".join(runs)
                + "."
            )
        return out + self._sources(lang)

    # Renderings.

    def frame(self, lang: str) -> pd.DataFrame:
        """Display strings, `ours / reported` in each cell; the columns' name says which is which."""
        return render.frame(self, lang)

    def html(self, lang: str) -> str:
        """A fragment with its own small style; the report's number is grey, below ours."""
        return render.html(self, lang)

    def markdown(self, lang: str) -> str:
        """A GitHub table."""
        return render.markdown(self, lang)

    def latex(self, lang: str) -> str:
        """A booktabs table environment."""
        return latex.table(self, lang)

    def csv(self, lang: str) -> str:
        """One line a cell, machine readable; `;` and decimal comma in Turkish."""
        return render.csv(self, lang)


def difference_columns(rule) -> tuple[int, int]:
    """(column, from) of a difference rule; `from` is a Python keyword, so a schema may call it `from_`."""
    if isinstance(rule, dict):
        return rule["column"], rule["from"]
    return rule.column, getattr(rule, "from_", None) if hasattr(rule, "from_") else getattr(rule, "from")


def tables(results: Results) -> list[ReportTable | Sheet]:
    """Every table the study's report has, with our numbers, what it should have had, and one of all that was run.

    Where nothing is better than guessing, only the last, and what the models cost. Raises UserError for a cell that
    mixes settings.
    """
    everything = ReportTable(results, all_runs.spec(results))
    if only_guesses(results):
        return [*model_costs.sheets(results), everything]
    reported = [ReportTable(results, spec) for spec in getattr(results.study, "tables", None) or []]
    pruned = pruning_tables.sheets(results)
    compared = methods.sheets(results)
    found = [*verdicts.sheets(results), *clinical.sheets(results)]
    return [*found, *pruned, *reported, *compared, *model_costs.sheets(results), everything]


def _minus(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _highest(values, places, decimals: int):
    """Places of the highest printed value; all of them on a tie, none when fewer than two compete."""
    printed = [None if v is None else numbers.rounded(v, decimals) for v in values]
    competing = [v for v in printed if v is not None]
    if len(competing) < 2:
        return []
    return [place for place, v in zip(places, printed, strict=True) if v == max(competing)]
