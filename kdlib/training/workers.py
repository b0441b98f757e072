"""Several learners of a group at a time, a thread each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from kdlib.training.learner import Learner


def at_once(precisions: Sequence[str], small: Sequence[bool], device: torch.device) -> int:
    """Return how many learners step at a time on the device, given their precisions and which of them are small."""
    if device.type != "cpu":
        return 1
    single = sum(s or precision != "fp32" for precision, s in zip(precisions, small, strict=True))
    return max(1, min(torch.get_num_threads(), single))


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
        self.count = at_once([learner.precision for learner in learners], [one.small for one in learners], device)
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
