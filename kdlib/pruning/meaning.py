"""Whether a cut means what it should: the pruned network computes what the whole one does when it reads nothing of the
channels that left."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import MethodType

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from kdlib.copies import copied
from kdlib.hooks import hooked
from kdlib.pruning.structure import LAYERS, Cuts, Removed, Structure, replay

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-2}
"""Largest difference of outputs, as a share of their spread."""


class Meaning:
    """A model to try cuts on: a copy on the CPU whose weights and batch-norm statistics are random, so that no part is
    silent, with two random images of ``shape`` (C, H, W); float64 where the model runs in it."""

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]):
        chance = torch.Generator().manual_seed(0)
        self.model = _awake(copied(model).cpu().eval(), chance)
        self.images = torch.randn(2, *shape, generator=chance, dtype=torch.float64)
        try:
            self._run(self.model.double())
        except Exception:  # float32 may be written down in the model
            self.model, self.images = self.model.float(), self.images.float()
        self.tolerance = _TOLERANCE[self.images.dtype]

    @cached_property
    def comparable(self) -> bool:
        """Whether the model's own outputs are finite, and the same twice."""
        return self._same(self.model, [])

    def verdict(self, cuts: Cuts) -> str | None:
        """Return "equal"; "unchecked: …" where it is equal but for the named layers, which look at all their channels
        at once and so cannot be compared; None for a cut that does not run, or computes something else."""
        try:
            pruned = replay(copied(self.model), [cuts])
            with _Aside(softmax=True) as soft:
                fits = self._same(pruned, cuts)
            if fits and (not soft.seen or self._same(pruned, cuts)):
                return "equal"
            self._run(pruned)  # it must run as it is, too
            if not self.comparable:
                return "unchecked: outputs that are not finite"
            with _own_weights_aside(pruned, self.model) as layers, _Aside(softmax=True, norms=True) as aside:
                fits = self._same(pruned, cuts)
            return f"unchecked: {', '.join(sorted(layers | aside.seen))}" if fits else None
        except Exception:  # whatever a model of the user's own raises once it is cut
            return None

    def faults(self, structure: Structure, removed: Removed) -> list[str]:
        """Return the sets among ``removed`` that make the cut wrong: all but as many as can go together, found by
        halving."""

        def sound(names: list[str], taken: list[str]) -> list[str]:
            together = [*taken, *names]
            if self.verdict(structure.cuts({name: removed[name] for name in together})) is not None:
                return together
            if len(names) == 1:
                return taken
            half = len(names) // 2
            return sound(names[half:], sound(names[:half], taken))

        right = sound(list(removed), [])
        return [name for name in removed if name not in right]

    def _same(self, pruned: nn.Module, cuts: Cuts) -> bool:
        with _masked(self.model, cuts):
            whole = self._run(self.model)
        left = self._run(pruned)
        if left.shape != whole.shape or not torch.isfinite(whole).all():
            return False
        return bool((left - whole).abs().max() <= self.tolerance * whole.std())

    def _run(self, model: nn.Module) -> torch.Tensor:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return model(self.images.clone())


def _awake(model: nn.Module, chance: torch.Generator) -> nn.Module:
    """Random weights of a size that keeps activations alive, random statistics."""
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.normal_(0, (p[0].numel() or 1) ** -0.5, generator=chance)
            else:
                p.uniform_(0.5, 1.5, generator=chance)
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(generator=chance)
                module.running_var.uniform_(0.5, 1.5, generator=chance)
    return model


@contextmanager
def _masked(model: nn.Module, cuts: Cuts) -> Iterator[None]:
    """Let every layer that reads a channel which is cut read zeros in its place."""

    gone: dict[str, list[int]] = {}
    for name, side, index in cuts:
        if side == "in" and isinstance(model.get_submodule(name), LAYERS):
            gone.setdefault(name, []).extend(index)

    def blank(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen = given[0].clone()
        seen.index_fill_(-1 if isinstance(layer, nn.Linear) else 1, torch.tensor(gone[name]), 0)
        return (seen, *given[1:])

    with hooked([(name, model.get_submodule(name)) for name in gone], blank, before=True):
        yield


class _Aside(TorchFunctionMode):
    """Set aside what looks at all channels at once; ``seen``: what that was.

    ``softmax``: x / (1 + |x|) instead, which a large input does not make deaf to the others. ``norms``: layer and group
    norm scale and shift alone.
    """

    def __init__(self, softmax: bool = False, norms: bool = False):
        super().__init__()
        self.softmax, self.norms, self.seen = softmax, norms, set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.norms and func in (F.layer_norm, F.group_norm):
            self.seen.add("LayerNorm" if func is F.layer_norm else "GroupNorm")
            weight, bias = (kwargs.get(n, args[i] if len(args) > i else None) for i, n in ((2, "weight"), (3, "bias")))
            return _affine(args[0], weight, bias, last=func is F.layer_norm)
        if self.softmax and getattr(func, "__name__", "") == "softmax":
            self.seen.add("softmax")
            return args[0] / (1 + args[0].abs())
        if self.softmax and func is F.scaled_dot_product_attention:
            self.seen.add("attention")
            query, key, value = args[:3]
            products = query @ key.transpose(-1, -2)
            return products / (1 + products.abs()) @ value
        return func(*args, **kwargs)


def _affine(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, last: bool) -> torch.Tensor:
    shape = [1] * x.dim()
    shape[-1 if last else 1] = -1
    weight, bias = (p.reshape(shape) if p is not None and p.dim() == 1 else p for p in (weight, bias))
    return (x if weight is None else x * weight) + (0 if bias is None else bias)


@contextmanager
def _own_weights_aside(*models: nn.Module) -> Iterator[set[str]]:
    """Let layers of the user's own that compute anew (weight standardisation) do what their base of torch.nn does."""
    seen: set[str] = set()
    changed = []
    for module in (module for model in models for module in model.modules()):
        own = next((base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.modules")), None)
        if isinstance(module, LAYERS) and type(module).forward is not own.forward:
            module.forward = MethodType(own.forward, module)
            changed.append(module)
            seen.add(type(module).__name__)
    try:
        yield seen
    finally:
        for module in changed:
            del module.forward
