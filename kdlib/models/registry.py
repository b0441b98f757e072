"""One registry of architectures; a dotted path works wherever a name does."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import CodeType

import torch
from torch import nn

from kdlib.copies import check_not_lazy
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
        except (Exception, SystemExit) as error:  # a module of the user's own may raise anything
            raise UserError(f"model {name!r} cannot be imported: {_line(error)}") from None
        if isinstance(builder, nn.Module):
            raise UserError(f"model {name!r} is a model itself; name a function that takes num_classes and returns one")
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
    try:
        signature.bind(**given)
    except TypeError as error:
        raise UserError(f"model {name!r} cannot be called with {', '.join(given)}: {error}") from None
    try:
        model = builder(**given)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"model {name!r} cannot be built: {_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise UserError(f"model {name!r} gives a {type(model).__name__}, not a torch.nn.Module")
    # By name: torch._dynamo takes seconds to import.
    if isinstance(model, torch.jit.ScriptModule) or type(model).__name__ == "OptimizedModule":
        made = "scripted" if isinstance(model, torch.jit.ScriptModule) else "compiled"
        raise UserError(f"model {name!r} gives a {made} model; return the torch.nn.Module it was made from")
    if any(p.is_meta for p in model.parameters()) and torch.get_default_device().type != "meta":
        raise UserError(f"model {name!r} gives weights on device meta, which hold no numbers; build it on the CPU")
    first = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), in_channels)
    if "in_channels" not in given and first != in_channels:
        way = "say grayscale=true, or give it an in_channels" if first == 1 else "give it an in_channels"
        raise UserError(f"model {name!r} takes {first} channels, the images have {in_channels}; {way}")
    return model


def _line(error: BaseException) -> str:
    """An error of somebody else's code in one line: its kind, what it says, and the last line of theirs it came by."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if not _installed(Path(frame.filename))]
    # A SyntaxError names its file and line itself.
    place = "" if isinstance(error, SyntaxError) or not theirs else f" ({theirs[-1].filename}:{theirs[-1].lineno})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _installed(path: Path) -> bool:
    """Whether a file is Python's own, an installed package's or kdlib's; code without a file counts as such."""
    folders = [Path(sysconfig.get_path(key)) for key in ("purelib", "platlib", "stdlib")] + [Path(__file__).parents[1]]
    return not path.is_file() or any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def code(name: str, num_classes: int, in_channels: int) -> dict[str, str] | None:
    """Return what a name alone does not say of a user's model: digests of its parameters and of its source.

    ``parameters``: names and shapes; ``source``: the files of the builder and of the built modules' classes, and of
    what these files import in their turn, but for packages they do not belong to. None for kdlib's own models, whose
    code the version and commit in a record name; of timm's the version is told.
    """
    return _code(check(name), name, num_classes, in_channels)


@cache  # of the builder, not of its name: a notebook may register a name anew
def _code(builder: Builder, name: str, num_classes: int, in_channels: int) -> dict[str, str] | None:
    settings: list[str] = []
    while isinstance(builder, partial):
        settings.append(repr((builder.args, sorted(builder.keywords.items()))))
        builder = builder.func
    own = getattr(builder, "__module__", "") or ""
    if own.startswith("kdlib.") and not name.startswith(from_timm.PREFIX) and not settings:
        return None
    model = build(name, num_classes, in_channels)
    check_not_lazy(model)
    shapes = [f"{key} {tuple(p.shape)}" for key, p in model.named_parameters()]
    found = {"parameters": _digest("\n".join(shapes).encode())}
    if name.startswith(from_timm.PREFIX):
        # Its files import each other by the hundred: the version says what they hold.
        return found | {"timm": version("timm")}
    classes = {type(module) for module in model.modules()}
    files = _files({own, *(cls.__module__ for cls in classes)})
    parts = [path.read_bytes() for path in sorted(files)]
    # What was typed into a notebook or a shell has no file: its byte code stands for it.
    typed = [builder, *(method for cls in classes for method in vars(cls).values())]
    parts += sorted(_bytecode(thing.__code__) for thing in typed if _has_no_file(thing))
    return found | {"source": _digest(b"\0".join([*parts, *(text.encode() for text in settings)]))}


def _has_no_file(thing: object) -> bool:
    return inspect.isfunction(thing) and not Path(thing.__code__.co_filename).is_file()


def _bytecode(code: CodeType) -> bytes:
    """What a function computes, without the place where it was written."""
    constants = [_bytecode(c).hex() if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return b"\0".join([code.co_code, repr((code.co_names, constants)).encode()])


def _files(modules: set[str]) -> set[Path]:
    """Files of modules and of what they import; torch's, and installed packages of no module here, do not count.

    Read off the files' import statements: what else a process has imported does not matter.
    """
    packages = {name.partition(".")[0] for name in modules} - {"torch", "kdlib"}
    found: set[Path] = set()
    seen, todo = set(), list(modules)
    while todo:
        name = todo.pop()
        top = name.partition(".")[0]
        if name in seen or top in ("", "torch", "kdlib", "__main__"):
            continue
        seen.add(name)
        try:
            spec = importlib.util.find_spec(name)
        except Exception:  # it imports the packages around, which may raise anything
            continue
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        path = Path(spec.origin).resolve()
        if top not in packages and _installed(path):
            continue
        found.add(path)
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                with suppress(ImportError):  # out of the package, as a fallback may be written
                    base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                    todo += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
