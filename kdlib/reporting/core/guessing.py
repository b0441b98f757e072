"""Whether what the others are compared with has learnt anything: guesses are not compared with guesses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kdlib.reporting.core import numbers
from kdlib.reporting.core.evidence import correct, wilson
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.results import Results


class Guess(NamedTuple):
    """The best test accuracy of those the others are compared with, and that of always giving the commonest class."""

    accuracy: float
    chance: float
    images: int


def only_guesses(results: Results) -> Guess | None:
    """Return what is said of a study whose teachers, or originals, are not clearly above guessing; None if one is.

    Clearly: the lower end of Wilson's 95 % interval over test images lies above the commonest class's share of them.
    Where a study has neither teacher nor original all its runs are asked.
    """
    asked = [record for role in ("teacher", "original") for _, record in results.select(role=role)]
    found = []
    for record in {record.id: record for record in asked or results.used}.values():
        if record.diverged:
            continue
        try:
            right, labels = correct(record), record.labels()
        except (FileNotFoundError, AttributeError):
            return None  # its predictions are not there
        found.append(Guess(float(right.mean()), float(np.bincount(labels).max() / len(labels)), len(right)))
    if not found or any(wilson(guess.accuracy, guess.images)[0] > guess.chance for guess in found):
        return None
    return max(found)


def sentence(guess: Guess, lang: str) -> str:
    """Return what is said in the place of all comparisons."""
    share = {key: numbers.percent(getattr(guess, key), 2, lang) for key in ("accuracy", "chance")}
    return say(
        "Nothing is compared: what the others would be measured against gives {accuracy} on {images} "
        "test images, which is not clearly above the {chance} of always naming the commonest class. "
        "More epochs or more images are needed first.",
        lang,
        images=numbers.integer(guess.images, lang),
        **share,
    )
