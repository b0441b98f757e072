"""Train one model, or many students of one teacher in lockstep."""

from kdlib.training.evaluation import evaluate
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.loop import check_model, distill, fit, resolve_device, train
from kdlib.training.precision import PRECISIONS
from kdlib.training.recipe import Recipe

__all__ = [
    "PRECISIONS",
    "Job",
    "Outcome",
    "Recipe",
    "check_model",
    "derive",
    "distill",
    "evaluate",
    "fit",
    "resolve_device",
    "train",
]
