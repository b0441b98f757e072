"""Attention transfer: where in the image a network's activations are large."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdlib.losses.base import FeatureLoss, Pairs, Response, to_one_size, unit
from kdlib.losses.taps import Stage

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
