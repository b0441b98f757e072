"""One registry of architectures; a dotted path works wherever a name does."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from torch import nn

from kdlib.errors import UserError, did_you_mean
from kdlib.models import from_timm

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
    """Return the builder behind a registered name, ``timm/NAME`` or a dotted path such as ``mypkg.models:build``.

    Raises ``UserError`` for a name that leads to no builder.
    """
    if name in _BUILDERS:
        return _BUILDERS[name]
    if name.startswith(from_timm.PREFIX):
        return from_timm.builder(name.removeprefix(from_timm.PREFIX))
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
    hint = did_you_mean(name, names())
    raise UserError(f"unknown model {name!r}; {hint} (or timm/NAME, or a path like mypkg.models:build)")


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


@cache
def code(name: str, num_classes: int, in_channels: int) -> dict[str, str] | None:
    """Return what a name alone does not say of a user's model: digests of its parameters and of its source.

    ``parameters``: names and shapes; ``source``: the files of the builder and of the built modules' classes, and those
    that they take names from within their own packages. None for kdlib's own models, whose code the version and commit
    in a record name. What is cached holds for the life of a process, as imported code does.
    """
    builder = check(name)
    if getattr(builder, "__module__", "").startswith("kdlib.") and not name.startswith(from_timm.PREFIX):
        return None
    model = build(name, num_classes, in_channels)
    shapes = [f"{key} {tuple(p.shape)}" for key, p in model.named_parameters()]
    found = {"parameters": _digest("\n".join(shapes).encode())}
    if name.startswith(from_timm.PREFIX):
        # Its files import each other by the hundred: the version says what they hold.
        return found | {"timm": version("timm")}
    classes = {type(module).__module__ for module in model.modules()}
    return found | {"source": _source({name.partition(":")[0], getattr(builder, "__module__", ""), *classes})}


def _source(modules: set[str]) -> str:
    """Digest of the files of modules and of what they import from within their top packages; torch's do not count."""
    found: dict[str, bytes] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if name in found or name.partition(".")[0] in ("torch", "kdlib") or not file or not Path(file).is_file():
            continue
        found[name] = Path(file).read_bytes()
        for used in vars(module).values():
            other = used.__name__ if isinstance(used, ModuleType) else getattr(used, "__module__", None)
            if isinstance(other, str) and other.partition(".")[0] == name.partition(".")[0]:
                todo.append(other)
    return _digest(b"\0".join(found[name] for name in sorted(found)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
