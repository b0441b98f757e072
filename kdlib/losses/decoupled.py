"""Decoupled distillation: how sure of the label, and how the rest is shared out, weighed apart."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from kdlib.losses.base import Loss, Response, kl


@dataclass(frozen=True)
class Decoupled(Loss):
    """``alpha * T² * (target * TCKD + rest * NCKD) + lam * CE`` (Zhao et al. 2022, arXiv 2203.08679, section 3.2).

    Of softmax(logits / T), TCKD is KL(teacher || student) of the pair (p_label, 1 - p_label) and NCKD that of the
    distribution over the other classes alone; both are means over the batch. KL over all classes is
    TCKD + (1 - p_label of the teacher) * NCKD: a sure teacher hardly teaches the rest, unless it is weighed apart.
    ``target`` = 1 (the paper's alpha) and ``rest`` = 8 (its beta) are its usual weights on CIFAR-100, with T = 4; it
    chooses beta for each pair of models. Its warm-up of the term over the first 20 epochs is not part of the loss.
    """

    T: float
    alpha: float = 1.0
    lam: float = 1.0
    target: float = 1.0
    rest: float = 8.0
    method: str = field(default="dkd", init=False)
    two_classes: ClassVar[str | None] = "beside the label one class is left, so that nothing is decoupled"

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        ours, our_rest = _split(student.logits / self.T, labels)
        theirs, their_rest = _split(teacher.logits / self.T, labels)
        return self.T**2 * (self.target * kl(ours, theirs) + self.rest * kl(our_rest, their_rest))


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, 2) of label against rest, and those of the other classes (B, K - 1)."""
    labels = labels.unsqueeze(1)
    others = torch.arange(logits.shape[1] - 1, device=logits.device)
    rest = logits.gather(1, others + (others >= labels))
    return torch.cat([logits.gather(1, labels), rest.logsumexp(dim=1, keepdim=True)], dim=1), rest
