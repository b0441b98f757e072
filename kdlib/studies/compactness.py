"""What pruning saved, measured: sizes, MACs and latency of a study's models, taken in turns on one machine."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlib import profiling, pruning
from kdlib.studies import artifacts, counts, records, runner, schema
from kdlib.studies.architectures import counted, reference
from kdlib.studies.call import Call
from kdlib.studies.pruning import Scoring
from kdlib.studies.records import Condition
from kdlib.training import resolve_device


def write(call: Call) -> Path | None:
    """Measure the unpruned model and the pruned ones of a pruning study; what is there for the same runs stays.

    The models are those of the first seed at the report's ratio and at equal MACs, before fine-tuning, which changes
    weights and not shapes. None for a study that prunes nothing.
    """
    spec = call.study.timed
    if spec is None:
        return None
    report = schema.load(call.study.name).pruning
    conditions = _conditions(call, spec)
    device = resolve_device(call.parameters.device)
    asked = {
        "runs": [[one.id, records.contents(call.runs_folder, one.id)] for one in conditions],
        "batches": spec.latency_batches,
        "repeats": spec.latency_repeats,
        "turns": profiling.TURN,
        "device": str(device),
        # A notebook's kernel has fewer threads, and another notebook beside it: what was measured before stays.
        "hardware": {name: own for name, own in records.hardware().items() if name != "threads"},
        "packages": profiling.packages(),
    }
    if report:
        # The report's network, also where a small one stands in; one of the caller's as it is used here.
        network, own = (report.model, report.num_classes, 3, report.image_size), call.parameters.model
        if own not in (None, report.model):
            size = call.study.input_size or call.dataset.shape[1]
            network = (own, call.dataset.num_classes, call.dataset.shape[0], size)
        asked["counted"] = [*network, report.ratio]

    def measure() -> dict[str, Any]:
        return {
            **{"packages": profiling.packages(), "hardware": records.hardware(), "device": str(device)},
            **{"image_size": call.dataset.shape[1]},
            **{"repeats": spec.latency_repeats, "warm_up": profiling.UNTIMED},
            "models": _models(call, spec, conditions, device, report and network[-1]),
            **({"report_size": network[-1], "reference": counts.kept(reference, *asked["counted"])} if report else {}),
        }

    return artifacts.keep(call.folder / artifacts.PRUNED, asked, measure)


def _conditions(call: Call, spec: Scoring) -> list[Condition]:
    conditions = call.plan.conditions
    first = [one for one in conditions if one.role == "pruned" and one.seed == call.study.seeds[0]]
    shown = [one for one in first if one.macs is not None or one.ratio == spec.ratio]
    whole = {one.role: one for one in reversed(conditions) if one.role in ("teacher", "student", "original")}
    return [*reversed(whole.values()), *shown]


def _models(
    call: Call, spec: Scoring, conditions: list[Condition], device: torch.device, report_size: int | None
) -> list[dict[str, Any]]:
    built = [runner.trained(call.plan.runs[condition.id], call.runs_folder) for condition in conditions]
    found = [
        {
            **{key: getattr(condition, key) for key in ("id", "role", "criterion", "ratio", "macs", "protect_se")},
            **counted(model, call.dataset.shape),
            "odd_channels": _odd(model),
            "latency": {},
        }
        for condition, model in zip(conditions, built, strict=True)
    ]
    for row, model in zip(found, built, strict=True) if report_size else ():
        row["macs_thop_report"] = profiling.macs_thop(model, (call.dataset.shape[0], report_size, report_size))
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
