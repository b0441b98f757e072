"""What pruning saved, measured: sizes, MACs and latency of a study's models, taken in turns on one machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kdlib import profiling, pruning
from kdlib.studies import artifacts, counts, records, runner, schema
from kdlib.studies.architectures import reference
from kdlib.studies.pruning import Pruning
from kdlib.studies.records import Condition
from kdlib.training import resolve_device

if TYPE_CHECKING:
    from kdlib.studies.experiment import Experiment


def write(call: "Experiment") -> Path | None:
    """Measure the unpruned model and the pruned ones of a pruning study; what is there for the same runs stays.

    The models are those of the first seed at the report's ratio and at equal MACs, before fine-tuning, which changes
    weights and not shapes. None for a study that prunes nothing.
    """
    spec = call.study.pruning
    if spec is None:
        return None
    report = schema.load(call.study.name).pruning
    counted = call.parameters.model or report.model  # the report's network, also where a small one stands in
    conditions = _conditions(call, spec)
    device = resolve_device(call.parameters.device)
    asked = {
        "runs": [condition.id for condition in conditions],
        "batches": spec.latency_batches,
        "repeats": spec.latency_repeats,
        "turns": profiling.TURN,
        "size": spec.image_size,
        "classes": spec.num_classes,
        "counted": [counted, report.ratio],
        "device": str(device),
        # A notebook's kernel has fewer threads, and another notebook beside it: what was measured before stays.
        "hardware": {name: own for name, own in records.hardware().items() if name != "threads"},
        "packages": profiling.packages(),
    }

    def measure() -> dict[str, Any]:
        return {
            **{"packages": profiling.packages(), "hardware": records.hardware(), "device": str(device)},
            **{"image_size": call.dataset.shape[1], "report_size": spec.image_size},
            **{"repeats": spec.latency_repeats, "warm_up": profiling.UNTIMED},
            "models": _models(call, spec, conditions, device),
            "reference": counts.kept(reference, counted, spec.num_classes, 3, spec.image_size, report.ratio),
        }

    return artifacts.keep(call.folder / artifacts.PRUNED, asked, measure)


def _conditions(call: "Experiment", spec: Pruning) -> list[Condition]:
    conditions = call.plan.conditions
    first = call.study.seeds[0]
    original = next(condition for condition in conditions if condition.role == "original")
    shown = [condition for condition in conditions if condition.role == "pruned" and condition.seed == first]
    return [original, *(one for one in shown if one.macs is not None or one.ratio == spec.ratio)]


def _models(
    call: "Experiment", spec: Pruning, conditions: list[Condition], device: torch.device
) -> list[dict[str, Any]]:
    built = [runner.trained(call.plan.runs[condition.id], call.runs_folder) for condition in conditions]
    channels, height, width = call.dataset.shape
    found = [
        {
            **{key: getattr(condition, key) for key in ("id", "role", "criterion", "ratio", "macs", "protect_se")},
            "size_mib": profiling.state_bytes(model) / 2**20,
            "macs_thop": profiling.macs_thop(model, (channels, height, width)),
            "macs_thop_report": profiling.macs_thop(model, (channels, spec.image_size, spec.image_size)),
            "odd_channels": _odd(model),
            "latency": {},
        }
        for condition, model in zip(conditions, built, strict=True)
    ]
    twins = [*built, built[0]]  # the original once more: what two equal networks differ by is noise
    for size in spec.latency_batches:
        batch = torch.zeros(size, *call.dataset.shape, device=device)
        *timed, again = profiling.latencies(twins, batch, spec.latency_repeats)
        for row, times in zip(found, timed, strict=True):
            row["latency"][str(size)] = times
        found[0].setdefault("latency_again", {})[str(size)] = again
    return found


def _odd(model: nn.Module) -> int:
    """How many convolutions and linear layers have an odd number of output channels."""
    return sum(layer.weight.shape[0] % 2 for layer in model.modules() if isinstance(layer, pruning.LAYERS))
