"""The report's table of what its models cost, and how four counters differ on them.

Reads ``costs.json`` of the study's folder (see ``kdlib.studies.architectures``) and the study's ``costs``.
"""

from __future__ import annotations

from kdlib.reporting.core import names
from kdlib.reporting.core.i18n import N_
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Cell, Row, Table
from kdlib.studies import artifacts
from kdlib.studies.schema import CostRow, Costs

_MEGA, _GIGA = 1e6, 1e9
# measure -> (how it is written, decimals, divided by): mult-adds in millions, MACs in thousands of millions.
_FORM = {
    **dict.fromkeys(("total_params", "trainable_params", "frozen_params"), ("count", 0, 1)),
    "mult_adds": ("decimal", 2, _MEGA),
    **dict.fromkeys(("macs_thop", "macs_fvcore", "macs_torch"), ("decimal", 4, _GIGA)),
}
_COUNTERS = {"mult_adds": "torchinfo", "macs_thop": "thop", "macs_fvcore": "fvcore", "macs_torch": "torch"}


def sheets(results: Results) -> list[Table]:
    """The study's cost table beside the report's numbers, and the counters beside each other.

    Nothing where the study names no costs, or its folder holds no ``costs.json``.
    """
    spec, folder = results.study.costs, results.folder
    found = artifacts.read(folder / artifacts.COSTS) if spec and folder else None
    return [_costs(spec, found, results.study.name), _counters(spec, found, results.study.name)] if found else []


def _costs(spec: Costs, found: dict, study: str) -> Table:
    rows = [Row([row.label], _cells(spec, row, found["counts"]), row.group) for row in spec.rows]
    columns = [entry.label for entry in spec.models]
    notes = [*spec.notes, names.counted_with(found["packages"])]
    legend = N_("One image. MB are 10⁶ bytes, as torchinfo gives them")
    return Table(spec.id, spec.title, [spec.head], columns, rows, legend, notes, study)


def _cells(spec: Costs, row: CostRow, counts: list[dict]) -> list[Cell]:
    kind, digits, unit = _FORM.get(row.measure, ("decimal", 2, 1))
    width = len(spec.models)
    sizes = row.at or [spec.sizes[0]] * width
    reported = row.reported or [None] * width
    values = [of.get(str(size), {}).get(row.measure) for of, size in zip(counts, sizes, strict=True)]
    return [
        Cell(None if value is None else value / unit, digits, kind, reported=said)
        for value, said in zip(values, reported, strict=True)
    ]


def _counters(spec: Costs, found: dict, study: str) -> Table:
    rows = []
    for entry, counts in zip(spec.models, found["counts"], strict=True):
        for size in spec.sizes:
            values = [counts.get(str(size), {}).get(key) for key in _COUNTERS]
            cells = [Cell(None if value is None else value / _MEGA, 2) for value in values]
            rows.append(Row([entry.label, f"{size}×{size}"], cells, entry.model))
    head = [N_("Model"), N_("Input (pixels)")]
    notes = [
        N_(
            "All four count convolutions and linear layers, the bulk of the work. torchinfo (mult-adds) "
            "adds the parameters of norm layers and the biases of linear ones; thop and fvcore add the "
            "arithmetic of batch norm and average pooling, each by its own rules (what fvcore calls "
            "flops are MACs); torch's counter, two FLOPs a MAC and halved here, adds nothing."
        ),
        names.counted_with(found["packages"]),
    ]
    title = N_("Multiply-accumulates of one image by four counters (millions)")
    legend = N_("Millions of multiply-accumulates (MACs)")
    return Table(f"{spec.id}_counters", title, head, list(_COUNTERS.values()), rows, legend, notes, study)
