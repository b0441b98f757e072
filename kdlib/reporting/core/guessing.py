"""Whether what the others are compared with has learnt anything: guesses are not compared with guesses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kdlib.reporting.core import numbers
from kdlib.reporting.core.evidence import wilson
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
            right, labels = record.correct(), record.labels()
        except FileNotFoundError:
            return None  # its predictions are not there
        found.append(Guess(float(right.mean()), float(np.bincount(labels).max() / len(labels)), len(right)))
    if not found or any(wilson(guess.accuracy, guess.images)[0] > guess.chance for guess in found):
        return None
    return max(found)


def sentence(guess: Guess, lang: str) -> str:
    """Return what is said in the place of all comparisons."""
    return say(
        "Nothing is compared: what the others would be measured against gives {accuracy} on {images} "
        "test images, which is not clearly above the {chance} of always naming the commonest class. "
        "More epochs or more images are needed first.",
        lang,
        accuracy=numbers.percent(guess.accuracy, 2, lang),
        chance=numbers.percent(guess.chance, 2, lang),
        images=numbers.integer(guess.images, lang),
    )
