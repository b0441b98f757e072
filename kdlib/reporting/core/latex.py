"""What tables for a paper are made of: booktabs, escaped, with nothing beyond common packages."""

from __future__ import annotations

import re

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
    **{mark: rf"\textsuperscript{{{digit}}}" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "·": r"$\cdot$",
    **{"●": r"$\bullet$", "◐": r"$\odot$", "○": r"$\circ$"},
    "†": r"\textsuperscript{\textdagger}",
    "‡": r"\textsuperscript{\textdaggerdbl}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
# In a T1 font \textquotedbl exists; plain OT1 lacks it, so the file asks for T1, which Turkish needs anyway.
PACKAGES = r"% needs \usepackage[T1]{fontenc}, \usepackage{booktabs}, \usepackage{xcolor}, \usepackage{graphicx}"
# What is wider than the line is scaled to it.
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def escape(value: str) -> str:
    """`value` as LaTeX text: special characters escaped, Greek and signs as maths, minus before a digit a minus."""
    value = re.sub(r"(?<![\w-])-(?=\d)", "−", value)
    return "".join(_SPECIAL.get(mark, mark) for mark in value)


def grey(value: str) -> str:
    """Text small and grey."""
    return rf"{{\footnotesize\textcolor{{gray}}{{{value}}}}}"


def key(name: str) -> str:
    """What may stand in a label; no colon: Turkish babel makes it active."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)
