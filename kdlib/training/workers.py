"""Several learners on one device: how many fit into its memory, and how many step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from kdlib.training.check import untouched
from kdlib.training.job import Job
from kdlib.training.learner import Learner


def groups_that_fit(learners: Sequence[Learner], shape: tuple, limit: int, device: torch.device) -> list[range]:
    """Cut learners into consecutive groups, each of which trains within ``limit`` bytes; a group has at least one.

    Weights, gradients and optimiser states of a group's models add up; of activations only those of the models that
    step at a time count, each as the largest.
    """
    groups, start, fixed, peak, together = [], 0, 0, 0, at_once(learners, device)
    for i, learner in enumerate(learners):
        own = held_bytes(learner.job, learner.model)
        activations = activation_bytes(learner.model, shape, learner.job.recipe.batch_size)
        if i > start and fixed + own + min(together, i - start + 1) * max(peak, activations) > limit:
            groups.append(range(start, i))
            start, fixed, peak = i, 0, 0
        fixed, peak = fixed + own, max(peak, activations)
    return [*groups, range(start, len(learners))] if learners else []


def held_bytes(job: Job, model: nn.Module) -> int:
    """Return bytes of weights, gradients, optimiser state and the kept best epoch."""
    slots = 2 if job.recipe.optimizer == "adam" else int(job.recipe.momentum > 0)
    copies = 1 + (job.recipe.select == "best")
    return sum((copies + (1 + slots) * p.requires_grad) * p.numel() * p.element_size() for p in model.parameters())


def activation_bytes(model: nn.Module, shape: tuple, batch_size: int) -> int:
    """Return bytes that autograd keeps between forward and backward of one batch, counted on two samples."""
    held: dict[tuple, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held[(tensor.data_ptr(), tensor.shape)] = tensor.numel() * tensor.element_size()
        return tensor

    weights = {p.data_ptr() for p in model.parameters()}
    device = next(model.parameters()).device
    with untouched(model), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(torch.zeros(2, *shape, device=device))
    kept = sum(size for (pointer, _), size in held.items() if pointer not in weights)
    return kept * batch_size // 2


def at_once(learners: Sequence[Learner], device: torch.device) -> int:
    """Return how many of the learners step at a time on the device."""
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), sum(one.small or one.precision != "fp32" for one in learners)))


class Workers:
    """Does something for each learner: with all threads one after another, or several at a time with one thread each.

    Two threads speed up the step of a small network by far less than two, so two students at a time, a thread each,
    are done sooner. Their sums are rounded in another order than with all threads. So a learner in fp32, which ends the
    same to the bit alone and in a group, has one thread in both cases if it is small, and all in both if it is not;
    in bf16, which promises no bits, any may have one thread. Learners that draw random numbers wait for each other, for
    all threads share one generator, and so do those on a GPU.
    """

    def __init__(self, learners: Sequence[Learner], device: torch.device):
        self.threads = torch.get_num_threads()
        self.count = at_once(learners, device)
        self._pool: ThreadPoolExecutor | None = None
        self._needed = device.type == "cpu" and (self.count > 1 or any(one.small for one in learners))

    def __enter__(self) -> Workers:
        if self._needed and self.threads > 1:
            self._pool = ThreadPoolExecutor(self.count, "learner", torch.set_num_threads, (1,))
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            # What a thread sets for itself is also what threads to come begin with.
            torch.set_num_threads(self.threads)

    def each(self, learners: Sequence[Learner], do: Callable[[Learner], Any]) -> list[Any]:
        """Return ``do(learner)`` of each, in order; what one raises is raised here."""
        if self._pool is None:
            return [do(learner) for learner in learners]
        together = [one for one in learners if one.independent and (one.small or one.precision != "fp32")]
        if len(together) < 2:
            together = [one for one in together if one.small]
        found = {}
        for learner in learners:
            if learner not in together:
                found[learner] = self._pool.submit(do, learner).result() if learner.small else do(learner)
        found |= zip(together, self._pool.map(do, together), strict=True)
        return [found[learner] for learner in learners]
