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
        # ValueError and TypeError: a path that starts with a colon or a dot.
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise UserError(f"model {name!r} cannot be imported: {error}") from None
        if not callable(builder):
            raise UserError(f"model {name!r} is not callable; name a function that takes num_classes")
        return builder
    raise UserError(f"unknown model {name!r}; {did_you_mean(name, names())} (or a path like mypkg.models:build)")


def build(name: str, num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build a freshly initialised model that maps (B, in_channels, H, W) to logits (B, num_classes).

    The initialisation draws from torch's global generator. Raises ``UserError`` for an unknown name, or for a
    builder that does not take ``num_classes``, cannot take ``in_channels`` other than 3, or gives no module.
    """
    builder = check(name)
    signature = inspect.signature(builder)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    given = {"num_classes": num_classes}
    # torchvision's builders take any keyword and refuse this one later: it is passed only where it must be.
    if "in_channels" in signature.parameters or (takes_any and in_channels != 3):
        given["in_channels"] = in_channels
    elif in_channels != 3:
        raise UserError(f"model {name!r} takes 3 channels, the images have {in_channels}; give it an in_channels")
    try:
        signature.bind(**given)
    except TypeError as error:
        raise UserError(f"model {name!r} cannot be called with {', '.join(given)}: {error}") from None
    model = builder(**given)
    if not isinstance(model, nn.Module):
        raise UserError(f"model {name!r} gives a {type(model).__name__}, not a torch.nn.Module")
    return model
