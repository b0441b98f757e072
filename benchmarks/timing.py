"""Contenders timed in turns, ratios taken within a round, and the peak memory of a process of its own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdlib.errors import UserError


@dataclass(frozen=True)
class Turn:
    """One contender's turn of a round: the work it did, in units that all contenders share, and its seconds."""

    amount: float
    seconds: float

    @property
    def rate(self) -> float:
        """Units of work a second."""
        return self.amount / self.seconds


Round = dict[str, Turn]


def alternate(
    contenders: Mapping[str, Callable[[], float]], rounds: int, after: Callable[[], None] = lambda: None
) -> list[Round]:
    """Let every contender have a turn in each round; each round begins with the next one.

    A contender is called without arguments and returns how much work it did. So what drifts on a machine (clock, heat,
    other jobs) hits all alike, and nobody always comes after the same neighbour. ``after`` is called after each turn.
    Raises ``UserError`` for fewer than one round.
    """
    check_rounds(rounds)
    names, found = list(contenders), []
    for number in range(rounds):
        turns: Round = {}
        for i in range(len(names)):
            name = names[(i + number) % len(names)]
            start = time.perf_counter()
            amount = contenders[name]()
            turns[name] = Turn(amount, time.perf_counter() - start)
            after()
        found.append({name: turns[name] for name in names})
    return found


def check_rounds(rounds: int) -> None:
    """Raise ``UserError`` unless there is a round."""
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, got {rounds}")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, lowest and highest value, and how many there are."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def rates(rounds: Sequence[Round], name: str) -> dict[str, float]:
    """Return the spread of a contender's units of work a second over the rounds."""
    return spread([turns[name].rate for turns in rounds])


def seconds(rounds: Sequence[Round], name: str) -> dict[str, float]:
    """Return the spread of a contender's seconds a turn over the rounds."""
    return spread([turns[name].seconds for turns in rounds])


def ratio(rounds: Sequence[Round], name: str, other: str) -> dict[str, float]:
    """Return the spread of how many times as fast ``name`` is as ``other``, each ratio within one round."""
    return spread([turns[name].rate / turns[other].rate for turns in rounds])


def peak_of(job: Callable[..., Any], *arguments: Any) -> tuple[Any, float | None]:
    """Run ``job(*arguments)`` in a fresh process; return its answer and its peak memory in MB (10^6 bytes).

    ``job`` is a function of a module: it prepares, and returns a function without arguments; the peak is what the
    process grows by while that one runs, so imports, models and images made in preparation do not count. On CUDA it is
    the peak of torch's allocator, less what it held before. None where the system does not tell (no /proc). What the
    process raises is raised here.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(there, job, arguments))
    child.start()
    there.close()
    try:
        kind, answer, peak = here.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"the process that measured {job.__name__} ended with code {child.exitcode}") from None
    finally:
        child.join()
    if kind == "error":
        raise answer
    return answer, peak


def _measure(pipe, job: Callable[..., Callable[[], Any]], arguments: tuple) -> None:
    try:
        run = job(*arguments)
        before = _start()
        answer = run()
        pipe.send(("done", answer, _peak(before)))
    except Exception as error:
        try:
            pipe.send(("error", error, None))
        except Exception:  # an error that cannot be pickled
            pipe.send(("error", RuntimeError(f"{type(error).__name__}: {error}"), None))


def _start() -> tuple[int | None, int]:
    """Begin to measure: the memory held now, of the process and of torch on CUDA."""
    import torch

    held = 0
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the high-water mark comes down to what is held now
    except OSError:
        pass
    return _status("VmRSS"), held


def _peak(before: tuple[int | None, int]) -> float | None:
    import torch

    resident, held = before
    if held:
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    highest = _status("VmHWM")
    return None if resident is None or highest is None else max(0, highest - resident) / 1e6


def _status(field: str) -> int | None:
    """Bytes of a line of /proc/self/status; not getrusage, whose peak a child process inherits from its parent."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return None
