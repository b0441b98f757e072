"""Prune a model: scan, score, choose, cut; the given one is not touched."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from kdlib.copies import copied
from kdlib.data import Dataset, normalise
from kdlib.errors import UserError
from kdlib.profiling import count_parameters, forward_macs, state_bytes
from kdlib.pruning.criteria import CRITERIA, Batches, Scores, gathered
from kdlib.pruning.cutting import History, cuts, replay
from kdlib.pruning.meaning import Meaning
from kdlib.pruning.selection import Removed, choose
from kdlib.pruning.spec import Spec
from kdlib.pruning.structure import Structure, scan


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
    structure = _closed(structure, [c.name for c in structure.open if c.size == 1])  # an attention map's only channel
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
            structure = _within(scan(subject, shape, spec.keep, spec.protect_se), sizes)
            structure = _closed(structure, faults)
        layers = scores if step == 1 and scores is not None else score(subject, batches, spec)
        own = gathered(structure, layers, first=spec.criterion == "random")
        first_scores = first_scores or own
        meaning = Meaning(subject, shape)
        while True:
            removed = choose(structure, own, spec, sizes, macs, step)
            verdict = meaning.verdict(cuts(structure, removed))
            if verdict is not None:
                break
            wrong = _faults(meaning, structure, removed)
            faults += wrong
            structure, sizes = _closed(structure, wrong), {k: n for k, n in sizes.items() if k not in wrong}
            if not structure.open:
                raise UserError(f"{type(model).__name__} has nothing to prune: {_UNSOUND} at {', '.join(faults)}")
        verdicts.append(verdict)
        history.append(cuts(structure, removed))
        replay(subject, history[-1:])
    check = {"verdict": max(verdicts), "kept": faults}  # "unchecked" of any step, which sorts behind "equal"
    report = _report(model, subject, _closed(first, faults), history, shape)
    report |= {"calibration": _counted(batches, spec), "check": check}
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


def _within(structure: Structure, sizes: dict[str, int]) -> Structure:
    """Close sets that were none at the first step: a depthwise convolution of one channel left no longer couples."""
    sets = [c if c.protected or c.name in sizes else replace(c, protected="not prunable") for c in structure.sets]
    return replace(structure, sets=sets)


_UNSOUND = "cut, it does not run or computes something else"


def _faults(meaning: Meaning, structure: Structure, removed: Removed) -> list[str]:
    """The sets among ``removed`` that make the cut wrong."""

    def cuts_of(names: Sequence[str]) -> list:
        return cuts(structure, {name: removed[name] for name in names})

    sound = meaning.sound(cuts_of, list(removed))
    return [name for name in removed if name not in sound]


def _closed(structure: Structure, names: Sequence[str]) -> Structure:
    sets = [replace(c, protected=c.protected or "not prunable") if c.name in names else c for c in structure.sets]
    return replace(structure, sets=sets)


def _counted(batches: Batches, spec: Spec) -> dict[str, int]:
    used = batches if spec.calibrated else []
    return {"batches": len(used), "images": sum(len(images) for images, _ in used)}


def _report(model, subject, structure: Structure, history: History, shape) -> dict[str, Any]:
    left = {channels.name: channels.size for channels in structure.sets}
    for step in history:
        for layer, side, index in step:
            if side == "out" and layer in left:
                left[layer] -= len(index)
    sizes = {channels.name: channels.size for channels in structure.sets}
    total = sum(channels.size for channels in structure.open)
    return {
        "channels": {name: [sizes[name], left[name]] for name in sizes},
        "protected": {channels.name: channels.protected for channels in structure.sets if channels.protected},
        "removed": [sum(sizes.values()) - sum(left.values()), total],
        "params": [count_parameters(model), count_parameters(subject)],
        "macs": [structure.macs(), forward_macs(subject, shape)],
        "size_bytes": [state_bytes(model), state_bytes(subject)],
    }
