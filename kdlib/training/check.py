"""What a model does with the data set's images, seen before anything is trained: what is checked is what is run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlib.data import Dataset
from kdlib.errors import UserError
from kdlib.training.precision import autocast


@dataclass(frozen=True)
class Handling:
    """How a model must be given its images: in which memory format, and as a copy where it writes into them."""

    memory_format: torch.memory_format
    writes: bool

    def take(self, images: torch.Tensor, name: str) -> torch.Tensor:
        """Return images (B, C, H, W) as the model ``name`` takes them."""
        given = images.contiguous(memory_format=self.memory_format)
        return given.clone() if self.writes and given is images else given


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed what a model draws from (dropout), on the CPU and, where it runs there, on the GPU."""
    # torch.manual_seed would also note, for backends that are not in use, where it was called from: 0.4 ms a step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def check_model(model: nn.Module, dataset: Dataset, name: str, batch_size: int = 2, precision: str = "fp32") -> None:
    """Raise ``UserError`` unless the model trains on the dataset's images and gives one logit a class.

    With batches of one image batch norm cannot train. The model is left in the modes and with the buffers it came in.
    """
    handling(model, dataset, name, batch_size=batch_size, precision=precision)


def handling(
    model: nn.Module,
    dataset: Dataset,
    name: str,
    *,
    batch_size: int = 2,
    precision: str = "fp32",
    trains: bool = True,
) -> Handling:
    """Try the model as it will run, in eval mode and (if it ``trains``) a training step, and say how to handle it.

    channels_last memory where the model takes it, else contiguous; its weights are brought into that format. Modes and
    buffers are left as they were. Raises ``UserError`` as `check_model` does.
    """
    weight = next(model.parameters(), None)
    if weight is None:
        raise UserError(f"{name} has no weights, so there is nothing to train; name a network")
    if trains and batch_size == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise UserError(f"{name} has batch norm, which cannot train on single images; use batch_size 2 or more")
    for memory_format in (torch.channels_last, torch.contiguous_format):
        model.to(memory_format=memory_format)
        shape = (min(batch_size, 2), *dataset.shape)
        images = torch.zeros(shape, device=weight.device).contiguous(memory_format=memory_format)
        version = images._version
        try:
            with _untouched(model), autocast(weight.device, precision):
                answered = [_answer(model.eval(), images, backward=False)]
                if trains:
                    answered.append(_answer(model.train(), images, backward=True))
        except Exception as error:  # a model of the user's own may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        for mode, logits in zip(("", " in training"), answered, strict=False):
            _check_logits(logits, len(images), dataset, f"{name} gives outputs{mode}")
        return Handling(memory_format, writes=images._version > version)
    size = "×".join(map(str, dataset.shape))
    raise UserError(f"{name} cannot take images of {size} (channels×height×width): {reason}")


def _answer(model: nn.Module, images: torch.Tensor, backward: bool) -> object:
    with torch.set_grad_enabled(backward):
        logits = model(images)
        if isinstance(logits, torch.Tensor) and logits.requires_grad:
            logits.float().sum().backward()
    return logits


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
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put modes, buffers, gradients and torch's generator back as they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gradients = [(p, p.grad) for p in model.parameters()]
    for p, _ in gradients:
        p.grad = None
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for p, gradient in gradients:
                p.grad = gradient
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
