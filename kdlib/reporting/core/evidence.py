"""What a difference between two settings is worth: over seeds, or with one seed over the test images alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdlib.reporting.core.results import Cell, Results, estimate

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


def difference(first: Cell, second: Cell) -> Difference:
    """`first` minus `second`, two cells that both have a mean, over seeds; without an interval below three seeds.

    Seeds they share are paired (the same split, initialisation and batches), and only those enter; where they share
    none, it is that of the means. Equal differences show no spread, and give no interval.
    """
    if shared := paired_seeds(first, second):
        return over_seeds(first.by_seed[s] - second.by_seed[s] for s in shared)
    return Difference(first.mean - second.mean)


def paired_seeds(first: Cell, second: Cell) -> list[int]:
    """The seeds that two cells share."""
    return sorted(set(first.by_seed) & set(second.by_seed))


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


def compare(results: Results, one: dict | None, others: Results, other: dict | None) -> Difference | None:
    """Test accuracy at ``one`` minus that at ``other`` (of ``others``), of the seeds that both have: over these, else
    over their test images. None where one of them is not there."""
    if one is None or other is None:
        return None
    cells = results.cell(one), others.cell(other)
    if cells[0].mean is None or cells[1].mean is None:
        return None
    found = difference(*cells)
    if seeds := paired_seeds(*cells):
        one, other = {**one, "seed": seeds}, {**other, "seed": seeds}
        if found.interval is None:
            found = over_images(found.mean, [changes(results, one, others, other)])
    return replace(found, runs=(*ids(results, one), *ids(others, other)))


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


def changes(results: Results, one: dict, others: Results, other: dict) -> np.ndarray | None:
    """How often each test image (N,) is right at `one` less how often at `other` (of `others`), a mean over seeds.

    Seeds that both have are paired. None where there are none, where the two were not tested on the same images, where
    these come in groups (several of one patient are no independent draws), or where a record is without its
    predictions.
    """
    sides = []
    for where_in, where in ((results, one), (others, other)):
        found = where_in.select(**where)
        sides.append({condition.seed: record for condition, record in reversed(found) if not record.diverged})
    pairs = [(sides[0][s], sides[1][s]) for s in sorted(set(sides[0]) & set(sides[1]))]
    if not pairs or any(not same_images(*pair) or pair[0].run["dataset"].get("group_counts") for pair in pairs):
        return None
    try:
        return np.mean([first.correct().astype(int) - second.correct() for first, second in pairs], axis=0)
    except FileNotFoundError:
        return None


def same_images(first, second) -> bool:
    """Whether two records come from the same data: only then do their test images pair."""
    return first.run["dataset"]["fingerprint"] == second.run["dataset"]["fingerprint"]
