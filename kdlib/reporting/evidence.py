"""What a difference between two settings is worth: over seeds, or with one seed over the test images alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdlib.reporting import numbers
from kdlib.reporting.results import Cell, estimate, t_quantile
from kdlib.reporting.text import finding

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """One setting minus another, as fractions: the mean and its 95 % t-interval over `n` seeds (None below two)."""

    mean: float
    interval: tuple[float, float] | None
    n: int


def difference(first: Cell, second: Cell) -> Difference:
    """`first` minus `second`, two cells that both have a mean.

    Seeds they share are paired (the same split, initialisation and batches), and only those enter then; without two
    shared seeds but with two each, it is Welch's interval with its degrees of freedom rounded down.
    """
    shared = sorted(set(first.by_seed) & set(second.by_seed))
    if len(shared) > 1:
        paired = estimate(first.by_seed[s] - second.by_seed[s] for s in shared)
        return Difference(paired.mean, paired.interval, paired.n)
    mean = first.mean - second.mean
    if min(first.n, second.n) < 2:
        return Difference(mean, None, 1)
    parts = [cell.sd**2 / cell.n for cell in (first, second)]
    weights = sum(part**2 / (cell.n - 1) for part, cell in zip(parts, (first, second), strict=True))
    df = int(sum(parts) ** 2 / weights) if weights else 1
    half = t_quantile(max(1, df)) * math.sqrt(sum(parts))
    return Difference(mean, (mean - half, mean + half), min(first.n, second.n))


def bootstrap(first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of (accuracy of `first` - accuracy of `second`) over test examples, as fractions.

    `first` and `second` say for the same test examples, bool (N,), whether each model was right. An example's
    difference is -1, 0 or 1, so drawing examples with replacement is drawing the three counts. Raises ValueError
    when the two are not of one length, or empty.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"predictions on {len(first)} and {len(second)} test examples cannot be paired")
    n = len(first)
    up, down = int((first & ~second).sum()), int((second & ~first).sum())
    shares = [up / n, down / n, (n - up - down) / n]
    draws = np.random.default_rng(seed).multinomial(n, shares, size=RESAMPLES)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / n, [2.5, 97.5])
    return float(low), float(high)


def accuracy(cell: Cell, lang: str) -> str:
    """A cell's mean as a percentage, with its standard deviation and seeds where there are several."""
    mean = numbers.percent(cell.mean, 2, lang)
    if cell.sd is None:
        return mean
    return finding("accuracy_seeds", lang, mean=mean, sd=numbers.decimal(100 * cell.sd, 2, lang), n=cell.n)


def image_noise(results, one: dict, other: dict, lang: str, beside=None) -> str:
    """The bootstrap interval of accuracy at `one` minus accuracy at `other`, as a sentence.

    The first converged run of each counts; `other` is looked up in `beside` where that is given. Empty when the two
    were not tested on the same images, when these come in groups (the clinical findings draw patients instead), or when
    a record was published without its predictions.
    """
    first, second = (
        next(record for _, record in where_in.select(**where) if not record.diverged)
        for where_in, where in ((results, one), (beside or results, other))
    )
    if not same_images(first, second) or first.run["dataset"].get("group_counts"):
        return ""  # nothing to pair; or several images of one patient, which are no independent draws
    try:
        right = correct(first), correct(second)
    except FileNotFoundError:
        return ""
    low, high = bootstrap(*right)
    interval = numbers.interval(100 * low, 100 * high, 2, lang)
    return finding("bootstrap", lang, images=numbers.integer(len(right[0]), lang), interval=interval)


def same_images(first, second) -> bool:
    """Whether two records come from the same data: only then do their test images pair."""
    prints = [(record.run.get("dataset") or {}).get("fingerprint") for record in (first, second)]
    return prints[0] == prints[1]


def correct(record) -> np.ndarray:
    """For each test example whether the record's model was right, bool (N,)."""
    if hasattr(record, "correct"):  # kept also where the logits are not
        return record.correct()
    logits, labels = record.predictions()
    return np.argmax(logits, axis=1) == labels
