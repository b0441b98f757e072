"""Relational distillation: distances and angles between the images of a batch."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlib.losses.base import FeatureLoss, Response


@dataclass(frozen=True)
class Relational(FeatureLoss):
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
