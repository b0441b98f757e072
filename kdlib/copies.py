"""Copies of models, of those too that torch does not copy."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kdlib.errors import UserError


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model; tensors with a history that it keeps (a feature map, ``weight_norm``'s weight)
    come without it.

    Raises ``UserError`` for a model with lazy layers that have not seen an image yet.
    """
    check_not_lazy(model)
    known = {id(kept): kept.detach().clone() for module in model.modules() for kept in _kept(vars(module))}
    return copy.deepcopy(model, known)


def on_cpu(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a model's state dict, contiguous, on the CPU, with the versions of its modules."""
    state = copy.copy(model.state_dict())  # keeps _metadata, which a new dict would not
    for name, tensor in state.items():
        state[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return state


def check_not_lazy(model: nn.Module) -> None:
    """Raise ``UserError`` for a model with lazy layers that have not seen an image yet."""
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(parameter):
            layer = name.rpartition(".")[0]
            raise UserError(
                f"layer {layer} of {type(model).__name__} is lazy and has no weights yet; let the function that "
                "builds the model run it once on zeros of the images' size"
            )


def _kept(held: Any) -> Iterator[torch.Tensor]:
    """The tensors with a history among what a module holds, in lists and dicts too."""
    if isinstance(held, torch.Tensor):
        if not held.is_leaf:
            yield held
    elif isinstance(held, (dict, list, tuple)):
        for item in held.values() if isinstance(held, dict) else held:
            yield from _kept(item)
