"""Structured pruning: channels that matter least leave the model, and every layer that holds them shrinks."""

from kdlib.pruning.checkpoint import load, save
from kdlib.pruning.criteria import CALIBRATED, CRITERIA
from kdlib.pruning.cutting import History, replay
from kdlib.pruning.pruner import Pruned, calibration, prune, score
from kdlib.pruning.spec import SCOPES, Spec
from kdlib.pruning.structure import LAYERS, Channels, Member, Structure, scan

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
