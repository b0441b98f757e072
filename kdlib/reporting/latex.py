"""Tables for a paper: booktabs, escaped, with nothing beyond common packages."""

from __future__ import annotations

import re

from kdlib.reporting.i18n import say
from kdlib.reporting.render import spans, starts

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "[": "{[}",  # after a line's end a bare one would be read as that line's optional space
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "β": r"$\beta$",
    "τ": r"$\tau$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": r"$-$",
    "²": r"\textsuperscript{2}",
    "·": r"$\cdot$",
    **{"●": r"$\bullet$", "◐": r"$\odot$", "○": r"$\circ$"},
    "†": r"\textsuperscript{\textdagger}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
# In a T1 font \textquotedbl exists; plain OT1 lacks it, so the file asks for T1, which Turkish needs anyway.
PACKAGES = r"% needs \usepackage[T1]{fontenc}, \usepackage{booktabs}, \usepackage{xcolor}"
WIDE = 6  # more data columns than this are scaled to the line


def escape(value: str) -> str:
    """`value` as LaTeX text: special characters escaped, Greek and signs as maths, minus before a digit a minus."""
    out = "".join(_SPECIAL.get(mark, mark) for mark in value)
    return re.sub(r"(?<![\w}-])-(?=\d)", r"$-$", out)


def table(report, lang: str) -> str:
    """The whole `table` environment: caption, tabular, notes."""
    head, columns = report.head(lang), report.columns(lang)
    wide = len(columns) > WIDE
    which = [say("Top: ours", lang), say("below, grey: the report's", lang)] if report.has_reported else []
    caption = ". ".join([report.title(lang).rstrip("."), *(["; ".join(which)] if which else [])])
    lines = [
        PACKAGES + (r", \usepackage{graphicx}" if wide else ""),
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(caption)}.}}",
        rf"\label{{{_key(report)}}}",
        *([r"\resizebox{\linewidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{@{{}}{'l' * len(head)}{'c' * len(columns)}@{{}}}}",
        r"\toprule",
        " & ".join(escape(title) for title in [*head, *columns]) + r" \\",
        r"\midrule",
        *_body(report, lang),
        r"\bottomrule",
        r"\end{tabular}" + ("%" if wide else ""),
        *(["}"] if wide else []),
    ]
    if notes := [escape(line) for line in [report.legend(lang), *report.notes(lang)] if line]:
        below = r" \par ".join(notes)
        lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {below}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _body(report, lang: str) -> list[str]:
    merged, labels, new = spans(report, lang), report.row_labels(lang), starts(report)
    lines = []
    for i, row in enumerate(report.entries):
        if i:
            lines.append(r"\midrule" if new[i] else r"\addlinespace")
        first = [escape(label) if span else "" for label, span in zip(labels[i], merged[i], strict=True)]
        ours = [_bold(escape(report.ours(entry, lang)), entry.ours_best) for entry in row]
        lines.append(" & ".join([*first, *ours]) + r" \\")
        if report.has_reported:
            below = [_grey(_bold(escape(report.reported(e, lang)), e.reported_best)) for e in row]
            lines.append(" & ".join([*[""] * len(first), *below]) + r" \\")
    return lines


def _bold(value: str, best: bool) -> str:
    return rf"\textbf{{{value}}}" if best else value


def _grey(value: str) -> str:
    return rf"{{\footnotesize\textcolor{{gray}}{{{value}}}}}"


def _key(report) -> str:
    # No colon: Turkish babel makes it active.
    return re.sub(r"[^A-Za-z0-9-]+", "-", f"{getattr(report.results.study, 'name', 'study')}-{report.id}")
