"""Losses on feature maps: FitNets, attention transfer, similarity-preserving and relational distillation."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.base import FeatureLoss, Pairs, Response, Shapes, to_one_size, unit
from kdlib.losses.taps import Stage


@dataclass(frozen=True)
class FitNets(FeatureLoss):
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


_SMALLEST = 8  # positions a side


@dataclass(frozen=True)
class AttentionTransfer(FeatureLoss):
    """``alpha * beta * sum over pairs mean((q_S - q_T)²) + lam * CE`` (Zagoruyko and Komodakis 2017, arXiv 1612.03928).

    The attention map of feature maps F (B, C, H, W) is sum_c F_c² (B, H, W), flattened and divided by its Euclidean
    norm: q (section 3.1, p = 2). The mean is over images and positions, ``beta`` = 1000: the paper's experiments on
    CIFAR-10 divide a weight of 10³ by the numbers of positions and images. That weight belongs to the maps they
    compare, of blocks and of 8×8 positions and more: on 2×2 its gradient is forty times that of the labels. So where
    ``layers`` is None the stages of such maps are paired from the end, as many as the smaller model has, less a stem (a
    first stage that is a single layer); where none is left, the largest is taken. Maps of different size are averaged
    down to the smaller before the norm is taken.
    """

    alpha: float = 1.0
    lam: float = 1.0
    layers: tuple[str, ...] | None = None
    beta: float = 1000.0
    method: str = field(default="at", init=False)

    def _choose(self, student: list[Stage], teacher: list[Stage]) -> Pairs:
        ours, theirs = _blocks(student), _blocks(teacher)
        count = min(len(ours), len(theirs))
        return tuple(zip(ours[-count:], theirs[-count:], strict=True))

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        terms = [_distance(ours, theirs) for ours, theirs in self._maps(student, teacher)]
        return self.beta * torch.stack(terms).sum()


def _blocks(stages: list[Stage]) -> list[str]:
    """Names of the stages whose maps the weight is made for, or of the one that comes nearest."""
    without_stem = stages[not stages[0].block :] or stages
    large = [stage for stage in without_stem if min(stage.shape[1:]) >= _SMALLEST]
    return [stage.name for stage in large or without_stem[:1]]


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    maps = to_one_size(_energy(student), _energy(teacher))
    ours, theirs = (unit(energy.flatten(1)) for energy in maps)
    return (ours - theirs).square().mean()


def _energy(maps: Tensor) -> Tensor:
    """Return the mean square over the channels, (B, 1, H, W); q does not tell it from the sum."""
    return maps.square().mean(dim=1, keepdim=True)


@dataclass(frozen=True)
class SimilarityPreserving(FeatureLoss):
    """``alpha * gamma / B² * sum over pairs ||G_T - G_S||²_F + lam * CE`` (Tung and Mori 2019, arXiv 1907.09682).

    For each pair of stages Q (B, C·H·W) holds a batch's flattened feature maps and G (B, B) is Q Qᵀ with rows of
    Euclidean length 1 (their section 3). Channels and sizes of the two models need not agree, nothing is
    learnt beside the student. ``gamma`` = 3000 is the weight of their CIFAR-10 experiments; they compare the last
    convolutional stage of each model, the choice here where ``layers`` is None. Several layers add up.

    An image whose maps are all zero has a zero row in G.
    """

    alpha: float = 1.0
    lam: float = 1.0
    layers: tuple[str, ...] | None = None
    gamma: float = 3000.0
    method: str = field(default="sp", init=False)
    smallest_batch: ClassVar[int] = 2

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        terms = [(_similarities(s) - _similarities(t)).square().mean() for s, t in self._maps(student, teacher)]
        return self.gamma * torch.stack(terms).sum()


def _similarities(maps: Tensor) -> Tensor:
    """Return G (B, B) of feature maps (B, C, H, W)."""
    flat = maps.flatten(1)
    return unit(flat @ flat.T)


@dataclass(frozen=True)
class RKD(FeatureLoss):
    """``alpha * (distance * L_D + angle * L_A) + lam * CE`` (Park et al. 2019, arXiv 1904.05068, section 3.2).

    The embedding of an image is the mean over positions of its feature maps (B, C, H, W). L_D compares
    ||e_i - e_j|| / mu, where mu is the mean of the batch's distances above zero; L_A compares the cosines
    of the angles at e_j in the triangles (e_i, e_j, e_k). Both take the Huber distance with delta 1, averaged over all
    B² pairs and B³ triples, repeated images included, as is usual for these weights: 25 and 50 are the paper's for
    classification with both terms. One stage of each model, the last where ``layers`` is None. Memory grows as
    B² (B + C).
    """

    alpha: float = 1.0
    lam: float = 1.0
    layers: tuple[str, ...] | None = None
    distance: float = 25.0
    angle: float = 50.0
    method: str = field(default="rkd", init=False)
    smallest_batch: ClassVar[int] = 3  # two images have one distance, its own mean, and no angle
    single = True

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        ours, theirs = (_relations(maps) for maps in self._maps(student, teacher)[0])
        distances, angles = (F.smooth_l1_loss(our, their) for our, their in zip(ours, theirs, strict=True))
        return self.distance * distances + self.angle * angles


def _relations(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return of feature maps' embeddings the distances (B, B) over their mean, and the cosines (B, B, B).

    [j, i, k] of the cosines is that of the angle between e_i - e_j and e_k - e_j, 0 where one of them is zero.
    """
    embeddings = maps.flatten(2).mean(dim=2)
    differences = embeddings.unsqueeze(0) - embeddings.unsqueeze(1)
    # The slope of a root is infinite at 0: zeros, or what rounding leaves of them, are kept out of it.
    squares = differences.square().sum(dim=2)
    apart = squares > 1e-24
    distances = torch.where(apart, torch.where(apart, squares, 1).sqrt(), 0)
    mean = distances.sum() / apart.sum().clamp_min(1)
    directions = differences * torch.where(apart, squares, float("inf")).rsqrt().unsqueeze(2)
    return distances / torch.where(mean > 0, mean, 1), directions @ directions.transpose(1, 2)
