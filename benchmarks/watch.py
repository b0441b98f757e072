"""Where the time of a training goes, seen from outside: what is wrapped for it is as it was afterwards."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from kdlib.losses import ResponseLoss
from kdlib.training import evaluation, group, teacher
from kdlib.training.teacher import fused as teacher_fused

DATA, TEACHER, FORWARD = "augment and normalise", "teacher forward", "student forward"
LOSS, BACKWARD, STEP, EVALUATION = "loss", "backward", "optimiser", "evaluation"
PARTS = (DATA, TEACHER, FORWARD, LOSS, BACKWARD, STEP, EVALUATION)


class Clock:
    """Seconds by part, and what went through the models: images by (part, precision).

    On CUDA each part waits for the device before and after, which takes some of the overlap away.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: Counter[str] = Counter()
        self.images: Counter[tuple[str, str]] = Counter()

    def now(self) -> float:
        """Return the time, all work handed to the device done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count the block's seconds as those of a part."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[part] += self.now() - start

    def timed(self, part: str, function: Callable) -> Callable:
        """Return the function, its seconds counted."""

        @wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            with self.of(part):
                return function(*arguments, **named)

        return run


# Copies of a model that the training makes must share the clock, which a module's attribute would not.
_clock: list[Clock] = []


class Watched(nn.Module):
    """A model whose forward passes are timed while `watching`; ``part`` names those in train mode.

    A model of unknown code steps while no other does, so the parts of several students do not overlap.
    """

    def __init__(self, model: nn.Module, part: str):
        super().__init__()
        self.model, self.part = model, part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the model's logits (B, K) of images (B, C, H, W)."""
        if not _clock:
            return self.model(x)
        part = self.part if self.training or self.part == TEACHER else EVALUATION
        precision = "bf16" if torch.is_autocast_enabled(x.device.type) else "fp32"
        _clock[0].images[part, precision] += len(x)
        with _clock[0].of(part):
            return self.model(x)


class WatchedLoss(ResponseLoss):
    """A loss whose terms are timed while `watching`."""

    def terms(self, *arguments: Any, **named: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `ResponseLoss.terms` returns."""
        if not _clock:
            return super().terms(*arguments, **named)
        with _clock[0].of(LOSS):
            return super().terms(*arguments, **named)


def _fused(clock: Clock) -> Callable:
    """`kdlib.training.teacher.fused` for watched teachers: what it makes is timed, as no module's forward is."""

    def fused(model: nn.Module, images: torch.Tensor) -> Callable | None:
        found = teacher_fused(model.model if isinstance(model, Watched) else model, images)

        def answer(x: torch.Tensor) -> torch.Tensor:
            clock.images[TEACHER, "fp32"] += len(x)
            with clock.of(TEACHER):
                return found(x)

        return found and answer

    return fused


@contextmanager
def watching(device: torch.device) -> Iterator[Clock]:
    """Time the parts of what kdlib trains in the block; yields the clock."""
    clock, begun = Clock(device), []
    places = [
        *((module, name, DATA) for module in (group, teacher) for name in ("augment", "normalise")),
        (evaluation, "normalise", EVALUATION),
        (torch.Tensor, "backward", BACKWARD),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: begun.append(clock.now())),
        register_optimizer_step_post_hook(lambda *_: clock.seconds.update({STEP: clock.now() - begun.pop()})),
    ]
    _clock.append(clock)
    try:
        for (owner, name, part), (_, _, function) in zip(places, before, strict=True):
            setattr(owner, name, clock.timed(part, function))
        teacher.fused = _fused(clock)
        yield clock
    finally:
        for owner, name, function in [*before, (teacher, "fused", teacher_fused)]:
            setattr(owner, name, function)
        for hook in hooks:
            hook.remove()
        _clock.remove(clock)
