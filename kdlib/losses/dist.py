"""DIST: predictions that rank alike rather than agree, within an image and within a class."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from kdlib.losses.base import Loss, Response, centred_unit


@dataclass(frozen=True)
class Dist(Loss):
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
