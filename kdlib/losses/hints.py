"""FitNets: a layer of the teacher as a hint for a layer of the student."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.base import FeatureLoss, Pairs, Response, Shapes, to_one_size
from kdlib.losses.taps import Stage


@dataclass(frozen=True)
class Hints(FeatureLoss):
    """``alpha * beta * mean((r(F_S) - F_T)²) + lam * CE`` (Romero et al. 2015, arXiv 1412.6550, equation 3).

    F (B, C, H, W) are feature maps, r the regressor that carries the student's over to the teacher's channels: here a
    1×1 convolution, trained with the student; where sizes differ, the larger maps are averaged down to the smaller.
    The paper trains up to the hint first and the whole student after; here hint and labels are learnt together, with
    the mean over all entries and ``beta`` = 100, as in the benchmark of Tian et al. 2020 (arXiv 1910.10699). Its
    choice of layer, and the one here where ``layers`` is None, is the middle one (of an even number, the later).
    """

    alpha: float = 1.0
    lam: float = 1.0
    layers: tuple[str, ...] | None = None
    beta: float = 100.0
    method: str = field(default="fitnets", init=False)
    single = True

    def adapter(self, student_shapes: Shapes, teacher_shapes: Shapes) -> nn.Module:
        """Return the regressor, a 1×1 convolution from the student's channels to the teacher's, with a bias."""
        return nn.Conv2d(student_shapes[0][0], teacher_shapes[0][0], kernel_size=1)

    def _choose(self, student: list[Stage], teacher: list[Stage]) -> Pairs:
        return ((student[len(student) // 2].name, teacher[len(teacher) // 2].name),)

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        # Averaged before the 1×1 convolution, with which it commutes: fewer products.
        ours, theirs = to_one_size(*self._maps(student, teacher)[0])
        if adapter is not None:
            ours = adapter(ours)
        if ours.shape != theirs.shape:
            raise ValueError(f"maps of {ours.shape[1]} and {theirs.shape[1]} channels need the loss's adapter")
        return self.beta * F.mse_loss(ours, theirs)
