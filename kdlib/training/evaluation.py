"""What a model answers as it is: logits of whole splits, their scores, and an outcome without training."""

import math
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from kdlib.data import Dataset, Split, normalise
from kdlib.training.check import check_model, random_states, seed_draws
from kdlib.training.job import Outcome, derive
from kdlib.training.world import ALONE, World

# Images at a time, and fewer of large ones. A CPU answers fastest while a layer's maps stay in its caches.
_BATCH = {"cpu": 128, "cuda": 500}
_PIXELS = 500 * 64 * 64
NOT_FINITE = "the loss or the logits became NaN or infinite"
FAR_ABOVE = "validation cross-entropy ended far above guessing"
FELL_BACK = "accuracy fell back to guessing"


def batch_of(dataset: Dataset, device: torch.device) -> int:
    """Return how many images a model that is not trained takes at a time."""
    _, height, width = dataset.shape
    return max(1, min(_BATCH.get(device.type, 128), _PIXELS // (height * width)))


def eval_batches(
    split: Split, dataset: Dataset, device: torch.device, world: World = ALONE
) -> Iterator[tuple[int, torch.Tensor | None]]:
    """Yield number and normalised images, on the device, of this process's batches of a split, which fit.

    None for images where the others still have a batch.
    """
    batches = split.images.split(batch_of(dataset, device))
    for i in world.turns(range(len(batches))):
        yield i, None if i is None else normalise(batches[i].to(device), dataset.mean, dataset.std)


def scores(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> dict[str, float]:
    """Return accuracy, mean recall of the classes that occur, and cross-entropy (nats; weighted by class if asked).

    logits (N, K), labels (N,), weights (K,), all on the CPU.
    """
    hits = (logits.argmax(dim=1) == labels).double()
    counts = torch.bincount(labels)
    right = torch.bincount(labels, hits)
    return {
        "accuracy": hits.mean().item(),
        "balanced_accuracy": (right / counts)[counts > 0].mean().item(),
        "loss": F.cross_entropy(logits.double(), labels, None if weights is None else weights.double()).item(),
    }


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Return how many parameters a model has, and how many of them take gradients."""
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "trainable_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def blown_up(history: list[dict[str, float]], val: Split, num_classes: int) -> dict | None:
    """Tell from its epochs a run that diverged with finite numbers: ``{"reason", "epoch"}``, or None.

    Its measure is guessing: every class alike, whose cross-entropy is log K however the classes are distributed or
    weighted, and whose mean recall is one over the number of classes that occur. A run diverged when its last
    validation cross-entropy is more than ten times that of guessing; when training and validation both end at more
    than twice that and mean recall is not above guessing; or when mean recall fell back to guessing. Not above is
    within two standard errors, fallen from more than six.
    """
    if not history:
        return None
    counts = torch.bincount(val.labels).double()
    counts = counts[counts > 0]
    guess, chance = math.log(num_classes), 1 / len(counts)
    error = math.sqrt(chance * (1 - chance) * (1 / counts).sum().item()) / len(counts)
    last, recalls = history[-1], [row["val_balanced_accuracy"] for row in history]
    guesses = recalls[-1] <= chance + 2 * error
    if last["val_loss"] > 10 * guess or (guesses and min(last["train_loss"], last["val_loss"]) > 2 * guess):
        return {"reason": FAR_ABOVE, "epoch": len(history)}
    above = [i for i, recall in enumerate(recalls) if recall > chance + 6 * error]
    if guesses and above:
        return {"reason": FELL_BACK, "epoch": above[-1] + 2}
    return None


def evaluate(model: nn.Module, dataset: Dataset, device: torch.device, name: str = "") -> Outcome:
    """Return the outcome of a model that is not trained: epoch 0, no history, validation and test metrics, in fp32.

    The model is moved to the device and left in eval mode; its state is not in the outcome. A model whose logits are
    not all finite has diverged.
    """
    start = time.perf_counter()
    name = name or type(model).__name__
    model = model.to(device)
    found = {}
    with random_states([device] if device.type == "cuda" else []), torch.no_grad():
        handled = check_model(model, dataset, name, trains=False)
        for part in ("val", "test"):
            rows = []
            for i, images in eval_batches(getattr(dataset, part), dataset, device):
                seed_draws(derive(0, "evaluate", part, i), device)
                rows.append(handled.run(model.eval(), images, name).float().cpu())
            found[part] = torch.cat(rows)
    metrics = {"epoch": 0, **parameter_counts(model)}
    for part, logits in found.items():
        metrics |= {f"{part}_{key}": value for key, value in scores(logits, getattr(dataset, part).labels).items()}
    finite = all(logits.isfinite().all() for logits in found.values())
    return Outcome(
        state={},
        history=[],
        logits=found["test"],
        labels=dataset.test.labels,
        metrics=metrics,
        diverged=None if finite else {"reason": NOT_FINITE, "epoch": 0},
        precision="fp32",
        seconds=(seconds := time.perf_counter() - start),
        groups=dataset.test.groups,
        group_seconds=seconds,
    )
