"""Take a pruned model away and bring it back: tensors and history in one file that is never unpickled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlib import models
from kdlib.copies import check_not_lazy, on_cpu
from kdlib.errors import UserError, first_line
from kdlib.files import whole
from kdlib.pruning.structure import History, replay

_FORMAT = "kdlib pruned model 1"


def save(path: str | Path, model: nn.Module, history: History, build: dict[str, Any] | None = None) -> Path:
    """Write a pruned model's tensors and history, whole or not at all; ``torch.load(weights_only=True)`` reads it.

    ``build``: the arguments of ``kdlib.models.build`` that give the unpruned architecture (name, num_classes,
    in_channels); without it `load` must be told how to build. Raises ``UserError`` for a model whose state is not of
    tensors alone, and for a file named .safetensors.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix == ".safetensors":
        raise UserError(f"{path} holds a history beside the tensors, which safetensors cannot; call it {path.stem}.pt")
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{type(model).__name__} keeps {name} in its state; only tensors can be stored")
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = [[[layer, side, list(index)] for layer, side, index in step] for step in history]
    with whole(path) as aside:
        torch.save({"format": _FORMAT, "build": build, "history": steps, "state_dict": on_cpu(model)}, aside)
    return path


def load(path: str | Path, build: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Return the pruned model of a file, in eval mode, on the CPU.

    ``build`` gives the unpruned architecture; without it the file's own entry does. Raises ``UserError`` for a file
    that is no pruned model, and for another architecture.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling refuses in many ways
        raise UserError(f"{path} is no pruned model: {first_line(error)}") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise UserError(f"{path} is no pruned model: write it with kdlib.pruning.save")
    if build is None and not found["build"]:
        raise UserError(f"{path} does not say how its model is built; pass build=")
    model = build() if build else models.build(**found["build"])
    check_not_lazy(model)
    replay(model, found["history"])
    try:
        model.load_state_dict(found["state_dict"])
    except RuntimeError as error:
        raise UserError(f"{path} belongs to another architecture: {first_line(error)}") from None
    return model.eval()
