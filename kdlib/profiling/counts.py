"""What can be counted of a model: parameters, multiply-accumulates by five counters, sizes; and the whole ``profile``.

torch alone counts layer by layer at next to no cost, for every plan; three packages count each in its own way.
"""

import contextlib
import io
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.flop_counter import FlopCounterMode

from kdlib.copies import copied
from kdlib.errors import UserError, first_line, of_the_machine
from kdlib.hooks import hooked
from kdlib.profiling import timing

PACKAGES = ("torchinfo", "thop", "fvcore")
LAYERS = (_ConvNd, nn.Linear)
"""What is counted, and pruned, channel by channel."""

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


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights, trainable or not; buffers do not count."""
    return sum(p.numel() for p in model.parameters())


def forward_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return multiply-accumulates of one image's forward pass: convolutions and matrix products, as torch counts them.

    Where convolutions and linear layers hold all weights these are counted one by one, which takes milliseconds; other
    models go to torch's own counter, whose first use in a process imports torch's compiler, some seconds. Products of
    activations alone count only there. Leaves nothing behind; ``shape`` is (C, H, W). A model that cannot take such an
    image raises what it raises.
    """
    counted = {id(p) for module in model.modules() if isinstance(module, LAYERS) for p in module.parameters()}
    if all(id(p) in counted for p in model.parameters() if p.dim() > 1):
        return sum(layer_macs(model, shape).values())
    return by_torch(model, shape)


def by_torch(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the same by torch's ``FlopCounterMode``, which gives 2 FLOPs a MAC, on a copy without data."""
    ghost = copied(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ghost(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def layer_macs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the multiply-accumulates of one image's forward pass for each convolution and linear layer, by its name.

    A layer that is called twice counts twice; biases do not count, as in torch's own counter. The pass runs on a copy
    in eval mode and leaves nothing behind; ``shape`` is (C, H, W). A model that cannot take such an image raises what
    it raises.
    """
    subject = copied(model).cpu().eval()
    found: dict[str, int] = {}

    def count(name: str, layer: nn.Module, given: tuple, out: torch.Tensor) -> None:
        found[name] = found.get(name, 0) + _macs(layer, given[0], out)

    layers = [(name, module) for name, module in subject.named_modules() if isinstance(module, LAYERS)]
    with hooked(layers, count), torch.random.fork_rng(devices=[]), torch.no_grad():
        subject(torch.zeros(1, *shape))
    return found


def _macs(layer: nn.Module, given: torch.Tensor, out: torch.Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return out.numel() * layer.in_features
    # Each output (of a transposed convolution: each input) meets one filter.
    positions = given if isinstance(layer, _ConvTransposeNd) else out
    return positions.numel() * prod(layer.weight.shape[1:])


def costs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, float | int | None]:
    """Return what can be counted of a model for one image of ``shape`` (C, H, W); the same on every machine.

    Keys are those of `MEANING` up to ``file_mb``; MB are 10^6 bytes, MiB 2^20. A count is None where its counter cannot
    follow the model. The model, its mode and the global random state stay as they are. Raises ``UserError`` for an
    image the model cannot take, and for a counter that is not installed.
    """
    subject = copied(model).to("cpu").eval()
    image = torch.zeros(1, *_checked(shape))
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.inference_mode():
                subject(image)
        except Exception as error:
            reason = first_line(error)
            size = "×".join(map(str, shape))
            raise UserError(f"the model cannot take an image of {size}: {reason}; give a size it takes") from None
        found = by_torchinfo(subject, image)
        found |= {"macs_thop": by_thop(subject, image), "macs_fvcore": by_fvcore(subject, image), "macs_torch": None}
        # torch's own counter, not the quick one: it is the check on the others. It has no data: a model may need some.
        with contextlib.suppress(Exception):
            found["macs_torch"] = by_torch(subject, shape)
    total = count_parameters(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found |= {"total_params": total, "trainable_params": trainable, "frozen_params": total - trainable}
    found |= {"size_mib": timing.state_bytes(model) / 2**20, "file_mb": _file_bytes(model) / 1e6}
    return {key: found[key] for key in MEANING if key in found}


def macs_thop(model: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """Return thop's count of one image of ``shape`` (C, H, W), without data where that works; None where it fails."""
    image = torch.zeros(1, *_checked(shape))
    return by_thop(copied(model).to("meta").eval(), image.to("meta")) or by_thop(copied(model).cpu().eval(), image)


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
            found |= timing.latency(model, batch, repeats)
            found["peak_memory_mb"] = timing.inference_peak(model, batch)
            found["peak_training_mb"] = timing.training_peak(model, batch)
    except RuntimeError as error:
        if of_the_machine(error):
            raise UserError(f"a batch of {batch_size} does not fit into the memory of {device}; take fewer") from None
        raise
    channels, *size = shape
    cpu = platform.processor() or platform.machine()
    return {
        **found,
        "batch_size": batch_size,
        "input_size": size[0] if size[0] == size[1] else size,
        "in_channels": channels,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if cuda else cpu,
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "warm_up": timing.WARM_UP,
        "packages": packages(),
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
        return {name: metadata.version(name) for name in ("torch", *PACKAGES)}
    except metadata.PackageNotFoundError as error:
        raise UserError(f"counting needs {error.name}, which is not installed; install kdlib[study]") from None


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 3 or any(value < 1 for value in shape):
        raise UserError(f"an image is channels × height × width, each at least 1, got {'×'.join(map(str, shape))}")
    return shape


def _file_bytes(model: nn.Module) -> int:
    from safetensors.torch import save

    # Clones: tied weights lie in the file twice, as records write them. What is no tensor has no place in it.
    state = {name: held for name, held in model.state_dict().items() if isinstance(held, torch.Tensor)}
    return len(save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}))


def by_torchinfo(model: nn.Module, image: torch.Tensor) -> dict[str, float | None]:
    """Return torchinfo's mult-adds (convolutions, linear and norm layers) and its megabytes of 10^6 bytes.

    ``fwd_bwd_mb``: outputs of layers with parameters, twice, for their gradients; ``params_mb``: their weights;
    ``total_mb``: both and the input, ``image`` (1, C, H, W). All None where it fails, as on a part that returns no
    tensor.
    """

    def count(torchinfo: ModuleType) -> dict[str, float]:
        found = torchinfo.summary(copied(model).eval(), input_data=image, verbose=0, mode="eval")
        sizes = found.total_input, found.total_output_bytes, found.total_param_bytes
        megabytes = (size / 1e6 for size in (*sizes, sum(sizes)))
        return dict(zip(keys, (found.total_mult_adds, *megabytes), strict=True))

    keys = ("mult_adds", "input_mb", "fwd_bwd_mb", "params_mb", "total_mb")
    return _ask("torchinfo", count) or dict.fromkeys(keys)


def by_thop(model: nn.Module, image: torch.Tensor) -> int | None:
    """Return thop's count of one forward pass: modules it has a rule for, batch norm included; None where it fails."""
    return _ask("thop", lambda thop: int(thop.profile(copied(model), inputs=(image,), verbose=False)[0]))


def by_fvcore(model: nn.Module, image: torch.Tensor) -> int | None:
    """Return fvcore's "flops", which are MACs: traced operations, batch norm and pooling in; None where it fails."""

    def count(fvcore: ModuleType) -> int:
        found = fvcore.FlopCountAnalysis(copied(model).eval(), image)
        found.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return int(found.total())

    return _ask("fvcore.nn", count)


def _ask(name: str, count: Callable[[ModuleType], Any]) -> Any:
    """Return ``count(package)``, None where it fails; it counts on a copy, for thop leaves buffers and torchinfo modes
    behind, above all when a model fails half way. Raises ``UserError`` for a package that is not installed."""
    try:
        with silence():
            package = import_module(name)
    except ImportError as error:
        name = name.split(".")[0]
        raise UserError(f"counting needs {name}, which cannot be imported ({error}); install kdlib[study]") from None
    with silence(), contextlib.suppress(Exception):
        return count(package)
    return None


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What a package prints, logs or warns of goes nowhere; the random state comes out as it went in."""
    off = logging.root.manager.disable
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(off)
