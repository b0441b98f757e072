"""Distillation losses: the reports' formulas on logits, and seven published ones on logits or feature maps.

``preset(name, T, alpha)`` builds each of them; ``stages`` and ``tapped`` find and read the maps they compare.
"""

from collections.abc import Callable, Iterable

from kdlib.errors import UserError, did_you_mean
from kdlib.losses.base import FeatureLoss, Loss, Response
from kdlib.losses.features import RKD, AttentionTransfer, FitNets, SimilarityPreserving
from kdlib.losses.logits import DIST, DKD, LogitStd, ResponseLoss, convex_kl, convex_soft_ce, weighted_kl
from kdlib.losses.taps import Stage, stages, tapped

PRESETS: dict[str, Callable[..., ResponseLoss]] = {
    "weighted_kl": weighted_kl,
    "convex_soft_ce": convex_soft_ce,
    "convex_kl": convex_kl,
}
METHODS: dict[str, type[Loss]] = {
    "sp": SimilarityPreserving,
    "fitnets": FitNets,
    "at": AttentionTransfer,
    "rkd": RKD,
    "dkd": DKD,
    "dist": DIST,
    "kd_std": LogitStd,
}

__all__ = [
    "DIST",
    "DKD",
    "METHODS",
    "PRESETS",
    "RKD",
    "AttentionTransfer",
    "FeatureLoss",
    "FitNets",
    "LogitStd",
    "Loss",
    "Response",
    "ResponseLoss",
    "SimilarityPreserving",
    "Stage",
    "convex_kl",
    "convex_soft_ce",
    "names",
    "preset",
    "stages",
    "tapped",
    "weighted_kl",
]


def names() -> list[str]:
    """Return every name that ``preset`` takes: those of the reports, then the published methods."""
    return [*PRESETS, *METHODS]


def preset(
    name: str, T: float | None, alpha: float, lam: float | None = None, layers: Iterable[str] | None = None
) -> Loss:
    """Build a loss by its name; ``lam`` defaults to 1 - alpha.

    sp, fitnets, at and rkd have no temperature and pass over T; they alone take ``layers``, the stages to compare
    (``"name"`` or ``"student_name:teacher_name"`` each). Raises ``UserError`` for an unknown name, for layers where
    none are compared, and for what the loss itself refuses.
    """
    if name not in names():
        raise UserError(f"unknown loss {name!r}; {did_you_mean(name, names())}")
    compares_maps = name in METHODS and METHODS[name].needs_features
    if layers is not None and not compares_maps:
        raise UserError(f"loss {name} compares logits and takes no layers; leave them out")
    if name in PRESETS:
        return PRESETS[name](T, alpha, lam)
    if lam is None:
        if alpha > 1:
            raise UserError(
                f"lam is 1 - alpha where it is not given, {1 - alpha:g} for alpha = {alpha:g}; give lam too"
            )
        lam = 1 - alpha
    if compares_maps:
        return METHODS[name](alpha=alpha, lam=lam, layers=layers)
    return METHODS[name](T=T, alpha=alpha, lam=lam)
