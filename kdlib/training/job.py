"""What is asked of a training run, and what comes out of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from kdlib.losses import Loss
from kdlib.training.recipe import Recipe


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
    notes: list[str] = field(default_factory=list)


def derive(seed: int, *words: str | int) -> int:
    """Return a 63-bit seed for one purpose, so that split, initialisation and batch order do not share a stream."""
    text = ":".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
