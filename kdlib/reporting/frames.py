"""A DataFrame as a language writes it: its words translated, its numbers with the language's marks."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import N_, Message, text

WORDS = (
    *(N_("run"), N_("model"), N_("loss"), N_("open"), N_("all layers"), N_("pruning"), N_("recipe"), N_("seed")),
    *(N_("on record"), N_("yes"), N_("no"), N_("none: tested as it is")),
    *(N_("parameters"), N_("MACs"), N_("network"), N_("size change (%)"), N_("original"), N_("pruned"), N_("check")),
    *(N_("ratio"), N_("SE protected"), N_("train"), N_("val"), N_("test"), N_("teacher"), N_("small")),
    *(N_("seconds"), N_("difference")),
    *(N_("open layers"), N_("starts from"), N_("source weights"), N_("random weights"), N_("trained"), N_("frozen")),
    *(N_("MACs forward"), N_("MACs open"), N_("layer"), N_("without T²"), N_("with T²"), N_("equal")),
    *(N_("threshold"), N_("sensitivity"), N_("specificity"), N_("mean confidence"), N_("accuracy")),
)
"""What is translated where it stands in a frame; other strings, such as the names of classes, are left as they are."""


def localise(frame, lang: str, digits: int = 3):
    """Return a DataFrame of strings: labels and cells of ``frame`` as ``lang`` writes them.

    Floats get ``digits`` decimals, integers grouped thousands; numbers among the labels as few decimals as they need.
    """

    def label(value: Any) -> Any:
        return numbers.short(value, lang) if isinstance(value, Real) else _word(value, lang)

    def cell(value: Any) -> str:
        if isinstance(value, Integral):
            return numbers.integer(int(value), lang)
        if isinstance(value, Real):
            return numbers.decimal(None if value != value else float(value), digits, lang)
        return numbers.DASH if value is None else _word(value, lang)

    shown = frame.map(cell).rename(index=label, columns=label)
    return shown.rename_axis(index=label(frame.index.name))


def _word(value: Any, lang: str) -> Any:
    if value in WORDS:
        return text(Message(value), lang)
    return numbers.localised(value, lang) if isinstance(value, str) else value
