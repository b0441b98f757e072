"""Multiply-accumulates layer by layer, with torch alone and at next to no cost: every plan counts them."""

from math import prod

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from kdlib.copies import copied
from kdlib.hooks import hooked

_COUNTED = (_ConvNd, nn.Linear)


def layer_macs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the multiply-accumulates of one image's forward pass for each convolution and linear layer, by its name.

    A layer that is called twice counts twice; biases do not count, as in torch's own counter. The pass runs on a copy
    in eval mode and leaves nothing behind; ``shape`` is (C, H, W). A model that cannot take such an image raises what
    it raises.
    """
    subject = copied(model).cpu().eval()
    found: dict[str, int] = {}

    def count(name: str, layer: nn.Module, given: tuple, out: torch.Tensor) -> None:
        found[name] = found.get(name, 0) + _macs(layer, given[0], out)

    layers = [(name, module) for name, module in subject.named_modules() if isinstance(module, _COUNTED)]
    with hooked(layers, count), torch.random.fork_rng(devices=[]), torch.no_grad():
        subject(torch.zeros(1, *shape))
    return found


def covers(model: nn.Module) -> bool:
    """Whether ``layer_macs`` sees all of a model's arithmetic: every weight of two or more dimensions is a layer's."""
    counted = {id(p) for module in model.modules() if isinstance(module, _COUNTED) for p in module.parameters()}
    return all(id(p) in counted for p in model.parameters() if p.dim() > 1)


def _macs(layer: nn.Module, given: torch.Tensor, out: torch.Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return out.numel() * layer.in_features
    # Each output (of a transposed convolution: each input) meets one filter.
    positions = given if isinstance(layer, _ConvTransposeNd) else out
    return positions.numel() * prod(layer.weight.shape[1:])
