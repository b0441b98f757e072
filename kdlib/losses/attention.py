"""Attention transfer: where in the image a network's activations are large."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdlib.losses.base import FeatureLoss, Pairs, Response, to_one_size, unit


@dataclass(frozen=True)
class AttentionTransfer(FeatureLoss):
    """``alpha * beta * sum over pairs mean((q_S - q_T)²) + lam * CE`` (Zagoruyko and Komodakis 2017, arXiv 1612.03928).

    The attention map of feature maps F (B, C, H, W) is sum_c F_c² (B, H, W), flattened and divided by its Euclidean
    norm: q (section 3.1, p = 2). The mean is over images and positions, ``beta`` = 1000: the paper's experiments on
    CIFAR-10 divide a weight of 10³ by the numbers of positions and images. Where ``layers`` is None, all stages of the
    two models are paired from the end, as many as the smaller has. Maps of different size are averaged down to the
    smaller before the norm is taken.
    """

    alpha: float = 1.0
    lam: float = 1.0
    layers: tuple[str, ...] | None = None
    beta: float = 1000.0
    method: str = field(default="at", init=False)

    def _choose(self, student: list[str], teacher: list[str]) -> Pairs:
        count = min(len(student), len(teacher))
        return tuple(zip(student[-count:], teacher[-count:], strict=True))

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        terms = [_distance(ours, theirs) for ours, theirs in self._maps(student, teacher)]
        return self.beta * torch.stack(terms).sum()


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    maps = to_one_size(_energy(student), _energy(teacher))
    ours, theirs = (unit(energy.flatten(1)) for energy in maps)
    return (ours - theirs).square().mean()


def _energy(maps: Tensor) -> Tensor:
    """Return the mean square over the channels, (B, 1, H, W); q does not tell it from the sum."""
    return maps.square().mean(dim=1, keepdim=True)
