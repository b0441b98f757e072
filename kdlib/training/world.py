"""The processes that train one model together: each learns its share of every batch, all end with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process's ``rank`` among ``size``; one alone does all of it and sends nothing.

    What is done together must be done by all of them, in the same order. ``control`` is a group on the CPU, so that
    to agree on something waits for no GPU.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's rows of a batch (B, ...): consecutive ones, as many as the others have, or one more."""
        return batch.tensor_split(self.size)[self.rank]

    def gather(self, rows: torch.Tensor, batch: int) -> torch.Tensor:
        """Return all processes' rows of a batch of so many, (B, ...) in fp32, in the batch's order.

        Gradients go to this process's own rows, times ``size``: as DistributedDataParallel takes the mean over the
        processes, parameters get the gradient of a loss on the whole batch, be it a mean over images or not.
        """
        if self.size == 1:
            return rows
        return _Gather.apply(rows.float(), batch, self)

    def turns(self, work: Sequence[T]) -> Iterator[T | None]:
        """Yield this process's pieces of the work; None in a last round that has nothing left for it."""
        for start in range(0, len(work), self.size):
            yield work[start + self.rank] if start + self.rank < len(work) else None

    def merge(self, done: list[T]) -> list[T]:
        """Return what became of all pieces of the work, in its order, given what became of this process's ``turns``."""
        if self.size == 1:
            return done
        of_each: list[list[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(of_each, done, group=self.control)
        return [piece for piece in chain(*zip_longest(*of_each)) if piece is not None]

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Put the mean over the processes into each of the tensors."""
        for tensor in tensors if self.size > 1 else ():
            dist.all_reduce(tensor)
            tensor /= self.size

    def agree(self, say: Callable[[], T]) -> T:
        """Return what the first process says; the others are not asked."""
        if self.size == 1:
            return say()
        said = [say() if self.rank == 0 else None]
        dist.broadcast_object_list(said, src=0, group=self.control)
        return said[0]

    def any(self, here: bool) -> bool:
        """Return whether it is so in some process."""
        if self.size == 1:
            return here
        found = torch.tensor(int(here))
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return bool(found)


ALONE = World()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, batch: int, world: World) -> torch.Tensor:
        ctx.world = world
        whole = rows.new_zeros(batch, *rows.shape[1:])
        world.share(whole).copy_(rows)
        dist.all_reduce(whole)  # each row is one process's, and zero with the others
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.world.share(gradient) * ctx.world.size, None, None


def several() -> bool:
    """Whether the caller has set up a process group of more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def joined() -> Iterator[World]:
    """Yield the world of the process group that ``torch.distributed.init_process_group`` made, or one alone."""
    if not several():
        yield ALONE
        return
    control = dist.new_group(backend="gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), control)
    finally:
        dist.destroy_process_group(control)
