"""All that a model costs, as one dictionary: what is counted, and what is measured on this machine."""

import contextlib
from importlib import metadata
from typing import Any

import torch
from torch import nn

from kdlib.copies import copied
from kdlib.errors import UserError, first_line
from kdlib.profiling import counters, measuring
from kdlib.profiling.counting import count_parameters, macs_by_torch

MEANING = {
    "total_params": "parameters",
    "trainable_params": "trainable parameters",
    "frozen_params": "frozen parameters",
    "mult_adds": "mult-adds (torchinfo: convolution, linear, norm layers)",
    "macs_thop": "MACs (thop: layers it has a rule for; norms, pooling in)",
    "macs_fvcore": "MACs (fvcore, which calls them FLOPs: traced operations)",
    "macs_torch": "MACs (torch's flop counter / 2: convolution, matmul)",
    "input_mb": "input, MB (torchinfo)",
    "fwd_bwd_mb": "forward/backward pass, MB (torchinfo)",
    "params_mb": "parameters, MB (torchinfo)",
    "total_mb": "estimated total, MB (torchinfo)",
    "size_mib": "parameters and buffers, MiB",
    "file_mb": "file, MB (safetensors)",
    "latency_ms": "latency, ms a batch (median)",
    "latency_iqr_ms": "latency, interquartile range, ms",
    "throughput": "throughput, images/s",
    "peak_memory_mb": "peak memory of inference, MB",
    "peak_training_mb": "peak memory of a training step, MB",
}
"""What each number of ``profile`` is, in words: its unit, and who counted what."""


def costs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, float | int | None]:
    """Return what can be counted of a model for one image of ``shape`` (C, H, W); the same on every machine.

    Keys are those of `MEANING` up to ``file_mb``; MB are 10^6 bytes, MiB 2^20. A count is None where its counter cannot
    follow the model. The model, its mode and the global random state stay as they are. Raises ``UserError`` for an
    image the model cannot take, and for a counter that is not installed.
    """
    subject = copied(model).to("cpu").eval()
    image = torch.zeros(1, *_checked(shape))
    with torch.random.fork_rng(devices=[]):
        _try(subject, image)
        info = counters.torchinfo_counts(subject, image)
        thop, fvcore = counters.macs_thop(subject, image), counters.macs_fvcore(subject, image)
        macs = _by_torch(subject, shape)
    total = count_parameters(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = {
        **{"total_params": total, "trainable_params": trainable, "frozen_params": total - trainable},
        **{"macs_thop": thop, "macs_fvcore": fvcore, "macs_torch": macs, **info},
        "size_mib": measuring.state_bytes(model) / 2**20,
        "file_mb": _file_bytes(model) / 1e6,
    }
    return {key: found[key] for key in MEANING if key in found}


def macs_thop(model: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """Return thop's count of one image of ``shape`` (C, H, W) on a copy without data; None where it fails."""
    return counters.macs_thop(copied(model).to("meta").eval(), torch.zeros(1, *_checked(shape), device="meta"))


def profile(
    model: nn.Module,
    shape: tuple[int, int, int],
    batch_size: int = 1,
    device: str | torch.device = "cpu",
    repeats: int = 30,
) -> dict[str, Any]:
    """Return ``costs`` of one image, and latency, throughput and peak memory of a batch, measured here and now.

    Further keys say under which conditions: batch_size, input_size (the image's side, or [H, W]), in_channels, device,
    device_name, threads, repeats, warm_up, packages. Raises ``UserError`` as ``costs`` does, for a batch or number of
    repeats below 1, and where memory runs out.
    """
    for name, value in (("batch size", batch_size), ("number of repeats", repeats)):
        if value < 1:
            raise UserError(f"the {name} must be at least 1, got {value}")
    device = torch.device(device)
    found = costs(model, shape)
    try:
        batch = torch.zeros(batch_size, *shape, device=device)
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            found |= measuring.latency(model, batch, repeats)
            found["peak_memory_mb"] = measuring.inference_peak(model, batch)
            found["peak_training_mb"] = measuring.training_peak(model, batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
            raise UserError(f"a batch of {batch_size} does not fit into the memory of {device}; take fewer") from None
        raise
    channels, *size = shape
    return {
        **found,
        **{"batch_size": batch_size, "input_size": size[0] if size[0] == size[1] else size, "in_channels": channels},
        **{"device": device.type, "device_name": _device_name(device), "threads": torch.get_num_threads()},
        **{"repeats": repeats, "warm_up": measuring.WARM_UP, "packages": packages()},
    }


def described(name: str, found: dict[str, Any]) -> str:
    """Return what ``profile`` found as aligned text, every number with its unit and who counted it."""
    side = found["input_size"]
    image = f"{found['in_channels']}×{side}×{side}" if isinstance(side, int) else "×".join(map(str, side))
    batch = f"batch of {found['batch_size']}, {found['device']} ({found['device_name']}, threads: {found['threads']})"
    runs = f"{found['repeats']} runs after {found['warm_up']}"
    lines = [f"{name}, one image of {image}"]
    width = max(map(len, MEANING.values()))
    for key, meaning in MEANING.items():
        if key == "latency_ms":
            lines += ["", f"{batch}, {runs}"]
        lines.append(f"  {meaning.ljust(width)}  {_shown(found[key]):>16}")
    if found["peak_training_mb"] is None:
        lines.append("  (no training step: too small a batch for batch norm, all frozen, or more than logits come out)")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def packages() -> dict[str, str]:
    """Return the versions of torch and of the counters; raises ``UserError`` for one that is not installed."""
    try:
        return {name: metadata.version(name) for name in ("torch", *counters.PACKAGES)}
    except metadata.PackageNotFoundError as error:
        raise UserError(f"counting needs {error.name}, which is not installed; install kdlib[study]") from None


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 3 or any(value < 1 for value in shape):
        raise UserError(f"an image is channels × height × width, each at least 1, got {'×'.join(map(str, shape))}")
    return shape


def _try(model: nn.Module, image: torch.Tensor) -> None:
    """One forward pass, so that what the model cannot take is said once and in words."""
    try:
        with torch.inference_mode():
            model(image)
    except Exception as error:
        said = first_line(error)
        size = "×".join(map(str, image.shape[1:]))
        raise UserError(f"the model cannot take an image of {size}: {said}; give a size it takes") from None


def _by_torch(model: nn.Module, shape: tuple[int, int, int]) -> int | None:
    # torch's own counter, not the quick one: it is the check on the others. It has no data: a model may need some.
    with contextlib.suppress(Exception):
        return macs_by_torch(model, shape)
    return None


def _file_bytes(model: nn.Module) -> int:
    from safetensors.torch import save

    # Clones: tied weights lie in the file twice, as records write them. What is no tensor has no place in it.
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    return len(save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    import platform

    return platform.processor() or platform.machine()
