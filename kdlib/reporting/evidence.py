"""What a difference between two settings is worth: over seeds, or with one seed over the test images alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdlib.reporting import numbers
from kdlib.reporting.i18n import say
from kdlib.reporting.results import MIN_SEEDS, Cell, Results, estimate, t_quantile

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """One setting minus another, as fractions: the mean and its 95 % t-interval over `n` seeds (None below three)."""

    mean: float
    interval: tuple[float, float] | None
    n: int


def difference(first: Cell, second: Cell) -> Difference:
    """`first` minus `second`, two cells that both have a mean.

    Seeds they share are paired (the same split, initialisation and batches), and only those enter then; without two
    shared seeds but with three each, it is Welch's interval. Equal differences show no spread, and give no interval.
    """
    shared = sorted(set(first.by_seed) & set(second.by_seed))
    if len(shared) > 1:
        paired = estimate(first.by_seed[s] - second.by_seed[s] for s in shared)
        return Difference(paired.mean, paired.interval, paired.n)
    mean = first.mean - second.mean
    parts = [cell.sd**2 / cell.n for cell in (first, second) if cell.n >= MIN_SEEDS]
    if len(parts) < 2 or not sum(parts):
        return Difference(mean, None, 1)
    df = sum(parts) ** 2 / sum(part**2 / (cell.n - 1) for part, cell in zip(parts, (first, second), strict=True))
    half = t_quantile(df) * math.sqrt(sum(parts))
    return Difference(mean, (mean - half, mean + half), min(first.n, second.n))


def bootstrap(changes: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of the mean of `changes` (N,), one a test image, over draws of the images.

    They take few distinct values, so drawing images with replacement is drawing how often each value comes. None
    where all are equal: no spread was seen, which is not the same as none being there.
    """
    values, counts = np.unique(changes, return_counts=True)
    if len(values) < 2:
        return None
    n = int(counts.sum())
    draws = np.random.default_rng(0).multinomial(n, counts / n, size=RESAMPLES) @ values / n
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def changes(results: Results, one: dict, others: Results, other: dict) -> np.ndarray | None:
    """How often each test image (N,) is right at `one` less how often at `other` (of `others`), a mean over seeds.

    Seeds that both have are paired; without such the first runs that converged are. None where the two were not tested
    on the same images, where these come in groups (several of one patient are no independent draws), or where a record
    was published without its predictions.
    """
    sides = []
    for where_in, where in ((results, one), (others, other)):
        found = [(arm.seed, record) for arm, record in where_in.select(**where) if not record.diverged]
        sides.append(dict(reversed(found)))
    shared = sorted(set(sides[0]) & set(sides[1]))
    pairs = [(sides[0][s], sides[1][s]) for s in shared] or [tuple(side[min(side)] for side in sides)]
    if any(not same_images(*pair) or pair[0].run["dataset"].get("group_counts") for pair in pairs):
        return None
    try:
        return np.mean([correct(first).astype(int) - correct(second) for first, second in pairs], axis=0)
    except FileNotFoundError:
        return None


def accuracy(cell: Cell, lang: str) -> str:
    """A cell's mean as a percentage, with its standard deviation and seeds where there are several."""
    mean = numbers.percent(cell.mean, 2, lang)
    if cell.sd is None:
        return mean
    return say(
        "{mean} (standard deviation {sd} points, {n} seeds)",
        lang,
        mean=mean,
        sd=numbers.decimal(100 * cell.sd, 2, lang),
        n=cell.n,
    )


def image_noise(results: Results, one: dict, other: dict, lang: str, beside: Results | None = None) -> str:
    """The bootstrap interval of accuracy at `one` minus accuracy at `other` (of `beside` where given), as a sentence.

    Empty where `changes` has none.
    """
    found = changes(results, one, beside or results, other)
    interval = None if found is None else bootstrap(found)
    if interval is None:
        return ""
    said = numbers.interval(*(100 * end for end in interval), 2, lang)
    return say(
        "The test images alone ({images} of them) leave a 95% bootstrap interval of {interval} "
        "points for this difference.",
        lang,
        images=numbers.integer(len(found), lang),
        interval=said,
    )


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
