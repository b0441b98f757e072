"""Tables as pandas frames, HTML, GitHub Markdown and CSV."""

from __future__ import annotations

import csv as csvlib
import io
from html import escape
from typing import TYPE_CHECKING

from kdlib.reporting import numbers
from kdlib.reporting.i18n import N_, say

if TYPE_CHECKING:
    import pandas as pd

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


_UNITS = {"percent": N_("percent"), "fraction": N_("fraction")}


def frame(table, lang: str) -> pd.DataFrame:
    """A DataFrame of display strings, one row a table row, row labels as the index."""
    import pandas as pd

    cells = [[_beside(table, entry, lang) for entry in row] for row in table.entries]
    which = say("ours", lang) + (f" / {say('reported', lang)}" if table.has_reported else "")
    columns = pd.Index(table.columns(lang), name=which)
    labels = table.row_labels(lang)
    if len(table.spec.head) == 1:
        index = pd.Index([row[0] for row in labels], name=table.head(lang)[0])
    else:
        index = pd.MultiIndex.from_tuples([tuple(row) for row in labels], names=table.head(lang))
    return pd.DataFrame(cells, index=index, columns=columns)


def _beside(table, entry, lang: str) -> str:
    ours = table.ours(entry, lang)
    return f"{ours} / {table.reported(entry, lang)}" if table.has_reported else ours


def starts(table) -> list[bool]:
    """Per row whether a new block begins there: a new group, or a new first label where there are several heads."""
    groups = table.groups()
    firsts = [row[0] for row in table.row_labels("en")]
    keys = list(zip(groups, firsts, strict=True)) if len(table.spec.head) > 1 else groups
    return [i > 0 and keys[i] != keys[i - 1] for i in range(len(keys))]


def spans(table, lang: str) -> list[list[int]]:
    """Per row and label column: how many rows the label stands for; 0 where one above covers it.

    Only equal neighbours merge, and a label never merges across one that differs to its left.
    """
    labels = table.row_labels(lang)
    width = len(table.spec.head)
    out = [[1] * width for _ in labels]
    for k in range(width - 1):  # the last label column tells the rows apart: it always shows
        start = 0
        for i in range(1, len(labels)):
            if labels[i][: k + 1] == labels[start][: k + 1]:
                out[start][k] += 1
                out[i][k] = 0
            else:
                start = i
    return out


def html(table, lang: str) -> str:
    """The table as a fragment that carries its own style."""
    head, columns = table.head(lang), table.columns(lang)
    which = say("Top: ours", lang)
    which += '<br><small class="reported">' + escape(say("below, grey: the report's", lang)) + "</small>"
    lines = [
        f'<div class="kdlib-table" lang="{lang}"><style>{STYLE}</style>',
        f"<table><caption>{escape(table.title(lang))}</caption>",
        "<thead>",
        f'<tr class="which"><th colspan="{len(head)}"></th><th colspan="{len(columns)}">{which}</th></tr>'
        if table.has_reported
        else "",
        "<tr>" + "".join(f'<th scope="col">{escape(title)}</th>' for title in [*head, *columns]) + "</tr>",
        "</thead>",
        "<tbody>",
    ]
    merged, labels, new = spans(table, lang), table.row_labels(lang), starts(table)
    for i, row in enumerate(table.entries):
        cells = [
            f'<th scope="row" rowspan="{span}">{escape(label)}</th>'
            for label, span in zip(labels[i], merged[i], strict=True)
            if span
        ]
        cells += [_html_cell(table, entry, lang) for entry in row]
        lines.append(('<tr class="first">' if new[i] else "<tr>") + "".join(cells) + "</tr>")
    notes = "".join(f"<p>{escape(line)}</p>" for line in [table.legend(lang), *table.notes(lang)] if line)
    lines += ["</tbody></table>", f'<div class="notes">{notes}</div></div>']
    return "\n".join(lines) + "\n"


def _html_cell(table, entry, lang: str) -> str:
    # <br> and <small> carry the shape where a notebook viewer strips the style.
    ours = escape(table.ours(entry, lang))
    ours = f'<span class="ours">{f"<b>{ours}</b>" if entry.ours_best else ours}</span>'
    if not table.has_reported:
        return f"<td>{ours}</td>"
    reported = escape(table.reported(entry, lang))
    reported = f"<b>{reported}</b>" if entry.reported_best else reported
    return f'<td>{ours}<br><small class="reported">{reported}</small></td>'


def page(table, lang: str) -> str:
    """The fragment as a document of its own."""
    return (
        f'<!doctype html>\n<html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(table.title(lang))}</title></head>\n"
        f'<body style="font-family:system-ui,sans-serif;margin:2em">\n{table.html(lang)}</body></html>\n'
    )


def markdown(table, lang: str) -> str:
    """The table for GitHub: the report's number small, on a second line of the cell."""
    head, columns = table.head(lang), table.columns(lang)
    which = say("Top: ours", lang) if table.has_reported else ""
    if table.has_reported:
        which += "; " + say("below, small: the report's", lang)
    lines = [f"**{_md(table.title(lang))}**", ""]
    if which:
        lines += [f"*{_md(which)}*", ""]
    lines.append("| " + " | ".join(_md(title) for title in [*head, *columns]) + " |")
    lines.append("|" + " :-- |" * len(head) + " :-: |" * len(columns))
    merged, labels = spans(table, lang), table.row_labels(lang)
    for i, row in enumerate(table.entries):
        cells = [_md(label) if span else "" for label, span in zip(labels[i], merged[i], strict=True)]
        cells += [_md_cell(table, entry, lang) for entry in row]
        lines.append("| " + " | ".join(cells) + " |")
    for line in filter(None, [table.legend(lang), *table.notes(lang)]):
        lines += ["", f"<sub>{_md(line)}</sub>"]
    return "\n".join(lines) + "\n"


def _md_cell(table, entry, lang: str) -> str:
    ours = _md(table.ours(entry, lang))
    ours = f"**{ours}**" if entry.ours_best else ours
    if not table.has_reported:
        return ours
    reported = _md(table.reported(entry, lang))
    return f"{ours}<br><sub>{f'**{reported}**' if entry.reported_best else reported}</sub>"


def _md(value: str) -> str:
    for mark in "\\|*_`<>[":
        value = value.replace(mark, "\\" + mark)
    return value


def csv(table, lang: str) -> str:
    """Long form, one line a cell; numbers in the table's unit. Turkish Excel expects `;` and a decimal comma."""
    out = io.StringIO()
    writer = csvlib.writer(out, delimiter=";" if lang == "tr" else ",", lineterminator="\n")
    head = [title or say("row", lang) + str(k + 1) for k, title in enumerate(table.head(lang))]
    keys = (N_("column"), N_("ours_mean"), N_("ours_sd"), N_("n"), N_("diverged"), N_("reported"), N_("unit"))
    writer.writerow([*head, *(say(key, lang) for key in keys)])
    for labels, row in zip(table.row_labels(lang), table.entries, strict=True):
        for column, entry in zip(table.columns(lang), row, strict=True):
            writer.writerow(
                [
                    *(*labels, column),
                    *(_plain(entry.mean, lang), _plain(entry.sd, lang)),
                    *(entry.ours.n, len(entry.ours.diverged)),
                    *(_plain(entry.reported, lang), say(_UNITS[table.unit], lang)),
                ]
            )
    return out.getvalue()


def _plain(value: float | None, lang: str) -> str:
    """A number for a machine: no grouping, up to six decimals, empty when there is none."""
    return "" if value is None else numbers.short(value, lang, most=6)
