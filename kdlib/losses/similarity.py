"""Similarity-preserving distillation: which images of a batch a network finds alike."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdlib.losses.base import FeatureLoss, Response, unit


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

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter=None) -> Tensor:
        terms = [(_similarities(s) - _similarities(t)).square().mean() for s, t in self._maps(student, teacher)]
        return self.gamma * torch.stack(terms).sum()


def _similarities(maps: Tensor) -> Tensor:
    """Return G (B, B) of feature maps (B, C, H, W)."""
    flat = maps.flatten(1)
    return unit(flat @ flat.T)
