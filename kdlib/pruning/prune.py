"""Prune a model: scan, score, choose, cut; the given one is not touched."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from kdlib.copies import copied
from kdlib.data import Dataset, normalise
from kdlib.errors import UserError, did_you_mean
from kdlib.profiling import count_parameters, layer_macs, state_bytes
from kdlib.pruning.criteria import CALIBRATED, CRITERIA, Batches, Scores, gathered
from kdlib.pruning.meaning import Meaning
from kdlib.pruning.structure import Channels, History, Removed, Structure, replay, scan

SCOPES = ("global", "layerwise")
_ROUNDING = 1e-9  # 0.1 of 30 channels are three, though 30 * 0.1 may be a little less


@dataclass(frozen=True)
class Spec:
    """How a model is pruned; all of it stands in the run record.

    Either ``ratio``, the share of channels that leave, or ``macs``, the share of multiply-accumulates that stays.
    ``scope``: ``global`` ranks the channels of all layers together, ``layerwise`` takes the same share of each.
    ``steps``: scores are taken anew before each of so many equal steps. ``round_to``: channel counts are multiples of
    it, rounded up. ``protect_se``: squeeze-excite bottlenecks stay whole. ``keep``: modules that stay whole. ``norm``:
    1 or 2, of magnitude; ``threshold``: of coverage. ``normalise``: ``mean`` divides scores by their layer's mean
    before a global ranking, ``none`` takes them as they are. ``seed``: of calibration images and random scores.

    Raises ``UserError`` for values that make no pruning.
    """

    criterion: str
    ratio: float | None = None
    macs: float | None = None
    scope: str = "global"
    steps: int = 1
    round_to: int = 1
    protect_se: bool = True
    keep: tuple[str, ...] = ()
    calibration_batches: int = 100
    batch_size: int = 32
    threshold: float = 0.25
    norm: int = 1
    normalise: str = "mean"
    seed: int = 0

    def __post_init__(self):
        if self.criterion not in CRITERIA:
            raise UserError(f"unknown criterion {self.criterion!r}; {did_you_mean(self.criterion, CRITERIA)}")
        if (self.ratio is None) == (self.macs is None):
            raise UserError("a pruning has either a ratio (channels that leave) or macs (the share that stays)")
        for name, value in (("pruning ratio", self.ratio), ("macs", self.macs)):
            if value is not None and not (_number(value) and 0 < value < 1):
                raise UserError(f"{name} must lie between 0 and 1, both excluded, not {value!r}")
        for name, value in (("scope", SCOPES), ("normalise", ("mean", "none")), ("norm", (1, 2))):
            if getattr(self, name) not in value:
                raise UserError(f"{name} must be one of {', '.join(map(str, value))}; got {getattr(self, name)!r}")
        for name in ("steps", "round_to", "calibration_batches", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")
        if isinstance(self.keep, str):
            raise UserError(f"keep is a list of module names, not {self.keep!r}; say keep=({self.keep!r},)")
        object.__setattr__(self, "keep", tuple(self.keep))
        if not (_number(self.threshold) and 0 <= self.threshold < 1):
            raise UserError(f"threshold must lie from 0 to below 1, not {self.threshold!r}")

    @property
    def calibrated(self) -> bool:
        """Whether the criterion looks at images."""
        return self.criterion in CALIBRATED


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


@dataclass
class Pruned:
    """A pruned model and what was done to it.

    ``history``: what left each layer, step by step; ``report``: channels before and after of each set, what was
    protected and why, parameters, MACs, bytes, and ``check``: whether the pruned network was seen to compute what the
    whole one does without the same channels ("equal"; "unchecked: …" but for the layers named), and the sets kept whole
    because with them it did not; ``scores``: the criterion's scores at the first step, by set.
    """

    model: nn.Module
    history: History
    report: dict[str, Any]
    scores: dict[str, torch.Tensor] = field(repr=False, default_factory=dict)


def calibration(dataset: Dataset, spec: Spec, device: torch.device | str = "cpu") -> Batches:
    """Return up to ``spec.calibration_batches`` batches of normalised training images and labels.

    Drawn without replacement, with the spec's seed. Raises ``UserError`` where the data set has no training images.
    """
    if not len(dataset.train):
        raise UserError(f"{dataset.name} has no training images to calibrate {spec.criterion} on")
    chance = torch.Generator().manual_seed(spec.seed)
    order = torch.randperm(len(dataset.train), generator=chance)[: spec.calibration_batches * spec.batch_size]
    return [
        (normalise(dataset.train.images[i].to(device), dataset.mean, dataset.std), dataset.train.labels[i].to(device))
        for i in order.split(spec.batch_size)
    ]


def score(model: nn.Module, batches: Batches, spec: Spec) -> Scores:
    """Return the criterion's scores of every layer's channels; they hold for whatever is pruned of this model later.

    The model is scored on a copy in eval mode. Raises ``UserError`` for a criterion that needs images and gets none.
    """
    if spec.calibrated and not batches:
        raise UserError(f"criterion {spec.criterion} needs calibration images; pass a data set or batches")
    subject = copied(model).eval().requires_grad_(True)
    device = next(subject.parameters()).device
    batches = [(images.to(device), labels.to(device)) for images, labels in batches]
    options = {"norm": spec.norm, "threshold": spec.threshold, "seed": spec.seed}
    return CRITERIA[spec.criterion](subject, batches, **options)


def prune(
    model: nn.Module,
    spec: Spec,
    images: Dataset | Batches | None = None,
    shape: tuple[int, int, int] | None = None,
    *,
    structure: Structure | None = None,
    scores: Scores | None = None,
) -> Pruned:
    """Return a pruned copy of a model and a report; the model itself keeps its weights, mode, gradients and hooks.

    ``images``: a data set, whose training images calibrate, or batches of normalised images (B, C, H, W) and labels;
    None for criteria without calibration, with ``shape`` (C, H, W) instead. ``structure`` and ``scores``, as `scan`
    and `score` give them for this model, spare the first scan and the first scoring. The copy keeps the model's mode.

    Sets of channels that cannot leave without the network running no more, or computing something else, are kept whole
    and named in the report; the rest is pruned. Raises ``UserError`` for a ratio that would empty a layer, missing
    calibration images, a model that cannot be followed, and one of which nothing is left to prune.
    """
    batches, shape = _inputs(images, shape, spec, scores)
    structure = structure or scan(model, shape, spec.keep, spec.protect_se)
    structure = structure.closed([c.name for c in structure.open if c.size == 1])  # an attention map's only channel
    if not structure.open:
        raise UserError(f"{type(model).__name__} has no channels to prune: all its layers are protected")
    subject, first = copied(model), structure
    for p in subject.parameters():
        p.grad = None
    sizes, macs, faults, verdicts = {c.name: c.size for c in structure.open}, structure.macs(), [], []
    history: History = []
    first_scores: dict[str, torch.Tensor] = {}
    for step in range(1, spec.steps + 1):
        if step > 1:
            structure = scan(subject, shape, spec.keep, spec.protect_se)
            # A depthwise convolution of one channel left no longer couples: what was no set at the first step stays.
            structure = structure.closed([c.name for c in structure.sets if c.name not in sizes])
        layers = scores if step == 1 and scores is not None else score(subject, batches, spec)
        own = gathered(structure, layers, first=spec.criterion == "random")
        first_scores = first_scores or own
        meaning = Meaning(subject, shape)
        while True:
            removed = choose(structure, own, spec, sizes, macs, step)
            cuts = structure.cuts(removed)
            verdict = meaning.verdict(cuts)
            if verdict is not None:
                break
            wrong = meaning.faults(structure, removed)
            faults += wrong
            structure, sizes = structure.closed(wrong), {k: n for k, n in sizes.items() if k not in wrong}
            if not structure.open:
                unsound = "cut, it does not run or computes something else"
                raise UserError(f"{type(model).__name__} has nothing to prune: {unsound} at {', '.join(faults)}")
        verdicts.append(verdict)
        history.append(cuts)
        replay(subject, [cuts])
    report = _report(model, subject, first.closed(faults), history, shape)
    used = batches if spec.calibrated else []
    report["calibration"] = {"batches": len(used), "images": sum(len(images) for images, _ in used)}
    # "unchecked" of any step sorts behind "equal".
    report["check"] = {"verdict": max(verdicts), "kept": faults}
    return Pruned(subject, history, report, first_scores)


def _inputs(images, shape, spec: Spec, scores: Scores | None) -> tuple[Batches, tuple[int, int, int]]:
    if isinstance(images, Dataset):
        return (calibration(images, spec) if spec.calibrated else []), images.shape
    batches: Sequence = list(images or [])
    if spec.calibrated and not batches and scores is None:
        raise UserError(f"criterion {spec.criterion} needs calibration images; pass a data set or batches")
    if shape is None and not batches:
        raise UserError("prune needs the shape of an image, (channels, height, width), or images")
    return batches, tuple(shape or batches[0][0].shape[1:])


def _report(model, subject, structure: Structure, history: History, shape) -> dict[str, Any]:
    sizes = {channels.name: channels.size for channels in structure.sets}
    left = dict(sizes)
    for layer, side, index in (cut for step in history for cut in step):
        if side == "out" and layer in left:
            left[layer] -= len(index)
    return {
        "channels": {name: [sizes[name], left[name]] for name in sizes},
        "protected": {channels.name: channels.protected for channels in structure.sets if channels.protected},
        "removed": [sum(sizes.values()) - sum(left.values()), sum(channels.size for channels in structure.open)],
        "params": [count_parameters(model), count_parameters(subject)],
        "macs": [structure.macs(), sum(layer_macs(subject, shape).values())],
        "size_bytes": [state_bytes(model), state_bytes(subject)],
    }


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
        total = sum(sizes.values())
        gone = total - sum(c.size for c in structure.open)
        return _cut(structure, order, _lowest(structure, order, math.floor(total * ratio + _ROUNDING) - gone), spec)
    target = macs * (1 - (1 - spec.macs) * done)
    return _until(structure, order, spec, target)


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
    kept = _kept(channels, size, ratio)
    if kept < 1:
        raise UserError(f"pruning_ratio {ratio:g} would empty {channels.name}, which has {size} channels; take less")
    return channels.size // channels.blocks - kept


def _kept(channels: Channels, size: int, ratio: float) -> int:
    return math.floor(size * (1 - ratio) / channels.blocks + _ROUNDING)


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


def _until(structure: Structure, order: dict, spec: Spec, target: float) -> Removed:
    """The smallest removal that leaves at most ``target`` MACs, found by bisection: fewer channels, more MACs."""
    total = sum(c.size for c in structure.open)

    def removal(count: int) -> Removed:
        if spec.scope == "layerwise":
            ratio = count / total
            counts = {c.name: c.size // c.blocks - max(1, _kept(c, c.size, ratio)) for c in structure.open}
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
