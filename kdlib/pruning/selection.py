"""Which channels leave: a share of the channels, or as many as leave a share of the MACs; over all sets or in each."""

import math

import torch

from kdlib.errors import UserError
from kdlib.pruning.spec import Spec
from kdlib.pruning.structure import Channels, Structure

Removed = dict[str, torch.Tensor]


def choose(
    structure: Structure, scores: dict[str, torch.Tensor], spec: Spec, sizes: dict[str, int], macs: int, step: int
) -> Removed:
    """Return for each set the channels that leave at ``step`` (1..steps), lowest scores first.

    ``scores``: one a channel of each open set; ``sizes`` and ``macs``: what there was before the first step. Steps are
    of one size. Of equals the later channel leaves. Raises ``UserError`` for a ratio that would empty a set, and for
    MACs that no removal reaches.
    """
    done = step / spec.steps
    order = _order(structure, scores, spec)
    if spec.ratio is not None:
        ratio = spec.ratio * done
        if spec.scope == "layerwise":
            return _cut(structure, order, {c.name: _leaving(c, sizes[c.name], ratio) for c in structure.open}, spec)
        gone = sum(sizes.values()) - sum(c.size for c in structure.open)
        return _cut(structure, order, _lowest(structure, order, _whole(sum(sizes.values()) * ratio) - gone), spec)
    target = macs * (1 - (1 - spec.macs) * done)
    return _until(structure, order, spec, sizes, target)


def _order(structure: Structure, scores: dict[str, torch.Tensor], spec: Spec) -> dict[str, tuple[torch.Tensor, ...]]:
    """For each set: scores from low to high (of a block's mean where blocks lose alike), and whose they are."""
    found = {}
    for channels in structure.open:
        own = scores[channels.name].reshape(channels.blocks, -1).mean(dim=0)
        if spec.normalise == "mean" and (mean := own.abs().mean()) > 0:
            own = own / mean
        # Of equals the later channel leaves: sort the reversed scores stably, and turn the places back.
        places = len(own) - 1 - torch.argsort(own.flip(0), stable=True)
        found[channels.name] = own[places], places
    return found


def _leaving(channels: Channels, size: int, ratio: float) -> int:
    """How many (of each block) leave one set, so that what is left of its first size is rounded down, as upstream."""
    kept = math.floor(size * (1 - ratio) / channels.blocks + 1e-9)
    if kept < 1:
        raise UserError(f"pruning_ratio {ratio:g} would empty {channels.name}, which has {size} channels; take less")
    return channels.size // channels.blocks - kept


def _lowest(structure: Structure, order: dict, count: int) -> dict[str, int]:
    """How many of each set are among the ``count`` lowest channels over all sets; one a set always stays."""
    names = [c.name for c in structure.open]
    ranked = [order[name][0][:-1] for name in names]
    which = torch.cat([torch.full((len(own),), i) for i, own in enumerate(ranked)])
    weight = torch.tensor([c.blocks for c in structure.open])[which]
    places = torch.argsort(torch.cat(ranked), stable=True)
    taken = places[torch.cumsum(weight[places], dim=0) <= count]
    counts = torch.bincount(which[taken], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _cut(structure: Structure, order: dict, counts: dict[str, int], spec: Spec) -> Removed:
    """The lowest so many channels of each set; what stays is rounded up to a multiple of ``round_to``."""
    removed = {}
    for channels in structure.open:
        per_block = channels.size // channels.blocks
        kept = per_block - max(0, counts[channels.name])
        unit = spec.round_to // math.gcd(spec.round_to, channels.blocks)
        kept = min(per_block, math.ceil(kept / unit) * unit)
        places = order[channels.name][1][: per_block - kept]
        if len(places):
            starts = torch.arange(channels.blocks) * per_block
            removed[channels.name] = (starts[:, None] + places[None]).flatten().sort().values
    return removed


def _until(structure: Structure, order: dict, spec: Spec, sizes: dict[str, int], target: float) -> Removed:
    """The smallest removal that leaves at most ``target`` MACs, found by bisection: fewer channels, more MACs."""
    total = sum(c.size for c in structure.open)

    def removal(count: int) -> Removed:
        if spec.scope == "layerwise":
            ratio = count / total
            counts = {c.name: min(_share(c, ratio), c.size // c.blocks - 1) for c in structure.open}
        else:
            counts = _lowest(structure, order, count)
        return _cut(structure, order, counts, spec)

    if structure.macs() <= target:  # an earlier step may have taken more than its part
        return {}
    low, high = 0, total
    if structure.macs(removal(high)) > target:
        raise UserError(f"macs {spec.macs:g} cannot be reached: the protected layers alone take more; say more")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if structure.macs(removal(middle)) <= target else (middle, high)
    return removal(high)


def _share(channels: Channels, ratio: float) -> int:
    return channels.size // channels.blocks - math.floor(channels.size * (1 - ratio) / channels.blocks + 1e-9)


def _whole(value: float) -> int:
    return math.floor(value + 1e-9)
