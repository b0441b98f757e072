"""What a model does with the data set's images, seen before anything is trained: what is checked is what is run."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlib.copies import check_not_lazy
from kdlib.data import Dataset
from kdlib.errors import UserError, first_line
from kdlib.progress import note
from kdlib.training.device import autocast


@dataclass(frozen=True)
class Handling:
    """How a model is run: in which memory format it gets its images; as a copy where it ``writes`` into them; whether
    it has ``auxiliary`` outputs in training (GoogLeNet, Inception), of which the main logits alone count; and whether
    some of its weights lead to no logits and stay ``unused``.
    """

    memory_format: torch.memory_format
    writes: bool
    auxiliary: bool = False
    unused: bool = False

    def run(self, model: nn.Module, images: torch.Tensor, name: str) -> torch.Tensor:
        """Return what the model ``name`` answers to images (B, C, H, W), which stay as they are.

        Raises ``UserError`` for a model that writes into them and did not when it was tried.
        """
        given = images.contiguous(memory_format=self.memory_format)
        if self.writes and given is images:
            given = given.clone()
        version = given._version
        answer = model(given)
        if given is images and given._version != version:
            raise UserError(f"{name} writes into its images, which others see too; let it write into a copy")
        return _main(answer) if self.auxiliary and model.training else answer


def _main(answer: object) -> object:
    """The logits among a model's outputs: those it calls so, or the first."""
    if isinstance(logits := getattr(answer, "logits", None), torch.Tensor):
        return logits
    return answer[0] if isinstance(answer, (tuple, list)) and answer else answer


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed what a model draws from (dropout): torch on the CPU and, where it runs there, the GPU; Python; numpy."""
    # torch.manual_seed would also note, for backends that are not in use, where it was called from: 0.4 ms a step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextmanager
def random_states(devices: Sequence[int] = ()) -> Iterator[None]:
    """Leave the caller's random states, of torch, Python and numpy, as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def check_model(
    model: nn.Module,
    dataset: Dataset,
    name: str,
    batch_size: int = 2,
    precision: str = "fp32",
    *,
    trains: bool = True,
) -> Handling:
    """Try the model as it will run, in eval mode and (if it ``trains``) a training step, and say how to handle it.

    channels_last memory where the model takes it, else contiguous; its weights are brought into that format. Modes and
    buffers are left as they were. Raises ``UserError`` unless the model takes the data set's images, gives one logit a
    class, and trains: with batches of one image batch norm cannot.
    """
    check_not_lazy(model)
    weight = next(model.parameters(), None)
    if weight is None:
        raise UserError(f"{name} has no weights, so there is nothing to train; name a network")
    if trains and batch_size == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise UserError(f"{name} has batch norm, which cannot train on single images; use batch_size 2 or more")
    if trains:
        _check_trainable(model, name)
    for memory_format in (torch.channels_last, torch.contiguous_format):
        try:
            model.to(memory_format=memory_format)
            # One image is also what the last batch of a split may hold.
            batches = [torch.zeros((count, *dataset.shape), device=weight.device) for count in (1, min(batch_size, 2))]
            single, batch = (images.contiguous(memory_format=memory_format) for images in batches)
            versions = single._version, batch._version
            with untouched(model), autocast(weight.device, precision), torch.no_grad():
                model.zero_grad(set_to_none=True)  # the caller's gradients are not added to
                answered = [model.eval()(single)]
                auxiliary = unused = False
                if trains:
                    with torch.enable_grad():
                        logits = model.train()(batch)
                        auxiliary = isinstance(answered[0], torch.Tensor) and not isinstance(logits, torch.Tensor)
                        logits = _main(logits) if auxiliary else logits
                        if isinstance(logits, torch.Tensor) and logits.requires_grad:
                            logits.float().sum().backward()
                    unused = any(p.grad is None for p in model.parameters() if p.requires_grad)
                    answered.append(logits)
        except Exception as error:  # a model of the user's own may raise anything
            reason = first_line(error)
            continue
        for mode, logits, images in zip(("", " in training"), answered, (single, batch), strict=False):
            _check_logits(logits, len(images), dataset, f"{name} gives outputs{mode}")
        if auxiliary:
            note(f"{name} gives auxiliary outputs in training: its main logits are trained, the others are left out")
        writes = (single._version, batch._version) != versions
        return Handling(memory_format, writes, auxiliary, unused)
    size = "×".join(map(str, dataset.shape))
    raise UserError(f"{name} cannot take images of {size} (channels×height×width): {reason}")


def _check_trainable(model: nn.Module, name: str) -> None:
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError(f"all weights of {name} are frozen, so there is nothing to train; leave some open")
    for key, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{name} keeps {key} in its state, a {type(value).__name__}; only tensors can be stored")


def _check_logits(logits: object, count: int, dataset: Dataset, what: str) -> None:
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            f"{what} of shape ({type(logits).__name__!r},), but {dataset.name} wants logits alone, a tensor"
        )
    if logits.shape != (count, dataset.num_classes):
        raise UserError(
            f"{what} of shape {tuple(logits.shape[1:])}, but {dataset.name} has {dataset.num_classes} classes"
        )


@contextmanager
def untouched(model: nn.Module | None) -> Iterator[None]:
    """Put modes, buffers, gradients and random states back as they were."""
    modules = [] if model is None else [*model.modules()]
    modes = [(module, module.training) for module in modules]
    # By name and by value: a model may write into a buffer, or put another in its place.
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in modules
        for name, buffer in module._buffers.items()
    ]
    parameters = [(p, p.grad, p.requires_grad) for module in modules for p in module.parameters(recurse=False)]
    with random_states():
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for p, gradient, trained in parameters:
                p.grad = gradient
                p.requires_grad_(trained)
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    module._buffers[name] = buffer
                    if buffer is not None:
                        buffer.copy_(value)
