"""What radiologists measure a two-class model by, from its test probabilities alone.

Every metric is a ratio of weighted sums over the images: weights of one give its value, a draw's its value there. The
95 % intervals are percentile bootstraps over patients: whole patients are drawn with replacement, because the
images of one patient resemble each other (Field and Welsh 2007, cluster bootstrap). The same draws serve every model,
so that differences between models are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

RESAMPLES = 2_000
BINS = 15  # Guo et al. 2017
METRICS = ("accuracy", "auroc", "sensitivity", "specificity", "f1", "ece")
_BLOCK = 2_000_000  # weights held at once: draws × images


@dataclass(frozen=True, eq=False)
class Scores:
    """Test predictions of one two-class model.

    ``margin``: the positive class's logit less the other's, float64 (N,); it ranks images also where ``probability``,
    (N,) its sigmoid, is 1 to the last digit. ``positive`` whether an image is of that class and ``predicted`` whether
    the model says so, bool (N,); ``groups`` the patient of each image, int (N,), or None.
    """

    margin: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    groups: np.ndarray | None = None

    @cached_property
    def probability(self) -> np.ndarray:
        """The probability of the positive class, float64 (N,)."""
        return np.exp(-np.logaddexp(0, -self.margin))

    @property
    def correct(self) -> np.ndarray:
        """Whether the model is right, bool (N,)."""
        return self.predicted == self.positive

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the class the model says, float64 (N,), 0.5 to 1."""
        return np.where(self.predicted, self.probability, 1.0 - self.probability)

    @cached_property
    def counts(self) -> np.ndarray:
        """Confusion matrix, int (2, 2): rows true negative and positive class, columns the predicted one."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.positive, self.predicted, labels=[False, True])

    @cached_property
    def point(self) -> dict[str, float | None]:
        """The metrics, each None where the test part leaves it undefined (say, no image of a class)."""
        found = _weighted(self, np.ones((1, len(self.positive))))
        return {name: None if np.isnan(value) else float(value) for name, (value,) in found.items()}

    def at(self, threshold: float) -> dict[str, float | None]:
        """Sensitivity and specificity where the positive class is called from this probability on."""
        moved = replace(self, predicted=self.probability >= threshold)
        return {name: moved.point[name] for name in ("sensitivity", "specificity")}

    @cached_property
    def draws(self) -> dict[str, np.ndarray]:
        """The metrics over the bootstrap's draws, (RESAMPLES,) each; NaN where a draw leaves one undefined."""
        blocks = [_weighted(self, w) for w in weights(len(self.positive), self.groups)]
        return {name: np.concatenate([block[name] for block in blocks] or [np.empty(0)]) for name in METRICS}


def scores(logits: np.ndarray, labels: np.ndarray, positive: int = 1, groups: np.ndarray | None = None) -> Scores:
    """Return the scores of logits (N, 2) and labels (N,); ``positive`` is the index of the positive class.

    The predicted class is that of the higher logit, which is the threshold 0.5 on the probability. Raises
    ValueError for other than two classes, and for logits that are not finite.
    """
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ValueError(f"two-class metrics need logits (N, 2), got {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("two-class metrics need finite logits")
    margin = logits[:, positive].astype(np.float64) - logits[:, 1 - positive]
    return Scores(margin, labels == positive, logits.argmax(axis=1) == positive, groups)


def bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, 0 to BINS - 1: equal widths, closed above as in Guo et al. 2017."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


@dataclass(frozen=True)
class Reliability:
    """Per bin, (BINS,) each: how many predictions, their mean confidence and accuracy (NaN where empty)."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Return what a reliability diagram shows of confidences (N,) in 0..1 and hits, bool (N,)."""
    where = bins(confidence)
    count = np.bincount(where, minlength=BINS)
    with np.errstate(invalid="ignore"):
        sums = (np.bincount(where, weights=values, minlength=BINS) / count for values in (confidence, correct))
        return Reliability(count, *sums)


def weights(n: int, groups: np.ndarray | None, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Yield blocks (draws, N) of how often each image enters each draw.

    A draw takes as many patients as there are, with replacement, each with all its images; without ``groups`` each
    image stands for itself. The same n and groups give the same draws.
    """
    index = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    many = int(index.max()) + 1 if n else 0
    chance = np.random.default_rng(0)
    step = max(1, _BLOCK // max(n, many, 1))
    for start in range(0, resamples if many else 0, step):
        size = min(step, resamples - start)
        picks = chance.integers(0, many, (size, many)) + many * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * many).reshape(size, many)
        yield counts[:, index].astype(np.float64)


def _weighted(of: Scores, w: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics under weights (draws, N), (draws,) each.

    ECE is the expected calibration error (Guo et al. 2017): the mean gap of confidence and accuracy over bins' images.
    """
    truth, said = of.positive, of.predicted
    parts = np.stack([truth & said, truth & ~said, ~truth & said, ~truth & ~said], axis=1).astype(np.float64)
    tp, fn, fp, tn = (w @ parts).T
    where, gap = bins(of.confidence), of.correct - of.confidence
    gaps = w @ (gap[:, None] * (where[:, None] == np.arange(BINS)))
    total = w.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": (tp + tn) / total,
            "auroc": weighted_auroc(of.margin, truth, w),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "ece": np.abs(gaps).sum(axis=1) / total,
        }


def weighted_auroc(margin: np.ndarray, positive: np.ndarray, w: np.ndarray) -> np.ndarray:
    """AUROC under each row of weights (draws, N): the weighted share of (positive, negative) pairs in order.

    A tied pair counts half (Hanley and McNeil 1982). NaN where a draw has weight on one class only.
    """
    order = np.argsort(margin, kind="stable")
    first = np.flatnonzero(np.diff(margin[order], prepend=-np.inf) > 0)  # where each run of ties begins
    w = w[:, order]
    up = np.add.reduceat(w * positive[order], first, axis=1)
    down = np.add.reduceat(w * ~positive[order], first, axis=1)
    below = np.cumsum(down, axis=1) - down
    with np.errstate(invalid="ignore", divide="ignore"):
        return (up * (below + down / 2)).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1))
