"""Three packages that count what torch counts, each in its own way; every one gets a copy of its own.

Copies, because thop leaves buffers and torchinfo modes behind, above all when a model fails half way.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import torch
from torch import nn

from kdlib.copies import copied
from kdlib.errors import UserError

PACKAGES = ("torchinfo", "thop", "fvcore")
MEGA = 1e6


def imported(name: str) -> ModuleType:
    """Import a counter's package; raises ``UserError`` where it is not installed."""
    try:
        with _silence():
            return import_module(name)
    except ImportError as error:
        raise UserError(
            f"counting needs {name.split('.')[0]}, which cannot be imported ({error}); install kdlib[study]"
        ) from None


def torchinfo_counts(model: nn.Module, image: torch.Tensor) -> dict[str, float | None]:
    """Return torchinfo's mult-adds (convolutions, linear and norm layers) and its megabytes of 10^6 bytes.

    ``fwd_bwd_mb``: outputs of layers with parameters, twice, for their gradients; ``params_mb``: their weights;
    ``total_mb``: both and the input, ``image`` (1, C, H, W). All None where it fails, as on a part that returns no
    tensor.
    """
    torchinfo = imported("torchinfo")
    found = None
    with _silence(), contextlib.suppress(Exception):
        found = torchinfo.summary(copied(model).eval(), input_data=image, verbose=0, mode="eval")
    if found is None:
        return dict.fromkeys(("mult_adds", "input_mb", "fwd_bwd_mb", "params_mb", "total_mb"))
    sizes = found.total_input, found.total_output_bytes, found.total_param_bytes
    names = ("input_mb", "fwd_bwd_mb", "params_mb")
    return {
        "mult_adds": found.total_mult_adds,
        **{name: size / MEGA for name, size in zip(names, sizes, strict=True)},
        "total_mb": sum(sizes) / MEGA,
    }


def macs_thop(model: nn.Module, image: torch.Tensor) -> int | None:
    """Return thop's count of one forward pass: modules it has a rule for, batch norm included; None where it fails."""
    thop = imported("thop")
    with _silence(), contextlib.suppress(Exception):
        return int(thop.profile(copied(model), inputs=(image,), verbose=False)[0])
    return None


def macs_fvcore(model: nn.Module, image: torch.Tensor) -> int | None:
    """Return fvcore's "flops", which are MACs: traced operations, batch norm and pooling in; None where it fails."""
    fvcore = imported("fvcore.nn")
    with _silence(), contextlib.suppress(Exception):
        found = fvcore.FlopCountAnalysis(copied(model).eval(), image)
        found.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return int(found.total())
    return None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What a package prints, logs or warns of goes nowhere; the random state comes out as it went in."""
    off = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(off)
