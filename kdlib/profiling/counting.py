"""Parameters and multiply-accumulates with torch alone, cheap enough for planning."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdlib.copies import copied
from kdlib.profiling.layers import covers, layer_macs


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights, trainable or not; buffers do not count."""
    return sum(p.numel() for p in model.parameters())


def forward_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return multiply-accumulates of one image's forward pass: convolutions and matrix products, as torch counts them.

    Where convolutions and linear layers hold all weights these are counted one by one, which takes milliseconds; other
    models go to torch's own counter, whose first use in a process imports torch's compiler, some seconds. Products of
    activations alone count only there. Leaves nothing behind; ``shape`` is (C, H, W). A model that cannot take such an
    image raises what it raises.
    """
    if covers(model):
        return sum(layer_macs(model, shape).values())
    return macs_by_torch(model, shape)


def macs_by_torch(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the same by torch's ``FlopCounterMode``, which gives 2 FLOPs a MAC, on a copy without data."""
    ghost = copied(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ghost(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2
