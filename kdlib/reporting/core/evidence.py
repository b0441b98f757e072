"""What a difference between two settings is worth: over seeds, or with one seed over the test images alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdlib.reporting.core.names import SHARED
from kdlib.reporting.core.results import Results, estimate
from kdlib.studies.records import Record

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """One setting minus another, as fractions, with a 95 % interval and what it was drawn over.

    ``over``: ``seeds`` (t), ``images`` or ``patients`` (bootstrap), or "" (no interval). ``n`` counts what it was drawn
    over. ``p``: the two-sided p-value that goes with the interval. ``runs``: ids of the records it comes from.
    ``values``: the differences of single seeds, where seeds pair.
    """

    mean: float
    interval: tuple[float, float] | None = None
    over: str = ""
    n: int = 1
    p: float | None = None
    runs: tuple[str, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """``up``, ``down`` or ``open``, by the interval; ``unknown`` without one."""
        if self.interval is None:
            return "unknown"
        low, high = self.interval
        return "up" if low > 0 else "down" if high < 0 else "open"


def over_seeds(differences: Iterable[float]) -> Difference:
    """The mean of paired differences, one a seed, with its t-interval."""
    paired = estimate(differences)
    if paired.interval is None:
        return Difference(paired.mean, n=paired.n, values=paired.values)
    p = _p(paired.mean / (paired.sd / math.sqrt(paired.n)), paired.n - 1)
    return Difference(paired.mean, paired.interval, "seeds", paired.n, p, values=paired.values)


def _p(t: float, df: float) -> float:
    from scipy.stats import t as student

    return float(2 * student.sf(abs(t), df))


def seed_by_seed(results: Results, one: dict, others: Results, other: dict) -> dict[int, tuple[Record, Record]]:
    """The converged records of two settings (the second of ``others``) by the seeds that both have: the same split,
    initialisation and batches. A teacher or an original that all seeds share stands against each of them."""
    sides = [
        {condition.seed: record for condition, record in reversed(of.select(**where)) if not record.diverged}
        for of, where in ((results, one), (others, other))
    ]
    for k, where in enumerate((one, other)):
        if where.get("role") in SHARED and len(sides[k]) == 1:
            (record,) = sides[k].values()
            sides[k] = dict.fromkeys(sides[1 - k], record)
    return {seed: (sides[0][seed], sides[1][seed]) for seed in sorted(set(sides[0]) & set(sides[1]))}


def gain(pair: tuple[Record, Record]) -> float:
    """Test accuracy of the first of two records minus that of the second."""
    first, second = (record.metrics["test_accuracy"] for record in pair)
    return first - second


def compare(results: Results, one: dict | None, others: Results, other: dict | None) -> Difference | None:
    """Test accuracy at ``one`` minus that at ``other`` (of ``others``), of the seeds that both have: over these from
    three on, else over their test images; without an interval where they have none. None where one is not there.

    Equal differences of all seeds show no spread.
    """
    if one is None or other is None:
        return None
    cells = results.cell(one), others.cell(other)
    if cells[0].mean is None or cells[1].mean is None:
        return None
    pairs = list(seed_by_seed(results, one, others, other).values())
    if not pairs:
        return Difference(cells[0].mean - cells[1].mean, runs=(*ids(results, one), *ids(others, other)))
    found = over_seeds(map(gain, pairs))
    if found.interval is None:
        found = over_images(found.mean, [changes(pairs)])
    return replace(found, runs=tuple(dict.fromkeys(record.id for side in zip(*pairs, strict=True) for record in side)))


def ids(results: Results, where: dict) -> list[str]:
    """The records of a setting that converged."""
    return list(dict.fromkeys(record.id for _, record in results.select(**where) if not record.diverged))


def over_images(mean: float, found: list[np.ndarray | None]) -> Difference:
    """A difference with the bootstrap interval of the mean of several settings' changes (N,), where all have some."""
    if not found or any(one is None for one in found):
        return Difference(mean)
    draws = bootstrap(np.mean(found, axis=0))
    return Difference(mean) if draws is None else resampled(mean, draws, "images", len(found[0]))


def resampled(mean: float, draws: np.ndarray, over: str, n: int) -> Difference:
    """A difference with the interval and p-value of its bootstrap draws; without where these show no spread."""
    draws = draws.round(12)  # a draw without a change is zero, not what floats leave of it
    interval = percentiles(draws)
    if interval is None:
        return Difference(mean)
    return Difference(mean, interval, over, n, min(1.0, 2 * float(min((draws <= 0).mean(), (draws >= 0).mean()))))


def percentiles(draws: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of draws, those undefined left out; None where none is defined, or all are equal.

    Draws that are all equal, as those of one patient, show no spread; that is not the same as none being there.
    """
    defined = draws[np.isfinite(draws)]
    if not len(defined) or np.ptp(defined) == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def holm(found: Sequence[Difference]) -> list[bool]:
    """Whether each difference leaves zero out at 5 % when all are asked at once (Holm 1979)."""
    order = sorted((one.p, k) for k, one in enumerate(found) if one.p is not None)
    sure = [False] * len(found)
    for rank, (p, k) in enumerate(order):
        if p > 0.05 / (len(order) - rank):
            break
        sure[k] = True
    return sure


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` images."""
    z = 1.96
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def bootstrap(changes: np.ndarray) -> np.ndarray | None:
    """Means of `changes` (N,), one a test image, over draws of the images.

    They take few distinct values, so drawing images with replacement is drawing how often each value comes. None
    where all are equal: no spread was seen, which is not the same as none being there.
    """
    values, counts = np.unique(changes, return_counts=True)
    if len(values) < 2:
        return None
    n = int(counts.sum())
    return np.random.default_rng(0).multinomial(n, counts / n, size=RESAMPLES) @ values / n


def changes(pairs: Sequence[tuple[Record, Record]]) -> np.ndarray | None:
    """How often each test image (N,) is right in the first of two records less how often in the second, a mean over
    such pairs.

    None without pairs, where two were not tested on the same images, where these come in groups (several of one
    patient are no independent draws), or where a record is without its predictions.
    """
    if not pairs or any(not same_images(*pair) or pair[0].run["dataset"].get("group_counts") for pair in pairs):
        return None
    try:
        return np.mean([first.correct().astype(int) - second.correct() for first, second in pairs], axis=0)
    except FileNotFoundError:
        return None


def same_images(first, second) -> bool:
    """Whether two records come from the same data: only then do their test images pair."""
    return first.run["dataset"]["fingerprint"] == second.run["dataset"]["fingerprint"]
