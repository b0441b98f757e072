"""One registry of architectures; a dotted path works wherever a name does."""

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from kdlib.errors import UserError, did_you_mean

Builder = Callable[..., nn.Module]
_BUILDERS: dict[str, Builder] = {}


def register(name: str, builder: Builder | None = None) -> Builder:
    """Register ``builder(num_classes, in_channels=3)`` under ``name``: as a call, or as a decorator.

    A builder that takes no ``in_channels`` is called without it.
    """
    if builder is None:
        return lambda function: register(name, function)
    _BUILDERS[name] = builder
    return builder


def names() -> list[str]:
    """Return every registered name, sorted."""
    return sorted(_BUILDERS)


def check(name: str) -> Builder:
    """Return the builder behind a registered name or a dotted path such as ``mypkg.models:build``.

    Raises ``UserError`` for a name that leads to no builder.
    """
    if name in _BUILDERS:
        return _BUILDERS[name]
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            builder = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(f"model {name!r} cannot be imported: {error}") from None
        if not callable(builder):
            raise UserError(f"model {name!r} is not callable; name a function that takes num_classes")
        return builder
    raise UserError(f"unknown model {name!r}; {did_you_mean(name, names())} (or a path like mypkg.models:build)")


def build(name: str, num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build a freshly initialised model that maps (B, in_channels, H, W) to logits (B, num_classes).

    The initialisation draws from torch's global generator. Raises ``UserError`` for an unknown name, or for a
    builder that cannot take ``in_channels`` other than 3.
    """
    builder = check(name)
    parameters = inspect.signature(builder).parameters.values()
    takes_channels = any(p.name == "in_channels" or p.kind is p.VAR_KEYWORD for p in parameters)
    if takes_channels:
        return builder(num_classes=num_classes, in_channels=in_channels)
    if in_channels != 3:
        raise UserError(f"model {name!r} takes 3 channels, the images have {in_channels}; give it an in_channels")
    return builder(num_classes=num_classes)
