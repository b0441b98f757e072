"""What choices of open layers are called."""

from __future__ import annotations

import re

from kdlib.reporting.i18n import N_, say, text

BOOK = {
    "head": N_("classifier only"),
    "all": N_("all layers"),
    "scratch": N_("from scratch"),
    "source": N_("source task"),
    "transfer": N_("transfer"),
}

REPORTED = "2-3-4"  # the layers that the Turkish report leaves open in its transfer row
SCRATCH = "scratch"


def layers(variant: str | None, lang: str, study=None) -> str:
    """Which layers a variant leaves open, in words: the study's own where it has some; an unknown one as it is."""
    named = getattr(getattr(study, "transfer", None), "variants", None) or {}
    if variant in named:
        return text(named[variant].label, lang)
    if variant in ("head", "all", "scratch"):
        return say(BOOK[variant], lang)
    if variant and re.fullmatch(r"\d+(-\d+)*", variant):
        numbers = variant.split("-")
        return say(N_("layers {layers}") if len(numbers) > 1 else N_("layer {layers}"), lang, layers=", ".join(numbers))
    return variant or ""
