"""A table whose cells are worked out already: what a report table is, without runs and seeds behind each cell.

The other tables gather runs (see `tables`); costs, confusion matrices and counts come from elsewhere, each cell with
its own digits and unit. A `Sheet` answers everything that the renderers ask of a table.
"""

from __future__ import annotations

import csv as csvlib
import io
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from kdlib.reporting import latex, numbers, render
from kdlib.reporting.i18n import N_, say, text

if TYPE_CHECKING:
    import pandas as pd

    from kdlib.reporting.evidence import Difference

Text = str | dict[str, str]
Kind = Literal["count", "decimal", "percent", "signed"]

_COLUMNS = (N_("value"), N_("sd"), N_("interval_low"), N_("interval_high"))


@dataclass(frozen=True)
class Cell:
    """One cell: a number with its spread, or a text; beside it what the report gave.

    ``kind`` says how numbers are written: ``count`` 11,342,794 (whole, grouped); ``decimal`` 0.82 with ``digits``
    decimals; ``percent`` a fraction 0..1 as 98.6% with ``digits`` decimals; ``signed`` +0.3. ``interval`` (low, high)
    and ``sd`` are in the number's unit. ``reported`` is a number of the same kind, or a text. ``unit`` and ``mark`` (a
    footnote sign) follow our number. None and NaN are an en dash.
    """

    number: float | None = None
    digits: int = 2
    kind: Kind = "decimal"
    interval: tuple[float, float] | None = None
    sd: float | None = None
    reported: float | Text | None = None
    best: bool = False
    reported_best: bool = False
    text: Text | None = None
    unit: Text = ""
    mark: str = ""
    reported_digits: int | None = None

    def __post_init__(self):
        if self.kind not in ("count", "decimal", "percent", "signed"):
            raise ValueError(f"kind must be count, decimal, percent or signed, got {self.kind!r}")
        if self.text is not None and self.number is not None:
            raise ValueError("a cell has a number or a text, not both")

    @property
    def ours_best(self) -> bool:
        """Whether our side is bold."""
        return self.best


@dataclass(frozen=True)
class Row:
    """One row: a label for each head column, a cell for each column (a plain text is a cell too), and its block."""

    labels: list[Text]
    cells: list[Cell | Text]
    group: str | None = None


class Sheet:
    """A table of finished cells; renders itself in either language as `tables.ReportTable` does.

    ``head`` titles the label columns, ``columns`` the data columns; texts are strings or ``{en, tr}``. ``study`` names
    the study in the LaTeX label. Raises ValueError for a row that does not fit.
    """

    def __init__(
        self,
        id: str,
        title: Text,
        head: list[Text],
        columns: list[Text],
        rows: list[Row],
        legend: Text = "",
        notes: list[Text] | tuple[Text, ...] = (),
        study: str = "study",
    ):
        self.id, self._title, self._legend, self._notes = id, title, legend, list(notes)
        self.spec = SimpleNamespace(head=list(head), columns=list(columns), rows=list(rows))
        # What the LaTeX label asks of a table's results.
        self.results = SimpleNamespace(study=SimpleNamespace(name=study))
        for row in rows:
            if len(row.labels) != len(head) or len(row.cells) != len(columns):
                raise ValueError(
                    f"sheet {id}: row {row.labels} has {len(row.labels)} labels and {len(row.cells)} cells for "
                    f"{len(head)} head and {len(columns)} data columns"
                )
        self.entries: list[list[Cell]] = [[_cell(cell) for cell in row.cells] for row in rows]
        self.has_reported = any(cell.reported is not None for row in self.entries for cell in row)

    # What a renderer asks for, in one language.

    def title(self, lang: str) -> str:
        """The table's title."""
        return text(self._title, lang)

    def head(self, lang: str) -> list[str]:
        """Titles of the row-label columns."""
        return [text(item, lang) for item in self.spec.head]

    def columns(self, lang: str) -> list[str]:
        """Titles of the data columns."""
        return [numbers.localised(text(item, lang), lang) for item in self.spec.columns]

    def row_labels(self, lang: str) -> list[list[str]]:
        """Per row one label for each head column."""
        return [[numbers.localised(text(item, lang), lang) for item in row.labels] for row in self.spec.rows]

    def groups(self) -> list[str | None]:
        """Per row the block it belongs to."""
        return [row.group for row in self.spec.rows]

    def ours(self, entry: Cell, lang: str) -> str:
        """Our side of a cell: `0.901 ± 0.004 [0.880; 0.921] ms†`, as far as there is each."""
        if entry.text is not None:
            return text(entry.text, lang) + entry.mark
        out = written(entry.number, entry.kind, entry.digits, lang)
        if out == numbers.DASH:
            return out + entry.mark
        if _there(entry.sd):
            # The spread of a difference has no sign of its own.
            out += " ± " + written(entry.sd, "decimal" if entry.kind == "signed" else entry.kind, entry.digits, lang)
        if entry.interval is not None and all(map(_there, entry.interval)):
            # A semicolon: a comma would be misread beside a decimal comma.
            ends = "; ".join(written(end, entry.kind, entry.digits, lang) for end in entry.interval)
            out += f" [{ends}]"
        if unit := text(entry.unit, lang):
            out += f"\u00a0{unit}"
        return out + entry.mark

    def reported(self, entry: Cell, lang: str) -> str:
        """The report's side of a cell; an en dash where it gives none."""
        if entry.reported is None or isinstance(entry.reported, (str, dict)):
            return text(entry.reported, lang) or numbers.DASH
        digits = entry.digits if entry.reported_digits is None else entry.reported_digits
        return written(entry.reported, entry.kind, digits, lang)

    def legend(self, lang: str) -> str:
        """What the numbers are; bold is explained where there is any."""
        parts = [said.rstrip(".")] if (said := text(self._legend, lang)) else []
        if any(cell.best or cell.reported_best for row in self.entries for cell in row):
            parts.append(say("bold: best", lang))
        return "; ".join(parts) + "." if parts else ""

    def notes(self, lang: str) -> list[str]:
        """The lines below the table."""
        return [line for note in self._notes if (line := text(note, lang))]

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
        """One line a cell, machine readable: value, sd, ends of the interval, reported, unit.

        A percentage stands as its fraction, a text in the column of the value. `;` and decimal comma in Turkish.
        """
        out = io.StringIO()
        writer = csvlib.writer(out, delimiter=";" if lang == "tr" else ",", lineterminator="\n")
        head = [title or say("row", lang) + str(k + 1) for k, title in enumerate(self.head(lang))]
        titles = [say(title, lang) for title in _COLUMNS]
        writer.writerow([*head, say("column", lang), *titles, say("reported", lang), say("unit", lang)])
        for labels, row in zip(self.row_labels(lang), self.entries, strict=True):
            for column, entry in zip(self.columns(lang), row, strict=True):
                value = entry.number if entry.text is None else entry.text
                parts = [value, entry.sd, *(entry.interval or (None, None)), entry.reported]
                unit = say("fraction", lang) if entry.kind == "percent" and entry.text is None else entry.unit
                writer.writerow([*labels, column, *(_plain(part, lang) for part in parts), text(unit, lang)])
        return out.getvalue()


def difference_cell(found: Difference | None, scale: float = 100, digits: int = 2) -> Cell:
    """A difference with its interval, in points unless scaled otherwise; an empty cell for None."""
    if found is None:
        return Cell()
    interval = found.interval and tuple(scale * end for end in found.interval)
    return Cell(scale * found.mean, digits, "signed", interval=interval)


def written(value: float | None, kind: Kind, digits: int, lang: str) -> str:
    """A number as a reader sees it; an en dash for None, NaN and infinities."""
    if not _there(value):
        return numbers.DASH
    if kind == "count":
        return numbers.integer(value, lang)
    if kind == "percent":
        return numbers.percent(value, digits, lang)
    if kind == "signed":
        return numbers.signed(value, digits, lang)
    return numbers.decimal(value, digits, lang)


def _cell(value: Cell | Text) -> Cell:
    return value if isinstance(value, Cell) else Cell(text=value)


def _there(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _plain(value: Any, lang: str) -> str:
    """For a machine: no grouping, up to nine decimals, empty when there is none; texts as they are."""
    if isinstance(value, (str, dict)):
        return text(value, lang)
    return numbers.short(value, lang, most=9) if _there(value) else ""
