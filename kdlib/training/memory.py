"""How much memory a group of models takes in training, and groups that fit."""

from collections.abc import Sequence

import torch
from torch import nn

from kdlib.data import available_memory
from kdlib.training.job import Job

# What the estimate leaves out: kernels' workspaces, autocast's copies of weights, fragmentation.
_HEADROOM = 0.6


def split(jobs: Sequence[Job], models: Sequence[nn.Module], shape: tuple, limit: int, at_once: int = 1) -> list[range]:
    """Cut jobs into consecutive groups, each of which trains within ``limit`` bytes; a group has at least one.

    Weights, gradients and optimiser states of a group's models add up; of activations only those of the models that
    step at a time count, ``at_once`` times the largest.
    """
    if not jobs:
        return []
    groups, start, fixed, peak = [], 0, 0, 0
    for i, (job, model) in enumerate(zip(jobs, models, strict=True)):
        own, activations = held_bytes(job, model), activation_bytes(model, shape, job.recipe.batch_size)
        if i > start and fixed + own + min(at_once, i - start + 1) * max(peak, activations) > limit:
            groups.append(range(start, i))
            start, fixed, peak = i, 0, 0
        fixed, peak = fixed + own, max(peak, activations)
    return [*groups, range(start, len(jobs))]


def held_bytes(job: Job, model: nn.Module) -> int:
    """Return bytes of weights, gradients, optimiser state and the kept best epoch."""
    slots = 2 if job.recipe.optimizer == "adam" else int(job.recipe.momentum > 0)
    copies = 1 + (job.recipe.select == "best")
    return sum((copies + (1 + slots) * p.requires_grad) * p.numel() * p.element_size() for p in model.parameters())


def activation_bytes(model: nn.Module, shape: tuple, batch_size: int) -> int:
    """Return bytes that autograd keeps between forward and backward of one batch, counted on two samples."""
    held: dict[tuple, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held[(tensor.data_ptr(), tensor.shape)] = tensor.numel() * tensor.element_size()
        return tensor

    weights = {p.data_ptr() for p in model.parameters()}
    device = next(model.parameters()).device
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(torch.zeros(2, *shape, device=device))
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    kept = sum(size for (pointer, _), size in held.items() if pointer not in weights)
    return kept * batch_size // 2


def available(device: torch.device) -> int:
    """Return bytes that a group may take on the device now."""
    if device.type == "cuda":
        return int(_HEADROOM * torch.cuda.mem_get_info(device)[0])
    return int(_HEADROOM * available_memory())
