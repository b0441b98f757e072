"""Scoring and pruning one network by each criterion, beside Torch-Pruning's own path."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import nn

from benchmarks import timing
from benchmarks.setting import Asked
from kdlib import models, profiling, pruning
from kdlib.progress import Progress

TITLE = "Pruning: seconds to score and cut"
OURS, PEER = "kdlib", "Torch-Pruning"
# What Torch-Pruning has of our criteria.
IMPORTANCES: dict[str, Callable[[], tp.importance.Importance]] = {
    "magnitude": lambda: tp.importance.MagnitudeImportance(p=1),
    "taylor": tp.importance.TaylorImportance,
    "random": tp.importance.RandomImportance,
}
NOTES = [
    "Timed: a copy of the network, its dependency graph, the scores, the cut. kdlib also compares the pruned network "
    "with the whole one without the same channels, in float64, and writes a report with parameters and MACs before and "
    "after; the other does not.",
    "Both prune the same share of every layer's channels, squeeze-excite bottlenecks included, but the classifier's "
    "outputs. The criteria are alike, not the same: each library's own Taylor and magnitude.",
    "Peak memory is what a process of its own grows by while it prunes once.",
]


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``ratio``: share of channels that leave each layer."""

    model: str = "efficientnet_b4"
    classes: int = 101
    side: int = 64
    batches: int = 5
    batch_size: int = 32
    ratio: float = 0.1
    rounds: int = 5
    criteria: tuple[str, ...] = tuple(pruning.CRITERIA)


QUICK = Size(batches=2, batch_size=8, rounds=2, criteria=("magnitude", "taylor"))


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time both libraries in turns for each criterion and return the result."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    rows, ratios = [], []
    count = sum(1 + (criterion in IMPORTANCES) for criterion in size.criteria)
    with Progress(count * (rounds + 2), "prune") as bar:
        for criterion in size.criteria:
            names = [OURS, *([PEER] if criterion in IMPORTANCES else [])]
            ready = {name: prepared(name, criterion, size, device) for name in names}
            left = {name: job() for name, job in ready.items()}
            bar.advance(len(names))
            found = timing.alternate(
                {name: lambda job=job: job() and 1 for name, job in ready.items()}, rounds, lambda: bar.advance(1)
            )
            for name in names:
                _, peak = timing.peak_of(prepared, name, criterion, size, device)
                rows.append(_row(name, criterion, found, left[name], peak))
                bar.advance(1)
            if PEER in names:
                against = timing.ratio(found, OURS, PEER)
                ratios.append({"label": f"pruning by {criterion}, against {PEER}", **against})
    model = network(size)
    return {
        "title": TITLE,
        "setting": {
            "model": size.model,
            "classes": size.classes,
            "image size": [3, size.side, size.side],
            "calibration": f"{size.batches} batches of {size.batch_size}",
            "ratio": size.ratio,
            "parameters before": profiling.count_parameters(model),
            "device": str(device),
            "rounds": rounds,
        },
        "rows": rows,
        "ratios": ratios,
        "notes": NOTES,
        "left_out": [],
    }


def network(size: Size) -> nn.Module:
    """Return the network to prune, at random weights."""
    torch.manual_seed(0)
    return models.build(size.model, size.classes).eval()


def prepared(name: str, criterion: str, size: Size, device: torch.device) -> Callable[[], int]:
    """Return a function that prunes a copy of the network once and returns the parameters left."""
    model = network(size).to(device)
    chance = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(size.batches):
        images = torch.randn(size.batch_size, 3, size.side, size.side, generator=chance)
        labels = torch.randint(0, size.classes, (size.batch_size,), generator=chance)
        batches.append((images.to(device), labels.to(device)))
    if name == PEER:
        return lambda: _by_torch_pruning(model, criterion, batches, size)
    spec = pruning.Spec(criterion, ratio=size.ratio, scope="layerwise", protect_se=False)
    shape = (3, size.side, size.side)
    return lambda: pruning.prune(model, spec, batches, shape).report["params"][1]


def _by_torch_pruning(model: nn.Module, criterion: str, batches: pruning.criteria.Batches, size: Size) -> int:
    """Prune as its README does: gradients of a few batches add up, then one step of its pruner."""
    subject = copy.deepcopy(model)
    head = [layer for layer in subject.modules() if isinstance(layer, nn.Linear)][-1]
    pruner = tp.pruner.BasePruner(
        subject,
        batches[0][0][:1],
        importance=IMPORTANCES[criterion](),
        pruning_ratio=size.ratio,
        ignored_layers=[head],
    )
    if criterion == "taylor":
        for images, labels in batches:
            F.cross_entropy(subject(images), labels).backward()
    pruner.step()
    return profiling.count_parameters(subject)


def _row(name: str, criterion: str, found: list[timing.Round], params: int, peak: float | None) -> dict:
    time = timing.seconds(found, name)
    return {
        "criterion": criterion,
        "side": name,
        "seconds": time["median"],
        "lowest": time["min"],
        "highest": time["max"],
        "peak memory, MB": peak,
        "parameters after": params,
    }
