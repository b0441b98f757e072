"""Train one model, or many students of one teacher in lockstep."""

from kdlib.training.callbacks import TensorBoard, TrainingState
from kdlib.training.check import check_model
from kdlib.training.checkpoint import Checkpoints, Stop, Stopped
from kdlib.training.device import PRECISIONS, resolve_device
from kdlib.training.evaluation import evaluate
from kdlib.training.job import Job, Outcome, Recipe, derive
from kdlib.training.loop import distill, fit, train
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
    "TensorBoard",
    "TrainingState",
    "check_model",
    "derive",
    "distill",
    "evaluate",
    "fit",
    "resolve_device",
    "train",
]
