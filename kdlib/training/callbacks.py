"""Looking inside a training: what callbacks are shown, and that they change none of its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlib.errors import UserError, first_line
from kdlib.training.check import untouched
from kdlib.training.checkpoint import Stopped
from kdlib.training.job import Job

EVENTS = ("on_step", "on_epoch")


@dataclass(frozen=True)
class TrainingState:
    """What a callback is shown: one run, at the end of a step or of an epoch.

    ``job`` is the run's, at place ``index`` of the jobs of the call, and ``name`` its model's. ``model``: as it trains,
    on its device, with the gradients of its last step; ``teacher``: frozen, None where there is none. ``epoch`` counts
    from 1 to ``epochs``, ``step`` the optimiser's steps so far, of ``steps``. ``losses``: of the last batch, tensors
    without dimensions: ``objective`` (what is minimised), ``cross_entropy``, and ``soft`` where the loss has that term.
    ``metrics``: at the end of an epoch its row of the outcome's history; empty before.
    """

    job: Job
    index: int
    name: str
    model: nn.Module
    teacher: nn.Module | None
    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, Tensor]
    metrics: dict[str, float]


class Callbacks:
    """Those of a call: functions, for the end of an epoch, and objects with methods ``on_epoch`` or ``on_step``.

    They look. Random states, modes, buffers and gradients are afterwards as they were before. Raises ``UserError`` for
    what cannot be called, for a callback that fails, which it names, and for one that changes weights.
    """

    def __init__(self, asked: Sequence[Callable[[TrainingState], None] | object]):
        self.of: dict[str, list[tuple[str, Callable]]] = {event: [] for event in EVENTS}
        for callback in asked:
            name = getattr(callback, "__name__", type(callback).__name__)
            calls = {event: getattr(callback, event) for event in EVENTS if hasattr(callback, event)}
            if not calls and not callable(callback):
                raise UserError(f"callback {name} is no function and has neither on_epoch nor on_step")
            for event, call in (calls or {"on_epoch": callback}).items():
                self.of[event].append((name, call))

    def call(self, event: str, state: TrainingState) -> None:
        """Show a state to all that look at such an event."""
        for name, call in self.of[event]:
            shown = [model for model in (state.model, state.teacher) if model is not None]
            before = [[p.detach().clone() for p in model.parameters()] for model in shown]
            where = f"at step {state.step} (epoch {state.epoch}) of {state.name}, job {state.index}"
            try:
                with untouched(state.model), untouched(state.teacher):
                    call(state)
            except (UserError, Stopped):
                raise
            except Exception as error:  # a callback of the user's own may raise anything
                reason = f"{type(error).__name__}: {first_line(error)}"
                raise UserError(f"callback {name} failed {where}: {reason}") from error
            # By value: what a callback does to `p.data` raises no version.
            if not all(_same(kept, model) for kept, model in zip(before, shown, strict=True)):
                raise UserError(f"callback {name} changes weights {where}; let it work on a copy of the model")


def _same(kept: list[Tensor], model: nn.Module) -> bool:
    """Whether a model's weights are those that were kept; NaN is NaN."""
    now = [p.detach() for p in model.parameters()]
    return len(kept) == len(now) and all(
        a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(kept, now, strict=True)
    )


class TensorBoard:
    """Writes the metrics of every run, epoch by epoch, as event files below ``folder``, for ``tensorboard --logdir``.

    A run's subfolder is named by its model and its id, or its place among the jobs where it has none. Raises
    ``UserError`` where tensorboard is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("logging needs tensorboard, which is not installed; install kdlib[log]") from None
        self._open = lambda run: SummaryWriter(str(Path(folder) / run))
        self._writers: dict[str, SummaryWriter] = {}

    def on_epoch(self, state: TrainingState) -> None:
        """Add the epoch's metrics to the run's file, which is closed after the last."""
        run = re.sub(r"[^\w.-]+", "_", f"{state.name}-{state.job.id or state.index}")
        if run not in self._writers:
            self._writers[run] = self._open(run)
        writer = self._writers[run]
        for key, value in state.metrics.items():
            if key != "epoch":
                writer.add_scalar(key, value, state.epoch)
        writer.flush()
        if state.epoch == state.epochs:
            self._writers.pop(run).close()
