"""Start from weights that exist: ImageNet ones, a checkpoint file, a model trained before."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import pathlib
import re
import types
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlib.errors import UserError, did_you_mean
from kdlib.models import from_timm
from kdlib.models.registry import build

# Registered models whose features are a torchvision backbone's, by torchvision's own name for it.
BACKBONES = {
    "resnet18_transfer": "resnet18",
    "densenet121_fc": "densenet121",
    "mobilenetv2_fc": "mobilenet_v2",
    "densenet121_xray": "densenet121",
    "mobilenetv2_xray": "mobilenet_v2",
    "mobilenetv2_xray_dropout": "mobilenet_v2",
    "resnet50": "resnet50",
    "efficientnet_b4": "efficientnet_b4",
}
State = dict[str, torch.Tensor]
# Where training scripts put the state dict in what they save.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "student")


def imagenet_name(model: str) -> str:
    """Return which ImageNet weights belong to a model, such as ``ResNet18_Weights.IMAGENET1K_V1``.

    ``model``: a registered name, ``timm/NAME`` or ``torchvision.models:<builder>``. Raises ``UserError`` for a model
    without any.
    """
    if model.startswith(from_timm.PREFIX):
        return from_timm.weights_name(model.removeprefix(from_timm.PREFIX))
    return str(_imagenet(model))


def imagenet(model: str) -> State:
    """Return the ImageNet weights of a model or its backbone: from a package, torchvision's cache, or the network.

    Raises ``UserError`` where they cannot be had; it names the file and where torchvision looks for it.
    """
    if model.startswith(from_timm.PREFIX):
        return from_timm.weights(model.removeprefix(from_timm.PREFIX))
    from torchvision.models import get_model

    weights = _imagenet(model)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = weights.url.rsplit("/", 1)[1]
    try:
        # The builder also renames the keys of files older than the present module names.
        return get_model(_backbone(model), weights=weights, progress=False).state_dict()
    except (OSError, RuntimeError) as error:  # no network, no such host, a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"ImageNet weights {file} cannot be had ({reason}): put the file into {folder}, "
            "or say weights=source (a source task trained here) or weights=PATH"
        ) from None


def head_of(model: str) -> str:
    """Return the module of a model that classifies: timm's word for its own, else the last child with a linear layer.

    Raises ``UserError`` for a model that has none.
    """
    if model.startswith(from_timm.PREFIX):
        return from_timm.head(model.removeprefix(from_timm.PREFIX))
    children = build(model, 2).named_children()
    found = [name for name, child in children if any(isinstance(m, nn.Linear) for m in child.modules())]
    if not found:
        raise UserError(f"model {model!r} has no linear layer that classifies, and so no head to begin anew")
    return found[-1]


def _backbone(model: str) -> str:
    name = model.removeprefix("torchvision.models:")
    return BACKBONES.get(model, name if name != model else "")


def _imagenet(model: str):
    from torchvision.models import get_model_weights

    backbone = _backbone(model)
    try:
        return get_model_weights(backbone).IMAGENET1K_V1
    except (ValueError, AttributeError):
        raise UserError(
            f"torchvision has no ImageNet weights for model {model!r}; say weights=source, or weights=PATH"
        ) from None


def checkpoint(path: str | Path) -> State:
    """Return a checkpoint's tensors: a ``.safetensors`` file, or one that ``torch.load(weights_only=True)`` takes.

    A state dict under one of the names in ``NESTED`` is found too, beside numpy numbers, an ``argparse.Namespace``,
    paths and the like; nothing is unpickled that could run code. Raises ``UserError`` for a file that holds none.
    """
    path = _file(path)
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise UserError(f"weights: {path} is a pointer of git-lfs, not the file itself; run git lfs pull")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(_harmless()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling refuses in many ways
        raise UserError(f"weights: {path} {_refused(error)}") from None
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        held = f"; at its top are {', '.join(map(str, list(found)[:6]))}" if isinstance(found, dict) and found else ""
        raise UserError(f"weights: {path} holds no state dict (a mapping of names to tensors){held}")
    return found


def _harmless() -> list:
    """What people keep beside tensors, and what nothing but itself comes of."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdg"]
    paths = [pathlib.PosixPath, pathlib.PurePosixPath]
    return [argparse.Namespace, types.SimpleNamespace, scalar, np.dtype, *dtypes, *paths, datetime.datetime]


def _refused(error: Exception) -> str:
    """Why a file cannot be read, in words of this package: torch's own offer ways that run code."""
    if found := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
        return (
            f"holds an object of {found[1].strip('`.,')}, which is code and not tensors: "
            "save model.state_dict() with torch.save, and name that file"
        )
    said = re.split(r"[.:] |$", " ".join(str(error).split()))[0]
    return f"is no checkpoint of tensors alone: {said or type(error).__name__}"


def digest(path: str | Path) -> str:
    """Return the first 16 hex digits of a checkpoint file's SHA-256; ``UserError`` where there is no such file."""
    with _file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _file(path: str | Path) -> Path:
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UserError(f"weights: {path} {what}; say imagenet, source, or the path of a checkpoint file")
    return path


def start_from(model: nn.Module, state: State, head: str = "", whole: bool = False) -> list[str]:
    """Load into the model every tensor that fits by name and shape, but for those below the module ``head``.

    A prefix that wrappers put before every name (``module.``, ``model.``, ``_orig_mod.``) is passed over.

    Returns the names that stay as they were, in the model's order. Raises ``UserError`` when no weight fits, and with
    ``whole`` when one does not.
    """
    own = model.state_dict()
    state = _unwrapped(state, own)
    fits = OrderedDict(
        (name, state[name])
        for name, tensor in own.items()
        if name in state and state[name].shape == tensor.shape and not below(name, head)
    )
    # The versions of the modules, without which some (torchvision's MNASNet) take weights for old ones.
    fits._metadata = getattr(state, "_metadata", own._metadata)
    weights = {name for name, _ in model.named_parameters()}
    if wrong := next((name for name, tensor in fits.items() if not bool(torch.isfinite(tensor).all())), None):
        raise UserError(f"weights: {wrong} holds NaN or infinite numbers; take a checkpoint from before it diverged")
    if not weights & set(fits):
        raise UserError(
            f"weights: none of the {len(state)} tensors fits {type(model).__name__} by name and shape; "
            "they belong to another architecture"
        )
    left = [name for name in own if name not in fits]
    if whole and left:
        raise UserError(f"weights: {left[0]} of {type(model).__name__} is not in the checkpoint, or of another shape")
    model.load_state_dict(fits, strict=False)
    return left


def _unwrapped(state: State, own: State) -> State:
    """Return the state with the prefix gone under which most of the model's names are found, if there is one."""
    if any(name in state for name in own):
        return state
    last = next(reversed(own), "")
    prefixes = [key.removesuffix(last) for key in state if key.endswith(f".{last}")]
    found = {prefix: sum(prefix + name in state for name in own) for prefix in prefixes}
    best = max(found, key=found.get, default="")
    if rivals := [prefix for prefix in found if prefix != best and found[prefix] == found[best]]:
        both = " and ".join(repr(prefix) for prefix in sorted([best, *rivals]))
        raise UserError(f"weights: the checkpoint holds several such models, under {both}; save the one that is meant")
    found = OrderedDict((key.removeprefix(best), value) for key, value in state.items() if key.startswith(best))
    if versions := getattr(state, "_metadata", None):
        found._metadata = OrderedDict((key.removeprefix(best), value) for key, value in versions.items())
    return found


def open_only(model: nn.Module, prefixes: Iterable[str]) -> None:
    """Freeze every parameter but those of the named modules (``layer4``, ``layer4.1``, ``fc``).

    Batch norms whose weights are frozen keep their statistics in training, too (``kdlib.training`` sees to it). Raises
    ``UserError`` for a name that leads to no parameter.
    """
    prefixes = list(prefixes)
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(below(name, prefix) for name in names):
            known = [name for name, module in model.named_children() if any(True for _ in module.parameters())]
            raise UserError(f"{type(model).__name__} has no layer {prefix!r} to open; {did_you_mean(prefix, known)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(below(name, prefix) for prefix in prefixes))


def below(name: str, prefix: str) -> bool:
    """Return whether a parameter or module of this name is the module ``prefix`` or lies in it; "" holds nothing."""
    return bool(prefix) and (name == prefix or name.startswith(f"{prefix}."))
