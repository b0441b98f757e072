"""Response-based distillation: one loss with explicit terms, and the formulas of three reports as presets."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kdlib.errors import UserError
from kdlib.losses.base import Loss, Response, kl


@dataclass(frozen=True)
class ResponseLoss(Loss):
    """``alpha * [T²] * soft + lam * CE(student, labels)`` (Hinton et al. 2015, arXiv 1503.02531, section 2).

    ``soft`` compares the distributions softmax(logits / T) of teacher (target) and student: ``"kl"`` is their
    Kullback-Leibler divergence KL(teacher || student), ``"ce"`` the cross-entropy, which adds the teacher's entropy
    and so has the same gradient. Both are means over the batch. With ``t_squared`` the soft term is multiplied by
    T², which keeps its gradient from fading as 1/T².

    Raises ``UserError`` for T <= 0, a negative or non-finite weight, both weights 0, or an unknown ``soft``.
    """

    T: float
    alpha: float
    lam: float
    soft: str = "kl"
    t_squared: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.soft not in ("kl", "ce"):
            raise UserError(f"soft term must be 'kl' or 'ce', got {self.soft!r}")

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        ours, theirs = student.logits / self.T, teacher.logits / self.T
        if self.soft == "kl":
            soft = kl(ours, theirs)
        else:
            soft = -(F.softmax(theirs, dim=1) * F.log_softmax(ours, dim=1)).sum(dim=1).mean()
        return soft * self.T**2 if self.t_squared else soft


def weighted_kl(T: float, alpha: float, lam: float | None = None) -> ResponseLoss:
    """Turkish KD report (seed tables 1, 3, 4): alpha·T²·KL + lam·CE, the two weights free.

    The report names the weights and T but not the formula; T²·KL is that of the PyTorch tutorial, whose weight names
    it uses. ``lam`` defaults to 1 - alpha.
    """
    return ResponseLoss(T, alpha, 1 - alpha if lam is None else lam)


def convex_soft_ce(T: float, alpha: float, lam: float | None = None) -> ResponseLoss:
    """Alpha × T grid report: (1 - alpha)·CE + alpha·cross-entropy of the softened outputs, no T²."""
    return ResponseLoss(T, alpha, _convex(alpha, lam), soft="ce", t_squared=False)


def convex_kl(T: float, alpha: float, lam: float | None = None) -> ResponseLoss:
    """ResNet ladder report: alpha·T²·KL + (1 - alpha)·CE.

    Its slide writes KL(student, teacher); its reference code, the PyTorch tutorial, and Hinton's paper take the
    teacher as the target distribution, and so do we.
    """
    return ResponseLoss(T, alpha, _convex(alpha, lam))


def _convex(alpha: float, lam: float | None) -> float:
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha must lie between 0 and 1 in a convex loss, got {alpha}")
    if lam is not None and abs(lam - (1 - alpha)) > 1e-9:
        raise UserError(f"lam is 1 - alpha = {1 - alpha:g} in a convex loss, got {lam}; leave it out")
    return 1 - alpha
