"""Watching a model's modules at work."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn


@contextmanager
def hooked(modules: Iterable[tuple[str, nn.Module]], hook: Callable[..., Any], before: bool = False) -> Iterator[None]:
    """Call ``hook(name, module, inputs, output)`` after each forward of the named modules, or, ``before`` it,
    ``hook(name, module, inputs)``, which may return other inputs. No hook outlives the block, however it ends."""
    with ExitStack() as stack:
        for name, module in modules:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(partial(hook, name)).remove)
        yield
