"""How a model is trained: optimiser, schedule, batches, and which epoch is kept."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral, Real

import torch

from kdlib.data import Augmentation
from kdlib.errors import UserError


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
        _choice("optimizer", self.optimizer, ("adam", "sgd"))
        _choice("schedule", self.schedule, ("constant", "cosine"))
        _choice("select", self.select, ("last", "best"))
        _choice("class_weights", self.class_weights, ("none", "balanced"))
        _typed("a whole number", Integral, batch_size=self.batch_size, epochs=self.epochs)
        _typed("a number", Real, lr=self.lr, momentum=self.momentum)
        _typed("a number", Real, weight_decay=self.weight_decay, warmup=self.warmup)
        _typed("a number", Real, label_smoothing=self.label_smoothing)
        _in_range("lr", self.lr, self.lr > 0, "a positive number")
        _in_range("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        _in_range("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _in_range("momentum", self.momentum, 0 <= self.momentum < 1, "from 0 to below 1")
        _in_range("weight_decay", self.weight_decay, self.weight_decay >= 0, "zero or positive")
        _in_range("warmup", self.warmup, 0 <= self.warmup < 1, "from 0 to below 1")
        _in_range("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "from 0 to below 1")
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


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def _typed(rule: str, kind: type, **values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            # YAML reads 1e-3 as a word, 1.0e-3 as a number.
            raise UserError(f"{name} must be {rule}, got {value!r}")


def _in_range(name: str, value: float, good: bool, rule: str) -> None:
    if not good or not math.isfinite(value):
        raise UserError(f"{name} must be {rule}, got {value}")
