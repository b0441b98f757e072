"""One table: finished cells with what the report gave beside them, as HTML, GitHub Markdown, LaTeX, CSV and a frame."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from kdlib.reporting.core import latex, numbers
from kdlib.reporting.core.i18n import N_, say, text

if TYPE_CHECKING:
    import pandas as pd

    from kdlib.reporting.core.evidence import Difference
    from kdlib.reporting.core.results import Cell as Gathered
    from kdlib.reporting.core.results import Estimate

Text = str | dict[str, str]
Kind = Literal["count", "decimal", "percent", "signed"]

STYLE = """
.kdlib-table{margin:1em 0;font-size:14px;line-height:1.35;overflow-x:auto}
.kdlib-table table{border-collapse:collapse;border:0;border-top:2px solid;border-bottom:2px solid;margin:0}
.kdlib-table caption{caption-side:top;text-align:left;font-weight:600;padding:0 0 .5em}
.kdlib-table th,.kdlib-table td{padding:.35em .8em;border:0;text-align:center;vertical-align:middle;
font-variant-numeric:tabular-nums;background:none}
.kdlib-table thead th{border-bottom:1px solid;font-weight:600}
.kdlib-table thead tr.which th{border-bottom:0;font-weight:400;font-size:.86em;padding-bottom:0}
.kdlib-table tbody th{text-align:left;font-weight:400}
.kdlib-table .ours{white-space:nowrap}
.kdlib-table tr.first td,.kdlib-table tr.first th{border-top:1px solid #8886}
.kdlib-table tbody tr:first-child td,.kdlib-table tbody tr:first-child th{border-top:0}
.kdlib-table tbody tr{background:none!important}
.kdlib-table .reported{font-size:.84em;opacity:.64;white-space:nowrap}
.kdlib-table .notes{font-size:.86em;opacity:.75;max-width:56em;margin:.5em 0 0}
.kdlib-table .notes p{margin:.2em 0}
""".strip()

_COLUMNS = (
    *(N_("column"), N_("value"), N_("sd"), N_("interval_low"), N_("interval_high")),
    *(N_("n"), N_("diverged"), N_("reported"), N_("unit")),
)


@dataclass(frozen=True)
class Cell:
    """One cell: a number with its spread, or a text; beside it what the report gave.

    ``kind`` says how numbers are written: ``count`` 11,342,794 (whole, grouped); ``decimal`` 0.82 with ``digits``
    decimals; ``percent`` a fraction 0..1 as 98.6% with ``digits`` decimals; ``signed`` +0.3. ``interval`` (low, high)
    and ``sd`` are in the number's unit. ``reported`` is a number of the same kind; ``difference`` and
    ``reported_difference`` stand signed in brackets behind their number. ``mark`` (a footnote sign) follows our number,
    which is the mean of ``n`` runs beside ``diverged`` ones. None and NaN are an en dash.
    """

    number: float | None = None
    digits: int = 2
    kind: Kind = "decimal"
    interval: tuple[float, float] | None = None
    sd: float | None = None
    reported: float | None = None
    best: bool = False
    reported_best: bool = False
    text: Text | None = None
    mark: str = ""
    reported_digits: int | None = None
    difference: float | None = None
    reported_difference: float | None = None
    n: int | None = None
    diverged: int | None = None

    def __post_init__(self):
        if self.kind not in ("count", "decimal", "percent", "signed"):
            raise ValueError(f"kind must be count, decimal, percent or signed, got {self.kind!r}")
        if self.text is not None and self.number is not None:
            raise ValueError("a cell has a number or a text, not both")

    def ours(self, lang: str) -> str:
        """Our side: `0.901 ± 0.004 (+0.012) [0.880; 0.921]†`, as far as there is each."""
        if self.text is not None:
            return text(self.text, lang) + self.mark
        out = written(self.number, self.kind, self.digits, lang)
        if out == numbers.DASH:
            return out + self.mark
        if _there(self.sd):
            # The spread of a difference has no sign of its own.
            out += " ± " + written(self.sd, "decimal" if self.kind == "signed" else self.kind, self.digits, lang)
        if self.difference is not None:
            out += f" ({numbers.signed(self.difference, self.digits, lang)})"
        if self.interval is not None and all(map(_there, self.interval)):
            # A semicolon: a comma would be misread beside a decimal comma.
            ends = "; ".join(written(end, self.kind, self.digits, lang) for end in self.interval)
            out += f" [{ends}]"
        return out + self.mark

    def theirs(self, lang: str) -> str:
        """The report's side, as precise as the report was; an en dash where it gives none."""
        if self.reported is None:
            return numbers.DASH
        digits = self.digits if self.reported_digits is None else self.reported_digits
        out = written(self.reported, self.kind, digits, lang)
        if self.reported_difference is not None:
            out += f" ({numbers.signed(self.reported_difference, digits, lang)})"
        return out


@dataclass(frozen=True)
class Row:
    """One row: a label for each head column, a cell for each column (a plain text is a cell too), and its block."""

    labels: list[Text]
    cells: list[Cell | Text]
    group: str | None = None


class Table:
    """A table that renders itself in either language.

    ``head`` titles the label columns, ``columns`` the data columns; texts are strings or ``{en, tr}``. ``study`` names
    the study in the LaTeX label, ``unit`` the numbers' unit in CSV. Raises ValueError for a row that does not fit.
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
        unit: Text = "",
    ):
        self.id, self.study, self.unit = id, study, unit
        self._title, self._head, self._columns, self._rows = title, head, columns, rows
        self._legend, self._notes = legend, notes
        for row in rows:
            if len(row.labels) != len(head) or len(row.cells) != len(columns):
                raise ValueError(
                    f"table {id}: row {row.labels} has {len(row.labels)} labels and {len(row.cells)} cells for "
                    f"{len(head)} head and {len(columns)} data columns"
                )
        self.cells = [[c if isinstance(c, Cell) else Cell(text=c) for c in row.cells] for row in rows]
        self.has_reported = any(cell.reported is not None for row in self.cells for cell in row)

    def title(self, lang: str) -> str:
        """The table's title."""
        return text(self._title, lang)

    def head(self, lang: str) -> list[str]:
        """Titles of the row-label columns."""
        return [text(item, lang) for item in self._head]

    def columns(self, lang: str) -> list[str]:
        """Titles of the data columns; one that is a plain number takes the language's decimal mark."""
        return [numbers.localised(text(item, lang), lang) for item in self._columns]

    def row_labels(self, lang: str) -> list[list[str]]:
        """Per row one label for each head column; plain numbers take the language's decimal mark."""
        return [[numbers.localised(text(item, lang), lang) for item in row.labels] for row in self._rows]

    def legend(self, lang: str) -> str:
        """What the numbers are; bold is explained where there is any."""
        parts = [said.rstrip(".")] if (said := text(self._legend, lang)) else []
        if any(cell.best for row in self.cells for cell in row):
            parts.append(say("bold: ahead of the next by more than its 95% interval", lang))
        if any(cell.reported_best for row in self.cells for cell in row):
            parts.append(say("bold in the report's: its highest", lang))
        return "; ".join(parts) + "." if parts else ""

    def notes(self, lang: str) -> list[str]:
        """The lines below the table."""
        return [line for note in self._notes if (line := text(note, lang))]

    def below(self, lang: str) -> list[str]:
        """Legend and notes, as far as there are any."""
        return [line for line in (self.legend(lang), *self.notes(lang)) if line]

    def starts(self) -> list[bool]:
        """Per row whether a new block begins: a new group, or a new first label where there are several heads."""
        firsts = [row[0] if len(self._head) > 1 else "" for row in self.row_labels("en")]
        keys = [(row.group, first) for row, first in zip(self._rows, firsts, strict=True)]
        return [i > 0 and keys[i] != keys[i - 1] for i in range(len(keys))]

    def spans(self, lang: str) -> list[list[int]]:
        """Per row and label column: how many rows the label stands for; 0 where one above covers it.

        Only equal neighbours merge, and a label never merges across one that differs to its left.
        """
        labels = self.row_labels(lang)
        out = [[1] * len(self._head) for _ in labels]
        for k in range(len(self._head) - 1):  # the last label column tells the rows apart: it always shows
            start = 0
            for i in range(1, len(labels)):
                if labels[i][: k + 1] == labels[start][: k + 1]:
                    out[start][k] += 1
                    out[i][k] = 0
                else:
                    start = i
        return out

    def frame(self, lang: str) -> pd.DataFrame:
        """Display strings, row labels as the index; ``ours / reported`` in each cell where anything was reported, and
        the columns' name says which is which."""
        import pandas as pd

        cells = [
            [cell.ours(lang) + (f" / {cell.theirs(lang)}" if self.has_reported else "") for cell in row]
            for row in self.cells
        ]
        which = say("ours", lang) + (f" / {say('reported', lang)}" if self.has_reported else "")
        labels, head = self.row_labels(lang), self.head(lang)
        index = pd.MultiIndex.from_tuples([tuple(row) for row in labels], names=head)
        if len(head) == 1:
            index = pd.Index([row[0] for row in labels], name=head[0])
        return pd.DataFrame(cells, index=index, columns=pd.Index(self.columns(lang), name=which))

    def html(self, lang: str) -> str:
        """A fragment that carries its own style; the report's number is grey, below ours."""
        head, columns = self.head(lang), self.columns(lang)
        which = escape(say("Top: ours", lang))
        which += '<br><small class="reported">' + escape(say("below, grey: the report's", lang)) + "</small>"
        lines = [
            f'<div class="kdlib-table" lang="{lang}"><style>{STYLE}</style>',
            f"<table><caption>{escape(self.title(lang))}</caption>",
            "<thead>",
            f'<tr class="which"><th colspan="{len(head)}"></th><th colspan="{len(columns)}">{which}</th></tr>'
            if self.has_reported
            else "",
            "<tr>" + "".join(f'<th scope="col">{escape(title)}</th>' for title in [*head, *columns]) + "</tr>",
            "</thead>",
            "<tbody>",
        ]
        for labels, spans, new, row in self.lines(lang):
            cells = [
                f'<th scope="row" rowspan="{span}">{escape(label)}</th>'
                for label, span in zip(labels, spans, strict=True)
                if span
            ]
            cells += [self._html_cell(cell, lang) for cell in row]
            lines.append(('<tr class="first">' if new else "<tr>") + "".join(cells) + "</tr>")
        notes = "".join(f"<p>{escape(line)}</p>" for line in self.below(lang))
        lines += ["</tbody></table>", f'<div class="notes">{notes}</div></div>']
        return "\n".join(lines) + "\n"

    def _html_cell(self, cell: Cell, lang: str) -> str:
        # <br> and <small> carry the shape where a notebook viewer strips the style.
        ours, theirs = _sides(cell, lang, escape, "<b>{}</b>")
        below = f'<br><small class="reported">{theirs}</small>' if self.has_reported else ""
        return f'<td><span class="ours">{ours}</span>{below}</td>'

    def lines(self, lang: str):
        """Of each row its labels, their spans, whether a block begins there, and its cells."""
        return zip(self.row_labels(lang), self.spans(lang), self.starts(), self.cells, strict=True)

    def markdown(self, lang: str) -> str:
        """The table for GitHub: the report's number small, on a second line of the cell."""
        head, columns = self.head(lang), self.columns(lang)
        lines = [f"**{_md(self.title(lang))}**", ""]
        if self.has_reported:
            which = say("Top: ours", lang) + "; " + say("below, small: the report's", lang)
            lines += [f"*{_md(which)}*", ""]
        lines.append("| " + " | ".join(_md(title) for title in [*head, *columns]) + " |")
        lines.append("|" + " :-- |" * len(head) + " :-: |" * len(columns))
        for labels, spans, _, row in self.lines(lang):
            cells = [_md(label) if span else "" for label, span in zip(labels, spans, strict=True)]
            cells += [self._md_cell(cell, lang) for cell in row]
            lines.append("| " + " | ".join(cells) + " |")
        for line in self.below(lang):
            lines += ["", f"<sub>{_md(line)}</sub>"]
        return "\n".join(lines) + "\n"

    def _md_cell(self, cell: Cell, lang: str) -> str:
        ours, theirs = _sides(cell, lang, _md, "**{}**")
        return f"{ours}<br><sub>{theirs}</sub>" if self.has_reported else ours

    def latex(self, lang: str) -> str:
        """A booktabs ``table`` environment; the report's numbers grey, in a line below ours."""
        head, columns, escaped = self.head(lang), self.columns(lang), latex.escape
        which = [say("Top: ours", lang), say("below, grey: the report's", lang)] if self.has_reported else []
        caption = ". ".join([self.title(lang).rstrip("."), *(["; ".join(which)] if which else [])])
        lines = [
            latex.PACKAGES,
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escaped(caption)}.}}",
            rf"\label{{{latex.key(f'{self.study}-{self.id}')}}}",
            latex.FITTED,
            rf"\begin{{tabular}}{{@{{}}{'l' * len(head)}{'c' * len(columns)}@{{}}}}",
            r"\toprule",
            " & ".join(escaped(title) for title in [*head, *columns]) + r" \\",
            r"\midrule",
        ]
        for i, (labels, spans, new, row) in enumerate(self.lines(lang)):
            if i:
                lines.append(r"\midrule" if new else r"\addlinespace")
            first = [escaped(label) if span else "" for label, span in zip(labels, spans, strict=True)]
            sides = [_sides(cell, lang, escaped, r"\textbf{{{}}}") for cell in row]
            lines.append(" & ".join([*first, *(ours for ours, _ in sides)]) + r" \\")
            if self.has_reported:
                below = [latex.grey(theirs) for _, theirs in sides]
                lines.append(" & ".join([*[""] * len(first), *below]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}%", "}"]
        if notes := r" \par ".join(escaped(line) for line in self.below(lang)):
            lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes}}}"]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def csv(self, lang: str) -> str:
        """Long form, one line a cell, for a machine; a percentage is a fraction. Turkish Excel expects `;` and a
        decimal comma."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter=";" if lang == "tr" else ",", lineterminator="\n")
        head = [title or say("row", lang) + str(k + 1) for k, title in enumerate(self.head(lang))]
        writer.writerow([*head, *(say(title, lang) for title in _COLUMNS)])
        for labels, row in zip(self.row_labels(lang), self.cells, strict=True):
            for column, cell in zip(self.columns(lang), row, strict=True):
                value = cell.number if cell.text is None else cell.text
                parts = [value, cell.sd, *(cell.interval or (None, None)), cell.n, cell.diverged, cell.reported]
                unit = N_("fraction") if cell.kind == "percent" and cell.text is None else self.unit
                writer.writerow([*labels, column, *(_plain(part, lang) for part in parts), text(unit, lang)])
        return out.getvalue()


def estimate_cell(found: Estimate, scale: float, digits: int, **more: Any) -> Cell:
    """A mean with its standard deviation over seeds, both times ``scale``."""
    number, sd = (None if value is None else scale * value for value in (found.mean, found.sd))
    return Cell(number, digits, sd=sd, **more)


def accuracy_cell(found: Gathered) -> Cell:
    """An accuracy in per cent, with how many of its runs diverged."""
    return estimate_cell(found, 100, 2, mark=f" †{len(found.diverged)}" if found.diverged else "")


def difference_cell(found: Difference | None, scale: float = 100, digits: int = 2) -> Cell:
    """A difference with its interval, in points unless scaled otherwise; an empty cell for None."""
    if found is None:
        return Cell()
    interval = found.interval and tuple(scale * end for end in found.interval)
    # An end that rounds to nothing would hide on which side of it the interval lies.
    while digits < 4 and any(end and numbers.rounded(end, digits) == 0 for end in interval or ()):
        digits += 1
    return Cell(scale * found.mean, digits, "signed", interval=interval)


def written(value: float | None, kind: Kind, digits: int, lang: str) -> str:
    """A number as a reader sees it; an en dash for None, NaN and infinities."""
    if not _there(value):
        return numbers.DASH
    if kind == "count":
        return numbers.integer(value, lang)
    ways = {"decimal": numbers.decimal, "percent": numbers.percent, "signed": numbers.signed}
    return ways[kind](value, digits, lang)


def _there(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _sides(cell: Cell, lang: str, escaped: Callable[[str], str], bold: str) -> list[str]:
    """Our side of a cell and the report's, each in bold where it is the best."""
    sides = ((cell.ours(lang), cell.best), (cell.theirs(lang), cell.reported_best))
    return [bold.format(escaped(said)) if best else escaped(said) for said, best in sides]


def _md(value: str) -> str:
    for mark in "\\|*_`<>[":
        value = value.replace(mark, "\\" + mark)
    return value


def _plain(value: Any, lang: str) -> str:
    """For a machine: no grouping, up to nine decimals, empty when there is none; texts as they are."""
    if isinstance(value, (str, dict)):
        return text(value, lang)
    return numbers.short(value, lang, most=9) if _there(value) else ""
