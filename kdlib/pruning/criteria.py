"""Importance criteria: each a callable that scores every channel of every layer; higher stays.

A criterion takes a model in eval mode and calibration batches and returns a score for each channel of a layer's side:
``{(layer, "out" | "in"): (n,)}``. What a set of coupled channels is worth is the mean over its members (`gathered`), so
that a channel counts by all the weights that would leave with it.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from kdlib.errors import UserError
from kdlib.hooks import hooked
from kdlib.pruning.structure import LAYERS, Structure

Scores = dict[tuple[str, str], torch.Tensor]
Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]


def magnitude(model: nn.Module, batches: Batches, *, norm: int = 1, **_) -> Scores:
    """Sum of |w|^norm over a channel's weights, to the power 1/norm (1: L1, 2: L2). Needs no images.

    Li et al. 2017, Pruning Filters for Efficient ConvNets: the L1 norm of a filter. Beside the filter that makes a
    channel the weights that read it count, for they leave with it (Fang et al. 2023); the paper leaves those out, and
    ranks within each layer alone.
    """
    found: Scores = {}
    for name, layer in _layers(model):
        powers = layer.weight.detach().double().abs() ** norm
        found[name, "out"] = _outward(layer, powers) ** (1 / norm)
        found[name, "in"] = _inward(layer, powers) ** (1 / norm)
    return found


def taylor(model: nn.Module, batches: Batches, **_) -> Scores:
    """Mean over calibration batches of |sum of gradient × weight| over a channel's weights: the first-order change
    of the cross-entropy when the channel is set to zero.

    Molchanov et al. 2019, Importance Estimation for Neural Network Pruning: contributions of one channel's parameters
    add up within a batch, and the sign goes before batches are averaged. Batch norm counts by its scale and shift.
    It leaves the paper in that the absolute value stands for the square of eq. 8 (`taylor_squared` has it), that a set
    takes the mean over its layers, batch norms and readers instead of one sum over a filter, and that a global ranking
    divides by the layer's mean unless the spec says ``normalise="none"``, as the paper does.
    """
    return _taylor(model, batches, torch.abs)


def taylor_squared(model: nn.Module, batches: Batches, **_) -> Scores:
    """Mean over calibration batches of (sum of gradient × weight)² over a channel's weights.

    Molchanov et al. 2019, eq. 8; it leaves the paper as `taylor` does, but for the square.
    """
    return _taylor(model, batches, torch.square)


def _taylor(model: nn.Module, batches: Batches, unsigned: Callable[[torch.Tensor], torch.Tensor]) -> Scores:
    found: Scores = {}
    with torch.enable_grad():
        for images, labels in batches:
            model.zero_grad(set_to_none=True)
            F.cross_entropy(model(_own(images)).float(), labels).backward()
            for name, module in model.named_modules():
                for side, change in _first_order(module):
                    found[name, side] = found.get((name, side), 0) + unsigned(change) / len(batches)
    model.zero_grad(set_to_none=True)
    return found


def wanda(model: nn.Module, batches: Batches, **_) -> Scores:
    """Sum of |weight| × norm of the input it meets, over a channel's weights; the norm is the root mean square over all
    calibration images and positions.

    Sun et al. 2024, A Simple and Effective Pruning Approach for Large Language Models: their score of one weight,
    summed over what leaves with a channel. The paper compares weights within one output row and prunes them one by one;
    its norm is the root of the sum of squares, which ranks inputs of one layer alike.
    """
    squares: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str, given: torch.Tensor) -> None:
        flat = given.transpose(0, 1).flatten(1)
        squares[name] = squares.get(name, 0) + flat.double().square().sum(dim=1)
        counts[name] = counts.get(name, 0) + flat.shape[1]

    _watch(model, batches, watch)
    found: Scores = {}
    for name, layer in _layers(model):
        if name in squares:
            norms = (squares[name] / counts[name]).sqrt()
            weights = layer.weight.detach().double().abs() * _facing(layer, norms)
            found[name, "out"], found[name, "in"] = _outward(layer, weights), _inward(layer, weights)
    return found


def coverage(model: nn.Module, batches: Batches, *, threshold: float = 0.25, **_) -> Scores:
    """Share of calibration images that activate a channel: its mean over positions, where the next layer reads it,
    scaled to 0..1 over that layer's channels, lies above ``threshold``.

    Pei et al. 2017, DeepXplore (neuron coverage, scaled within a layer). The paper tests networks with it, counts a
    neuron once any input activates it, and prunes nothing; the share of images is the reports'. Shares are full
    of ties; among equals the higher mean activation stays, which adds less than one image's worth to a score.
    """
    hits: dict[str, torch.Tensor] = {}
    sums: dict[str, torch.Tensor] = {}
    count = sum(len(images) for images, _ in batches)

    def watch(name: str, given: torch.Tensor) -> None:
        means = given.flatten(2).mean(dim=2) if given.dim() > 2 else given
        low, high = means.amin(dim=1, keepdim=True), means.amax(dim=1, keepdim=True)
        scaled = ((means - low) / (high - low).clamp_min(torch.finfo(means.dtype).tiny)).double()
        hits[name] = hits.get(name, 0) + (scaled > threshold).sum(dim=0)
        sums[name] = sums.get(name, 0) + scaled.sum(dim=0)

    _watch(model, batches, watch)
    return {(name, "in"): (hits[name] + sums[name] / (count + 1)) / count for name in hits}


def random(model: nn.Module, batches: Batches, *, seed: int = 0, **_) -> Scores:
    """Uniform noise: the floor that every criterion must beat."""
    chance = torch.Generator().manual_seed(seed)
    sizes = {name: len(_outward(layer, layer.weight.detach())) for name, layer in _layers(model)}
    return {(name, "out"): torch.rand(n, generator=chance, dtype=torch.float64) for name, n in sizes.items()}


Criterion = Callable[..., Scores]
CRITERIA: dict[str, Criterion] = {
    "coverage": coverage,
    "wanda": wanda,
    "magnitude": magnitude,
    "taylor": taylor,
    "taylor_squared": taylor_squared,
    "random": random,
}
CALIBRATED = ("coverage", "wanda", "taylor", "taylor_squared")
"""Criteria that need images."""


def gathered(structure: Structure, scores: Scores, first: bool = False) -> dict[str, torch.Tensor]:
    """Return for each open set of channels the mean score of its members, float64 (n,).

    Where a layer reads a channel at several places (after flattening) these add up. ``first``: the score of a set's
    first layer alone, for the mean of several random draws would spare the sets of many layers. Raises ``UserError``
    for a score that is not finite.
    """
    found = {}
    for channels in structure.open:
        total, members = torch.zeros(channels.size, dtype=torch.float64), 0
        for member in channels.members:
            if first and member.layer != channels.name:
                continue
            if (own := scores.get((member.layer, member.side))) is not None:
                total.index_add_(0, member.root, own.detach().cpu().double()[member.index])
                members += 1
        if not torch.isfinite(total).all():
            raise UserError(f"the scores of {channels.name} are not finite: the model has diverged; train it again")
        found[channels.name] = total / max(1, members)
    return found


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LAYERS))


@torch.no_grad()
def _watch(model: nn.Module, batches: Batches, watch: Callable[[str, torch.Tensor], None]) -> None:
    """Run the batches; ``watch`` sees name and input (B, C, ...) of every convolution and linear layer."""

    def show(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen = given[0].float()
        # A linear layer reads the last dimension, as where ConvNeXt turns (B, C, H, W) to (B, H, W, C).
        watch(name, seen.movedim(-1, 1) if isinstance(layer, nn.Linear) else seen)

    with hooked(_layers(model), show, before=True):
        for images, _ in batches:
            model(_own(images))


def _own(images: torch.Tensor) -> torch.Tensor:
    """A copy, as a model may write into its input; contiguous, as a model may ask for a view."""
    return images.clone(memory_format=torch.contiguous_format)


def _first_order(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Sums of gradient × weight for each channel of a module; its bias goes with the channel it makes."""
    if isinstance(module, LAYERS) and module.weight.grad is not None:
        change = (module.weight.grad * module.weight).detach().double()
        outward = _outward(module, change)
        if module.bias is not None:
            outward = outward + (module.bias.grad * module.bias).detach().double()
        yield "out", outward
        yield "in", _inward(module, change)
    elif isinstance(module, _BatchNorm) and module.affine and module.weight.grad is not None:
        yield "out", sum((p.grad * p).detach().double() for p in (module.weight, module.bias))


def _matrix(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Values of a layer's weights as (groups, out/groups, in/groups, kernel)."""
    if isinstance(layer, nn.Linear):
        return values[None, :, :, None]
    blocks = layer.groups
    split = values.reshape(blocks, values.shape[0] // blocks, values.shape[1], -1)
    return split.transpose(1, 2) if isinstance(layer, _ConvTransposeNd) else split


def _outward(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Sum over the weights that make each output channel."""
    return _matrix(layer, values).sum(dim=(2, 3)).flatten()


def _inward(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Sum over the weights that read each input channel."""
    return _matrix(layer, values).sum(dim=(1, 3)).flatten()


def _facing(layer: nn.Module, norms: torch.Tensor) -> torch.Tensor:
    """Norms of input channels, shaped to multiply the layer's weights."""
    if isinstance(layer, nn.Linear):
        return norms
    rest = [1] * (layer.weight.dim() - 2)
    if isinstance(layer, _ConvTransposeNd):
        return norms.reshape(-1, 1, *rest)
    return norms.reshape(layer.groups, -1, *rest).repeat_interleave(layer.out_channels // layer.groups, dim=0)
