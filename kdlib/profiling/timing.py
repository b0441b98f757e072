"""What has to be run to be known: latency, throughput, peak memory. Each on a copy, on CPU or CUDA."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import nn
from torch.nn import functional

from kdlib.copies import copied
from kdlib.errors import of_the_machine

WARM_UP = 5
TURN, UNTIMED = 5, 2


def latency(model: nn.Module, batch: torch.Tensor, repeats: int, warm_up: int = WARM_UP) -> dict[str, float]:
    """Time the forward pass of ``batch`` (B, C, H, W) in eval mode, without gradients, on the batch's device.

    Returns ``latency_ms`` (median of ``repeats`` runs after ``warm_up`` runs), ``latency_iqr_ms`` (quartile 3 minus
    quartile 1; 0 for one run) and ``throughput`` (images/s at the median). CUDA is waited for around each run.
    """
    low, median, high = _quartiles(_timed(copied(model).to(batch.device).eval(), batch, warm_up, repeats))
    return {"latency_ms": median, "latency_iqr_ms": high - low, "throughput": 1e3 * len(batch) / median}


def latencies(models: Sequence[nn.Module], batch: torch.Tensor, repeats: int) -> list[dict[str, float]]:
    """Time several models on one ``batch`` (B, C, H, W) in turns, so that what drifts on a machine hits all alike.

    Each model goes in eval mode on the batch's device, without gradients. A turn is `UNTIMED` runs and up to `TURN`
    timed ones in a row: libraries keep kernels for a limited number of layer shapes, and models that take turns run by
    run push each other's out, which costs more than most prunings save. Every round starts with another model.
    Returns for each ``median_ms``, ``q1_ms`` and ``q3_ms`` of ``repeats`` timed runs.
    """
    subjects = [copied(model).to(batch.device).eval() for model in models]
    times: list[list[float]] = [[] for _ in subjects]
    for begin in range(0, repeats, TURN):
        for i in range(len(subjects)):
            which = (i + begin // TURN) % len(subjects)
            times[which] += _timed(subjects[which], batch, UNTIMED, min(TURN, repeats - begin))
    return [dict(zip(("q1_ms", "median_ms", "q3_ms"), _quartiles(own), strict=True)) for own in times]


@torch.inference_mode()
def _timed(model: nn.Module, batch: torch.Tensor, warm_up: int, repeats: int) -> list[float]:
    """Milliseconds of each of ``repeats`` forward passes in a row, after ``warm_up`` that are not timed."""
    times = []
    for _ in range(warm_up + repeats):
        _wait(batch.device)
        start = time.perf_counter()
        model(batch)
        _wait(batch.device)
        times.append(1e3 * (time.perf_counter() - start))
    return times[warm_up:]


def _quartiles(times: list[float]) -> list[float]:
    return statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3


def inference_peak(model: nn.Module, batch: torch.Tensor) -> float:
    """Return the peak memory of a forward pass of ``batch`` in MB (10^6 bytes): weights, buffers, input, the rest.

    CUDA: ``max_memory_allocated``. CPU: weights, buffers and input, and on top the highest sum of what torch's CPU
    allocator held during the pass (its profiler's memory events; scratch space of libraries does not show there).
    """

    def forward(subject: nn.Module, images: torch.Tensor) -> None:
        with torch.inference_mode():
            subject(images)

    return _peak(model, batch, forward, train=False)


def training_peak(model: nn.Module, batch: torch.Tensor) -> float | None:
    """Return the same for a training step: forward in train mode, cross-entropy, backward, gradients kept.

    No optimiser state is in it. None where the model cannot train on such a batch: batch norm refuses a single value
    a channel, a frozen model has no gradient, some models give more than logits in train mode.
    """

    def step(subject: nn.Module, images: torch.Tensor) -> None:
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        functional.cross_entropy(subject(images), labels).backward()

    try:
        return _peak(model, batch, step, train=True)
    except Exception as error:
        if of_the_machine(error):
            raise
        return None


def _peak(model: nn.Module, batch: torch.Tensor, run: Callable, train: bool) -> float:
    device = batch.device
    cuda = [device] if device.type == "cuda" else []
    # What others hold on a GPU is taken off; the batch is there already and is added.
    before = torch.cuda.memory_allocated(device) if cuda else 0
    subject = copied(model).to(device).train(train)
    with torch.random.fork_rng(devices=cuda):  # dropout draws
        run(subject, batch)  # what is set up once, such as packed weights, is no part of the peak
        subject.zero_grad(set_to_none=True)
        if not cuda:
            return (_cpu_peak(lambda: run(subject, batch)) + state_bytes(subject) + batch.nbytes) / 1e6
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        run(subject, batch)
        _wait(device)
        return (torch.cuda.max_memory_allocated(device) - before + batch.nbytes) / 1e6


def _cpu_peak(run: Callable[[], None]) -> int:
    """The highest sum of bytes that torch's CPU allocator holds of what it allocates during ``run()``."""
    # The plain profiler, not torch.profiler, which imports torch's compiler.
    with _quiet_kineto(), torch.autograd.profiler.profile(profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    live = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(accumulate(live, initial=0))


@contextlib.contextmanager
def _quiet_kineto() -> Iterator[None]:
    """The profiler's library writes to the terminal by itself unless this says otherwise."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ["KINETO_LOG_LEVEL"] = "99"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]
        else:
            os.environ["KINETO_LOG_LEVEL"] = before


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and buffers, each once."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
