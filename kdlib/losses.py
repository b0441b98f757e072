"""Response-based distillation: one loss with explicit terms, and the formulas of three reports as presets."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from kdlib.errors import UserError


@dataclass(frozen=True)
class ResponseLoss:
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
        if not 0 < self.T < float("inf"):
            raise UserError(f"temperature T must be a positive number, got {self.T}")
        for name, weight in (("alpha", self.alpha), ("lam", self.lam)):
            if not 0 <= weight < float("inf"):
                raise UserError(f"{name} must be zero or a positive number, got {weight}")
        if self.alpha == 0 and self.lam == 0:
            raise UserError("alpha and lam are both 0, so there is nothing to learn from; give one a positive value")
        if self.soft not in ("kl", "ce"):
            raise UserError(f"soft term must be 'kl' or 'ce', got {self.soft!r}")

    def __call__(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of logits (B, K) of both models and int64 labels (B,)."""
        soft, hard = self.terms(student, teacher, labels)
        return self.combine(soft, hard)

    def combine(self, soft: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
        """Weigh the two terms that ``terms`` returns."""
        return self.alpha * soft + self.lam * hard

    def terms(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        labels: torch.Tensor,
        class_weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the soft term, times T² where it is asked for, and the cross-entropy with the labels.

        ``class_weights`` (K,) weigh the labels in the cross-entropy, as ``torch.nn.functional.cross_entropy`` does.

        Half-precision logits are computed in fp32, autocast or not: at T = 50 the softmax of ten classes differs
        from uniform by less than bf16 can hold.
        """
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = _full(student), _full(teacher.detach())
            hard = F.cross_entropy(student, labels, class_weights)
            log_student = F.log_softmax(student / self.T, dim=1)
            if self.soft == "kl":
                log_teacher = F.log_softmax(teacher / self.T, dim=1)
                soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
            else:
                soft = -(F.softmax(teacher / self.T, dim=1) * log_student).sum(dim=1).mean()
            return (soft * self.T**2 if self.t_squared else soft), hard


def _full(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


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


PRESETS: dict[str, Callable[..., ResponseLoss]] = {
    "weighted_kl": weighted_kl,
    "convex_soft_ce": convex_soft_ce,
    "convex_kl": convex_kl,
}


def preset(name: str, T: float, alpha: float, lam: float | None = None) -> ResponseLoss:
    """Build the loss of a report by its preset's name; raises ``UserError`` for an unknown one."""
    if name not in PRESETS:
        raise UserError(f"unknown loss {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name](T, alpha, lam)
