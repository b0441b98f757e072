"""Distillation on standardised logits: the student need not match the teacher's range."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from kdlib.losses.base import Loss, Response, centred_unit, kl


@dataclass(frozen=True)
class StandardisedKL(Loss):
    """``alpha * beta * T² * KL(softmax(z_T / T) || softmax(z_S / T)) + lam * CE`` (Sun et al. 2024, arXiv 2403.01427).

    z is each image's logits (K) less their mean, divided by their standard deviation (of the K numbers, not estimated
    from them; their algorithm 1): the student is to space the classes as the teacher does, in whatever range.
    ``beta`` = 9 is the best weight of their table 4 (CIFAR-100, T = 2), where the cross-entropy has 0.1: the paper's
    sum is alpha = 1, lam = 0.1. Logits that are all equal have z = 0.
    """

    T: float
    alpha: float = 1.0
    lam: float = 1.0
    beta: float = 9.0
    method: str = field(default="kd_std", init=False)
    two_classes: ClassVar[str | None] = "standardised logits of two are always +1 and -1, and teach nothing"

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        ours, theirs = (_standard(response.logits) / self.T for response in (student, teacher))
        return self.beta * self.T**2 * kl(ours, theirs)


def _standard(logits: Tensor) -> Tensor:
    """Return the z-scores of logits (B, K), over the classes."""
    return centred_unit(logits) * logits.shape[1] ** 0.5
