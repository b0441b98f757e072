"""What a model costs: parameters and multiply-accumulates."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights, trainable or not; buffers do not count."""
    return sum(p.numel() for p in model.parameters())


def forward_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return multiply-accumulates of one image's forward pass by torch's own counter (convolution and matmul only).

    The counter gives 2 FLOPs a MAC. It runs on a copy without data, so it costs no arithmetic and leaves nothing
    behind; ``shape`` is (C, H, W).
    """
    ghost = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ghost(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2
