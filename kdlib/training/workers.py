"""Several learners of a group at a time, a part of the CPU's threads each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from kdlib.training.learner import Learner


def at_once(precisions: Sequence[str], device: torch.device) -> int:
    """Return how many learners of these precisions step at a time on the device."""
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), sum(precision != "fp32" for precision in precisions)))


class Workers:
    """Does something for each learner: with all threads one after another, or several at a time with fewer each.

    Two threads speed up the step of a small network by far less than two, so two students at a time, a thread each,
    are done sooner. Their sums are rounded in another order than with all threads. So learners in fp32, which end the
    same to the bit alone and in a group, go one after another; and so do those on a GPU, those in their first step, and
    those that draw random numbers, for all threads share one generator.
    """

    def __init__(self, learners: Sequence[Learner], device: torch.device):
        self.threads = torch.get_num_threads()
        self.count = at_once([learner.precision for learner in learners], device)
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            each = max(1, self.threads // self.count)
            self._pool = ThreadPoolExecutor(self.count, "learner", torch.set_num_threads, (each,))
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            # What a thread sets for itself is also what threads to come begin with.
            torch.set_num_threads(self.threads)

    def each(self, learners: Sequence[Learner], do: Callable[[Learner], Any]) -> list[Any]:
        """Return ``do(learner)`` of each, in order; what one raises is raised here."""
        together = [learner for learner in learners if self._pool is not None and learner.independent]
        if len(together) < 2:
            return [do(learner) for learner in learners]
        found = {learner: do(learner) for learner in learners if learner not in together}
        found |= zip(together, self._pool.map(do, together), strict=True)
        return [found[learner] for learner in learners]
