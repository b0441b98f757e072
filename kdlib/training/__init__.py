"""Train one model, or many students of one teacher in lockstep."""

from kdlib.training.check import check_model
from kdlib.training.checkpoint import Checkpoints, Stop, Stopped
from kdlib.training.evaluation import evaluate
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.loop import distill, fit, resolve_device, train
from kdlib.training.precision import PRECISIONS
from kdlib.training.recipe import Recipe
from kdlib.training.teacher import TeacherStore

__all__ = [
    "PRECISIONS",
    "Checkpoints",
    "Job",
    "Outcome",
    "Recipe",
    "Stop",
    "Stopped",
    "TeacherStore",
    "check_model",
    "derive",
    "distill",
    "evaluate",
    "fit",
    "resolve_device",
    "train",
]
