"""What the models of a study's cost table cost: counted once, kept beside the study's runs."""

from pathlib import Path
from typing import Any

from kdlib import models, profiling
from kdlib.errors import UserError
from kdlib.studies import counts, records, schema

FILE = "costs.json"


def measure(study: schema.Study) -> dict[str, Any]:
    """Count every model of ``study.costs`` at every size; the same on every machine with the same packages.

    Returns ``{"asked": what was counted, "packages": versions, "counts": [one a model: {size: costs}]}`` with sizes as
    strings and costs as in ``kdlib.profiling.costs``. Raises ``UserError`` for an unknown model or layer, an image that
    is too small, and a counter that is not installed.
    """
    costs = study.costs
    found = [
        counts.kept(_counted, entry.model, costs.num_classes, costs.in_channels, entry.open, costs.sizes)
        for entry in costs.models
    ]
    return {"asked": _asked(costs), "packages": profiling.packages(), "counts": found}


def _counted(
    name: str, num_classes: int, in_channels: int, open_: list[str] | None, sizes: list[int]
) -> dict[str, Any]:
    model = models.build(name, num_classes, in_channels)
    if open_ is not None:
        models.open_only(model, open_)
    return {str(size): profiling.costs(model, (in_channels, size, size)) for size in sizes}


def write(study: schema.Study, folder: Path) -> Path:
    """Write ``measure`` to the study's folder, whole or not at all; what is there for the same models stays."""
    path = folder / FILE
    if _current(path, study.costs):
        return path
    found = measure(study)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_text(path, records.sealed(found) + "\n")
    return path


def _asked(costs: schema.Costs) -> dict[str, Any]:
    """What decides the counts; titles and reported numbers do not."""
    chosen = [{"model": entry.model, "open": entry.open} for entry in costs.models]
    return {
        "models": chosen,
        "num_classes": costs.num_classes,
        "in_channels": costs.in_channels,
        "sizes": costs.sizes,
    }


def _current(path: Path, costs: schema.Costs) -> bool:
    try:
        found = records.read_sealed(path)
    except (OSError, UserError):
        return False
    return found.get("asked") == _asked(costs) and found.get("packages") == profiling.packages()
