"""The device: which one, in which precision, with how much memory, and several models at a time on a CPU's threads."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.conv import _ConvNd

from kdlib.data import available_memory
from kdlib.errors import UserError
from kdlib.files import cache_folder, whole
from kdlib.training.world import local_rank, several

if TYPE_CHECKING:
    from kdlib.training.job import Job
    from kdlib.training.learner import Learner

PRECISIONS = ("auto", "bf16", "fp32")
# From so many times the speed on, bf16 is worth its rounding. CPUs seen so far have 2 (with AMX or a fast AVX-512) or
# less than 1 (with instructions that are emulated or halve the clock).
_WORTH = 1.3
# What the estimate leaves out: kernels' workspaces, autocast's copies of weights, fragmentation.
_HEADROOM = 0.6


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA where there is one, and CUDA each process's own where several train
    one model. Raises ``UserError`` for one not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and several():
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {name!r}; say auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name!r} is not here: torch sees no CUDA device; say cpu or auto")
    return device


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context of a precision on a device; weights and optimiser state stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def choose(model: nn.Module, device: torch.device, asked: str) -> str:
    """Return ``"fp32"`` or ``"bf16"``: what was asked, or for ``"auto"`` what suits the model and the device.

    A GPU takes bf16 where it has it. A CPU without instructions for bf16 computes in it 2 to 5 times slower; one with
    them is tried once on a training step of convolutions, and the answer kept in the user's cache folder, so that it is
    the same every time. Depthwise convolutions have no fast bf16 kernel on any CPU. Raises ``UserError`` for an unknown
    precision.
    """
    if asked not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}; got {asked!r}")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    depthwise = any(isinstance(module, _ConvNd) and module.groups > 1 for module in model.modules())
    return "bf16" if not depthwise and has_bf16() and speed_of_bf16() >= _WORTH else "fp32"


def has_bf16() -> bool:
    """Whether this CPU has instructions for bf16: AVX-512 BF16 or AMX."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@cache
def speed_of_bf16() -> float:
    """Return how many times as fast this CPU is in bf16 as in fp32, measured once and remembered."""
    file = cache_folder() / "bf16.json"
    amx = ", AMX" if torch.cpu._is_amx_tile_supported() else ""
    key = f"{processor()}{amx}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    if key not in known:
        seconds = {"fp32": [], "bf16": []}
        for _ in range(5):
            for precision, times in seconds.items():
                times.append(_trial(precision))
        known[key] = round(min(seconds["fp32"]) / min(seconds["bf16"]), 2)
        with contextlib.suppress(OSError):  # no home, a full disk: measured again next time
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole(file) as aside:
                aside.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known[key]


def _trial(precision: str) -> float:
    """Return the seconds of a training step of a convolution, batch norm and ReLU, as residual networks have them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten())
        model = model.to(memory_format=torch.channels_last)
        images = torch.randn(64, 64, 16, 16).contiguous(memory_format=torch.channels_last)
    start = time.perf_counter()
    with torch.enable_grad():
        with autocast(torch.device("cpu"), precision):
            out = model(images)
        F.mse_loss(out.float(), torch.zeros_like(out, dtype=torch.float32)).backward()
    return time.perf_counter() - start


def processor() -> str:
    """Return the name of this CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


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
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(torch.zeros(2, *shape, device=device))
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    kept = sum(size for (pointer, _), size in held.items() if pointer not in weights)
    return kept * batch_size // 2


def available(device: torch.device) -> int:
    """Return bytes that a group may take on the device now."""
    if device.type == "cuda":
        return int(_HEADROOM * torch.cuda.mem_get_info(device)[0])
    return int(_HEADROOM * available_memory())


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
