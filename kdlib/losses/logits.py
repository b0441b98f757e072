"""Losses on logits: the reports' formulas, decoupled and standardised distillation, DIST."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlib.errors import UserError
from kdlib.losses.base import Loss, Response, centred_unit, kl


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


@dataclass(frozen=True)
class DKD(Loss):
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


@dataclass(frozen=True)
class DIST(Loss):
    """``alpha * T² * (inter * L_inter + intra * L_intra) + lam * CE`` (Huang et al. 2022, arXiv 2205.10536).

    Of Y = softmax(logits / T) (B, K), L_inter is 1 - the Pearson correlation of teacher and student over the classes
    of an image, mean over the images; L_intra the same over the images of a class, mean over the classes
    (section 4). ``inter`` (the paper's beta) and ``intra`` (its gamma) are 2 in its classification trainings, T is 4
    on CIFAR-100 and 1 on ImageNet; T² as in its code. A constant row or column, as in a batch of one, correlates with
    nothing: it counts as 1 and has no gradient.
    """

    T: float
    alpha: float = 1.0
    lam: float = 1.0
    inter: float = 2.0
    intra: float = 2.0
    method: str = field(default="dist", init=False)
    two_classes: ClassVar[str | None] = "within an image two probabilities always correlate fully"

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        ours, theirs = (F.softmax(response.logits / self.T, dim=1) for response in (student, teacher))
        return self.T**2 * (self.inter * _apart(ours, theirs) + self.intra * _apart(ours.T, theirs.T))


def _apart(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - the Pearson correlation of each row, mean over the rows."""
    return 1 - (centred_unit(student) * centred_unit(teacher)).sum(dim=1).mean()


@dataclass(frozen=True)
class LogitStd(Loss):
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
