"""The device: which one, in which precision, with how much memory."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.conv import _ConvNd

from kdlib.data import available_memory
from kdlib.errors import UserError
from kdlib.files import cache_folder, whole
from kdlib.training.world import several

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
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # its number on this machine, as torchrun says it
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
        fp32, bf16 = zip(*((_trial("fp32"), _trial("bf16")) for _ in range(5)), strict=True)
        known[key] = round(min(fp32) / min(bf16), 2)
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


def available(device: torch.device) -> int:
    """Return bytes that a group may take on the device now."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    return int(_HEADROOM * free)
