"""What architectures count, which no weights change: for a study's cost table, and for tables in notebooks."""

from pathlib import Path
from typing import Any

from torch import nn

from kdlib import models, profiling, pruning
from kdlib.studies import artifacts, counts, schema
from kdlib.studies.report import Costs


def write_costs(costs: Costs, folder: Path) -> Path:
    """Count every model of a cost table at every size, beside a study's runs; what is there for the same models stays.

    The file holds ``counts``: one a model, ``{size: costs}`` with sizes as strings and costs as in
    ``kdlib.profiling.costs``, and the ``packages`` that counted. Raises ``UserError`` for an unknown model or layer, an
    image that is too small, and a counter that is not installed.
    """
    packages = profiling.packages()
    asked = {
        "models": [{"model": entry.model, "open": entry.open} for entry in costs.models],
        "num_classes": costs.num_classes,
        "in_channels": costs.in_channels,
        "sizes": costs.sizes,
        "packages": packages,
    }

    def count() -> dict[str, Any]:
        shape = (costs.num_classes, costs.in_channels)
        counted = [counts.kept(_costs, entry.model, *shape, entry.open, costs.sizes) for entry in costs.models]
        return {"packages": packages, "counts": counted}

    return artifacts.keep(folder / artifacts.COSTS, asked, count)


def _costs(name: str, num_classes: int, in_channels: int, open_: list[str] | None, sizes: list[int]) -> dict[str, Any]:
    model = _open(name, num_classes, in_channels, open_)
    return {str(size): profiling.costs(model, (in_channels, size, size)) for size in sizes}


def _open(name: str, num_classes: int, in_channels: int, open_: list[str] | None) -> nn.Module:
    model = models.build(name, num_classes, in_channels)
    if open_ is not None:
        models.open_only(model, open_)
    return model


def model_table(names: str | None = None, num_classes: int = 10, size: int = 32):
    """Return architectures as a pandas DataFrame: parameters, and MACs of one RGB image.

    ``names``: those to show, ``a,b,c``, in that order; without it every registered one, by size.
    """
    import pandas as pd

    rows = [
        {"model": name, **counts.kept(_size, name, num_classes, 3, size)}
        for name in (names.split(",") if names else models.names())
    ]
    table = pd.DataFrame(rows) if names else pd.DataFrame(rows).sort_values(["parameters", "model"])
    return table.set_index("model")


def variant_table(study: str, num_classes: int = 10, size: int = 32):
    """Return a transfer study's choices of open layers as a pandas DataFrame: trained and frozen parameters, MACs.

    MACs are of one RGB image: those of the forward pass, and of the layers that the backward pass visits.
    """
    import pandas as pd

    transfer = schema.load(study)
    rows = []
    for name, variant in transfer.variants.items():
        found = counts.kept(_opened, transfer.model, num_classes, 3, size, variant.open)
        starts = {"starts from": "source weights" if variant.weights else "random weights"}
        rows.append({"open layers": name, **starts, **found})
    return pd.DataFrame(rows).set_index("open layers")


def reference(name: str, num_classes: int, in_channels: int, size: int, ratio: float) -> list[dict[str, Any]]:
    """Count an architecture whole and pruned layer by layer, which leaves the same channels whatever the weights are.

    One dict a row: scope, protect_se and ratio (None: whole), params, size_mib, macs_thop of one image of ``size``.
    """
    model = models.build(name, num_classes, in_channels)
    shape = (in_channels, size, size)
    rows: list[dict[str, Any]] = [{"scope": None, "protect_se": None, "ratio": None, **counted(model, shape)}]
    for protect in (False, True):
        asked = pruning.Spec("magnitude", ratio=ratio, scope="layerwise", protect_se=protect)
        pruned = pruning.prune(model, asked, shape=shape)
        if protect and "squeeze-excite" not in pruned.report["protected"].values():
            break  # nothing to protect: the same row twice
        rows.append({"scope": "layerwise", "protect_se": protect, "ratio": ratio, **counted(pruned.model, shape)})
    return rows


def reference_table(names: str = "resnet50,efficientnet_b4", num_classes: int = 101, size: int = 380):
    """Return `reference` of several architectures as a pandas DataFrame; the same on every machine.

    ``ratio``: of layer-wise pruning, None for the whole network; SE: squeeze-excite bottlenecks, of networks that have
    them; GMACs: thop's count of one RGB image of ``size``.
    """
    import pandas as pd

    rows = []
    for name in names.split(","):
        found = counts.kept(reference, name, num_classes, 3, size, 0.1)
        for row in found:
            rows.append(
                {
                    "network": name,
                    "ratio": row["ratio"],
                    "SE protected": None if len(found) == 2 else {False: "no", True: "yes"}.get(row["protect_se"]),
                    "parameters": row["params"],
                    "MiB": row["size_mib"],
                    "size change (%)": 100 * (row["size_mib"] / found[0]["size_mib"] - 1),
                    "GMACs": row["macs_thop"] / 1e9,
                }
            )
    return pd.DataFrame(rows).set_index("network")


def counted(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return what pruning saves: parameters, MiB, and thop's MACs of one image of ``shape`` (C, H, W)."""
    return {
        "params": profiling.count_parameters(model),
        "size_mib": profiling.state_bytes(model) / 2**20,
        "macs_thop": profiling.macs_thop(model, shape),
    }


def _size(name: str, num_classes: int, in_channels: int, size: int) -> dict[str, int]:
    model = models.build(name, num_classes, in_channels)
    macs = profiling.forward_macs(model, (in_channels, size, size))
    return {"parameters": profiling.count_parameters(model), "MACs": macs}


def _opened(name: str, num_classes: int, in_channels: int, size: int, open_: list[str] | None) -> dict[str, int]:
    model = _open(name, num_classes, in_channels, open_)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layers = profiling.layer_macs(model, (in_channels, size, size))
    opened = [
        macs for layer, macs in layers.items() if any(p.requires_grad for p in model.get_submodule(layer).parameters())
    ]
    return {
        "trained": trained,
        "frozen": profiling.count_parameters(model) - trained,
        "MACs forward": sum(layers.values()),
        "MACs open": sum(opened),
    }
