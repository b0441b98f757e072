"""Do the runs that train nothing: a checkpoint tested as it is, and a model pruned in many ways."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from kdlib import models, pruning
from kdlib.copies import on_cpu
from kdlib.progress import Progress, note
from kdlib.studies import records
from kdlib.studies.run import Run
from kdlib.training import Stop, evaluate


def do(
    runs: Sequence[Run],
    whole: nn.Module | None,
    folder: Path,
    device: torch.device,
    stop: Stop,
    bar: Progress,
) -> None:
    """Write the record of each run; ``whole`` is the unpruned model of all that prune. Ends between two when asked to.

    The model is traced once for each choice of what stays, and scored once for each criterion and draw of calibration
    images, however many ratios are asked of it.
    """
    structures: dict[tuple, pruning.Structure] = {}
    scores: dict[tuple, dict] = {}
    for i, run in enumerate(runs):
        stop.check(f"stopped after {i} of {len(runs)} models")
        pruned = None if run.prune is None else _pruned(run, whole.to(device), structures, scores, device)
        model = _taken(run) if pruned is None else pruned.model
        outcome = evaluate(model, run.dataset, device, run.model)
        extra = {"dataset": run.dataset.describe(), "train_flops": run.train_flops(), "device": str(device)}
        if pruned is None:
            outcome.state = on_cpu(model)
        else:
            extra["pruning"] = pruned.report
            _say_check(run.model, **pruned.report["check"])
        records.write(folder, run.id, run.config, outcome, extra, pruned)
        bar.advance(run.train_flops() / 1e12)


def _say_check(model: str, verdict: str, kept: list[str]) -> None:
    """Say what stayed whole and what was not checked; that all is as it should be needs no word."""
    if kept:
        note(f"of {model} stay whole, as cut they would be wrong: {', '.join(kept)}")
    if verdict != "equal":
        note(f"{model} pruned, compared with the whole network without the same channels: {verdict}")


def _taken(run: Run) -> nn.Module:
    """Return the model of a checkpoint, which must fit as a whole."""
    model = run.build()
    models.start_from(model, run.weights.load(run.model))
    return model


def _pruned(run: Run, whole: nn.Module, structures: dict, scores: dict, device: torch.device) -> pruning.Pruned:
    spec = run.prune
    kept = (spec.keep, spec.protect_se)
    if kept not in structures:
        structures[kept] = pruning.scan(whole, run.dataset.shape, *kept)
    batches = pruning.calibration(run.dataset, spec, device) if spec.calibrated else []
    asked = (spec.criterion, spec.calibration_batches, spec.batch_size, spec.threshold, spec.norm, spec.seed)
    if asked not in scores:
        scores[asked] = pruning.score(whole, batches, spec)
    return pruning.prune(whole, spec, batches, run.dataset.shape, structure=structures[kept], scores=scores[asked])
