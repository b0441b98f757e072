"""fp32 or bf16 autocast: measured for a moment where the caller does not say."""

import copy
import time

import torch
import torch.nn.functional as F
from torch import nn

from kdlib.errors import UserError

PRECISIONS = ("auto", "bf16", "fp32")
_STEPS = 3
_chosen: dict[tuple, str] = {}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context of a precision on a device; weights and optimiser state stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def choose(model: nn.Module, shape: tuple[int, int, int], batch_size: int, device: torch.device, asked: str) -> str:
    """Return ``"fp32"`` or ``"bf16"``: what was asked, or for ``"auto"`` the one that trains this model faster.

    bf16 wins on residual networks and loses on depthwise convolutions, where the CPU has no fast kernel. The answer
    for an architecture is kept for the life of the process. Raises ``UserError`` for an unknown precision.
    """
    if asked not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}; got {asked!r}")
    if asked != "auto":
        return asked
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return "fp32"
    shapes = tuple((name, tuple(p.shape), p.requires_grad) for name, p in model.named_parameters())
    key = (shapes, shape, batch_size, device.type)
    if key not in _chosen:
        seconds = {p: _trial(model, shape, min(batch_size, 64), device, p) for p in ("fp32", "bf16")}
        _chosen[key] = min(seconds, key=seconds.get)
    return _chosen[key]


def _trial(model: nn.Module, shape: tuple[int, int, int], batch: int, device: torch.device, precision: str) -> float:
    """Return the seconds of the fastest of a few steps on a copy; a frozen model only goes forward."""
    model = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()
    images = torch.rand(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    times = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        with autocast(device, precision):
            logits = model(images)
        if logits.requires_grad:
            F.cross_entropy(logits.float(), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
