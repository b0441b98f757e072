"""Structured pruning: channels that matter least leave the model, and every layer that holds them shrinks."""

from kdlib.pruning.checkpoint import load, save
from kdlib.pruning.criteria import CALIBRATED, CRITERIA
from kdlib.pruning.prune import SCOPES, Pruned, Spec, calibration, prune, score
from kdlib.pruning.structure import LAYERS, Channels, History, Member, Structure, replay, scan

__all__ = [
    "CALIBRATED",
    "CRITERIA",
    "LAYERS",
    "SCOPES",
    "Channels",
    "History",
    "Member",
    "Pruned",
    "Spec",
    "Structure",
    "calibration",
    "load",
    "prune",
    "replay",
    "save",
    "scan",
    "score",
]
