"""Take channels out of a model, layer by layer, as a history says; no tracing."""

import torch
from torch import nn

from kdlib.errors import UserError
from kdlib.pruning.structure import Structure, ties

History = list[list[tuple[str, str, list[int]]]]
"""One entry a step: (layer, "out" or "in", channels that left it, counted before the step)."""


def cuts(structure: Structure, removed: dict[str, torch.Tensor]) -> list[tuple[str, str, list[int]]]:
    """Return what leaves each side of each layer when ``removed`` (set -> channels) goes."""
    found: dict[tuple[str, str], set[int]] = {}
    for channels in structure.sets:
        if channels.name not in removed:
            continue
        leaves = torch.zeros(channels.size, dtype=torch.bool)
        leaves[removed[channels.name]] = True
        for member in channels.members:
            found.setdefault((member.layer, member.side), set()).update(member.index[leaves[member.root]].tolist())
    return [(layer, side, sorted(index)) for (layer, side), index in found.items() if index]


def replay(model: nn.Module, history: History) -> nn.Module:
    """Cut a model in place as ``history`` says and return it; frozen parameters stay frozen, modes stay.

    The same as pruning did, for a fresh model of the same architecture; parameters that layers share stay shared.
    Raises ``UserError`` for a history that belongs to another architecture.
    """
    from torch_pruning import ops
    from torch_pruning.pruner.function import PrunerBox

    for step in history:
        shared = ties(model)
        for name, side, index in step:
            try:
                layer = model.get_submodule(name)
                trained = {key: p.requires_grad for key, p in layer.named_parameters(recurse=False)}
                handler = PrunerBox[ops.module2type(layer)]
                cut = handler.prune_out_channels if side == "out" else handler.prune_in_channels
                cut(layer, list(index))
            except (AttributeError, KeyError, IndexError, AssertionError, RuntimeError) as error:
                raise UserError(f"this pruning history belongs to another architecture: {name}: {error}") from None
            for key, p in layer.named_parameters(recurse=False):
                p.requires_grad_(trained[key])
                p.grad = None
        for (owner, key), *others in shared:
            for module, other in others:
                if getattr(module, other).shape == getattr(owner, key).shape:
                    setattr(module, other, getattr(owner, key))
    return model
