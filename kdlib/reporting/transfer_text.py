"""What reporting writes about transfer learning, in English and Turkish.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

import re

from kdlib.reporting.i18n import N_, say, text

BOOK = {
    "head": N_("classifier only"),
    "all": N_("all layers"),
    "scratch": N_("from scratch"),
    "source": N_("source task"),
    "transfer": N_("transfer"),
    "weights": N_("Transfer starts from weights that were not trained here: {weights}."),
    "better": N_(", {points} percentage points above the same network trained from scratch ({scratch})"),
    "worse": N_(", {points} percentage points below the same network trained from scratch ({scratch})"),
    "tie": N_(", the same as the same network trained from scratch"),
    "up": N_("The interval lies above zero: beyond the noise between seeds, {first} is ahead here."),
    "down": N_("The interval lies below zero: beyond the noise between seeds, {second} is ahead here."),
    "open": N_("The interval holds zero: these seeds do not tell an effect from noise."),
    "steps": N_(
        "Test accuracy as more parameters are trained{recipe}: {steps}. It rises at {up} of {count} "
        "steps; from the first to the last it changes by {difference} points."
    ),
    "whole": N_("; with the training of the source task and of the teacher counted, {ratio} times"),
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
