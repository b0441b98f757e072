"""What pruning saved, measured: sizes, MACs and latency of a study's models, taken in turns on one machine."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlib import models, profiling, pruning
from kdlib.studies import counts, records, runner
from kdlib.studies.call import Call
from kdlib.studies.pruning_schema import Pruning
from kdlib.studies.records import Condition
from kdlib.training import resolve_device

FILE = "pruned.json"


def write(call: Call) -> Path | None:
    """Measure the unpruned model and the pruned ones of a pruning study; what is there for the same runs stays.

    The models are those of the first seed at the report's ratio and at equal MACs, before fine-tuning, which changes
    weights and not shapes. None for a study that prunes nothing.
    """
    spec = call.settings.pruning
    if spec is None:
        return None
    path = call.folder / FILE
    report = call.settings.study.pruning
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
        "hardware": records.hardware(),
        "packages": profiling.packages(),
    }
    if _current(path, asked):
        return path
    found = {
        **{"asked": asked, "packages": profiling.packages(), "hardware": records.hardware(), "device": str(device)},
        **{"image_size": call.dataset.shape[1], "report_size": spec.image_size},
        **{"repeats": spec.latency_repeats, "warm_up": profiling.UNTIMED},
        "models": _models(call, spec, conditions, device),
        "reference": call.settings.study.report
        and counts.kept(reference, counted, spec.num_classes, 3, spec.image_size, report.ratio),
    }
    records.write_text(path, json.dumps(found, indent=1) + "\n")
    return path


def _conditions(call: Call, spec: Pruning) -> list[Condition]:
    conditions = call.plan.conditions
    first = call.settings.seeds[0]
    original = next(condition for condition in conditions if condition.role == "original")
    shown = [condition for condition in conditions if condition.role == "pruned" and condition.seed == first]
    teacher = [condition for condition in conditions if condition.role == "teacher" and condition.id != original.id][:1]
    return [*teacher, original, *(one for one in shown if one.macs is not None or one.ratio == spec.ratio)]


def _models(call: Call, spec: Pruning, conditions: list[Condition], device: torch.device) -> list[dict[str, Any]]:
    built = [runner.trained(call.plan.runs[condition.id], call.runs_folder) for condition in conditions]
    channels, height, width = call.dataset.shape
    found = [
        {
            **{key: getattr(condition, key) for key in ("id", "role", "criterion", "ratio", "macs", "protect_se")},
            "params": profiling.count_parameters(model),
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


def reference(name: str, num_classes: int, in_channels: int, size: int, ratio: float) -> list[dict[str, Any]]:
    """Count an architecture whole and pruned layer by layer, which leaves the same channels whatever the weights are.

    One dict a row: scope, protect_se and ratio (None: whole), params, size_mib, macs_thop of one image of ``size``.
    """
    model = models.build(name, num_classes, in_channels)
    shape = (in_channels, size, size)
    rows: list[dict[str, Any]] = [{"scope": None, "protect_se": None, "ratio": None, **_counted(model, shape)}]
    for protect in (False, True):
        asked = pruning.Spec("magnitude", ratio=ratio, scope="layerwise", protect_se=protect)
        # Channels do not depend on the size of the image.
        pruned = pruning.prune(model, asked, shape=(in_channels, 64, 64))
        if protect and "squeeze-excite" not in pruned.report["protected"].values():
            break  # nothing to protect: the same row twice
        row = {"scope": "layerwise", "protect_se": protect, "ratio": ratio, **_counted(pruned.model, shape)}
        rows.append(row)
    return rows


def reference_table(names: str = "resnet50,efficientnet_b4", num_classes: int = 101, size: int = 380):
    """Return `reference` of several architectures as a pandas DataFrame; the same on every machine.

    SE: squeeze-excite bottlenecks; GMACs: thop's count of one RGB image of ``size``.
    """
    import pandas as pd

    rows = []
    for name in names.split(","):
        found = counts.kept(reference, name, num_classes, 3, size, 0.1)
        for row in found:
            cut = "" if row["scope"] is None else f", layer-wise {row['ratio']:g}"
            if len(found) > 2:
                cut += {None: "", False: ", SE open", True: ", SE spared"}[row["protect_se"]]
            rows.append(
                {
                    "network": name + cut,
                    "parameters": f"{row['params']:,}",
                    "MiB": f"{row['size_mib']:.2f}",
                    "change": f"{100 * (row['size_mib'] / found[0]['size_mib'] - 1):+.2f}%",
                    "GMACs": f"{row['macs_thop'] / 1e9:.2f}",
                }
            )
    return pd.DataFrame(rows).set_index("network")


def _counted(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "size_mib": profiling.state_bytes(model) / 2**20,
        "macs_thop": profiling.macs_thop(model, shape),
        "params": profiling.count_parameters(model),
    }


def _current(path: Path, asked: dict[str, Any]) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("asked") == asked
    except (OSError, ValueError):
        return False
