"""What a model answers as it is: logits of whole splits, and an outcome without training."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from kdlib.data import Dataset, Split, normalise
from kdlib.training.job import Outcome
from kdlib.training.precision import autocast

_EVAL_BATCH, _EVAL_PIXELS = 500, 500 * 64 * 64  # images at a time, and fewer of large ones


def eval_batches(split: Split, dataset: Dataset, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield normalised images and labels of a split in its order, on the device, in batches that fit."""
    _, height, width = dataset.shape
    batch = max(1, min(_EVAL_BATCH, _EVAL_PIXELS // (height * width)))
    for images, labels in zip(split.images.split(batch), split.labels.split(batch), strict=True):
        yield normalise(images.to(device), dataset.mean, dataset.std), labels.to(device)


def evaluate(model: nn.Module, dataset: Dataset, device: torch.device, precision: str = "fp32") -> Outcome:
    """Return the outcome of a model that is not trained: epoch 0, no history, validation and test metrics.

    ``precision``: fp32 or bf16. The model is moved to the device and left in eval mode; its state is not
    in the outcome.
    """
    start = time.perf_counter()
    model = model.to(device, memory_format=torch.channels_last).eval()
    found = {}
    with torch.inference_mode(), autocast(device, precision):
        for part in ("val", "test"):
            rows = [model(x).float().cpu() for x, _ in eval_batches(getattr(dataset, part), dataset, device)]
            found[part] = torch.cat(rows)
    metrics = {
        "epoch": 0,
        "params": sum(p.numel() for p in model.parameters()),
        "trainable_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    for part, logits in found.items():
        labels = getattr(dataset, part).labels
        metrics[f"{part}_accuracy"] = (logits.argmax(dim=1) == labels).double().mean().item()
        metrics[f"{part}_loss"] = F.cross_entropy(logits.double(), labels).item()
    return Outcome(
        state={},
        history=[],
        logits=found["test"],
        labels=dataset.test.labels,
        metrics=metrics,
        diverged=None,
        precision=precision,
        seconds=(seconds := time.perf_counter() - start),
        groups=dataset.test.groups,
        group_seconds=seconds,
    )
