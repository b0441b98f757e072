"""What is asked of a training run, how it is trained, and what comes out of it."""

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral, Real

import torch
from torch import nn

from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.losses import Loss


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one training run.

    ``warmup`` is the share of all steps over which the learning rate climbs linearly from 0; after it, ``constant``
    keeps ``lr`` and ``cosine`` takes it towards 0 (Loshchilov & Hutter 2017, without restarts), set anew
    at every step. ``select`` keeps the ``last`` epoch or the one ``best`` on the validation split.
    ``class_weights``: ``balanced`` weighs the cross-entropy of a class of n images by N / (K n), N images and K classes
    in the training split, so that a rare class counts as much as a common one; ``none`` counts every image once.
    ``label_smoothing`` (Szegedy et al. 2016): the share of a hard label that is spread over all classes, in the
    cross-entropy that is trained on; validation and test are measured without it.

    Raises ``UserError`` for values that make no training.
    """

    optimizer: str = "adam"
    lr: float = 0.001
    batch_size: int = 128
    epochs: int = 10
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    select: str = "last"
    augmentation: Augmentation = field(default_factory=Augmentation)
    class_weights: str = "none"
    label_smoothing: float = 0.0

    def __post_init__(self):
        _one_of(self, "optimizer", "adam", "sgd")
        _one_of(self, "schedule", "constant", "cosine")
        _one_of(self, "select", "last", "best")
        _one_of(self, "class_weights", "none", "balanced")
        for name in ("batch_size", "epochs"):
            _number(self, name, lambda value: value >= 1, "at least 1", Integral)
        _number(self, "lr", lambda value: value > 0, "a positive number")
        _number(self, "weight_decay", lambda value: value >= 0, "zero or positive")
        for name in ("momentum", "warmup", "label_smoothing"):
            _number(self, name, lambda value: 0 <= value < 1, "from 0 to below 1")
        if self.optimizer == "adam" and (self.momentum or self.nesterov):
            raise UserError("momentum and nesterov belong to optimizer 'sgd'; leave them out with 'adam'")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0")

    def optimiser(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return a fresh optimiser over the parameters that take gradients; weight decay is L2, as in torch."""
        trainable = [p for p in parameters if p.requires_grad]
        # One fused kernel instead of a Python loop over tensors; torch has it for CPU and CUDA.
        common = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.optimizer == "adam":
            return torch.optim.Adam(trainable, **common)
        return torch.optim.SGD(trainable, momentum=self.momentum, nesterov=self.nesterov, **common)

    def lr_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step ``step`` (from 0) of ``steps``."""
        warm = self.warmup * steps
        if step < warm:
            return self.lr * (step + 1) / (warm + 1)
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))

    @property
    def stream(self) -> tuple:
        """What must agree for two runs to share their batches: batch size, epochs, augmentation."""
        return (self.batch_size, self.epochs, self.augmentation)


@dataclass(frozen=True)
class Job:
    """One model to train: how to build it, its recipe, its initialisation seed, and its loss.

    ``build`` is called once, with torch's global generator seeded by ``seed`` and ``role``; parameters that it leaves
    with ``requires_grad`` False stay as they are. Without a ``loss`` the model learns from the labels alone, by
    cross-entropy. ``role`` keeps a student from starting where a teacher of its seed and architecture started; ``id``
    names the run in checkpoints, which are written for jobs that have one; ``name`` names the model in messages.
    """

    build: Callable[[], nn.Module]
    recipe: Recipe
    seed: int = 0
    loss: Loss | None = None
    name: str = ""
    role: str = "student"
    id: str = ""


@dataclass
class Outcome:
    """A finished run.

    ``state``: the kept epoch's state dict on the CPU; ``history``: one row an epoch; ``logits`` (N, K) float32 and
    ``labels`` (N,) of the test split, and its ``groups`` (N,) where it has any; ``metrics``: accuracies are fractions,
    losses cross-entropies in nats (those of training and validation weighted by class where the recipe says so);
    ``diverged``: None, or reason and epoch; ``seconds``: this run's share of the wall time of its group; ``taps``: the
    feature maps its loss compared, (student's layer, teacher's layer) each.
    """

    state: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    logits: torch.Tensor
    labels: torch.Tensor
    metrics: dict[str, float]
    diverged: dict | None
    precision: str
    seconds: float
    groups: torch.Tensor | None = None
    group_size: int = 1
    group_seconds: float = 0.0
    taps: tuple[tuple[str, str], ...] = ()


def derive(seed: int, *words: str | int) -> int:
    """Return a 63-bit seed for one purpose, so that split, initialisation and batch order do not share a stream."""
    text = ":".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _one_of(recipe: Recipe, name: str, *known: str) -> None:
    if (value := getattr(recipe, name)) not in known:
        raise UserError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def _number(recipe: Recipe, name: str, good: Callable[[float], bool], rule: str, kind: type = Real) -> None:
    value = getattr(recipe, name)
    if isinstance(value, bool) or not isinstance(value, kind):  # YAML reads 1e-3 as a word, 1.0e-3 as a number
        raise UserError(f"{name} must be {'a whole number' if kind is Integral else 'a number'}, got {value!r}")
    if not (math.isfinite(value) and good(value)):
        raise UserError(f"{name} must be {rule}, got {value}")
