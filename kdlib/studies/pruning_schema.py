"""The pruning part of a study's YAML: what is cut, how it goes on, what the report gave."""

from typing import Any, Literal

from pydantic import ValidationError

from kdlib.errors import UserError
from kdlib.studies.fields import Strict, Text

PARAMETERS = (
    *("model", "criteria", "ratio", "macs", "protect_se", "steps", "round_to"),
    *("calibration_batches", "threshold", "keep", "normalise", "max_drop"),
)
"""Parameters of a call that replace fields of `Pruning`."""


class Cut(Strict):
    """Prunings that a study compares: the product of ratios (or of MACs to keep), SE protection and criteria.

    ``train``: what follows each, ``plain`` fine-tuning, ``distilled`` from the unpruned model, or nothing at all.
    ``seeds``: only the first so many.
    """

    ratio: list[float] = []
    macs: list[float] = []
    protect_se: list[bool] = [True]
    criteria: list[str] | None = None
    train: list[Literal["plain", "distilled"]] = ["plain"]
    seeds: int | None = None


class ReportedPruning(Strict):
    """A row of a pruning report: percentages and percentage points as printed, MB as MiB, FLOPs as thop's MACs."""

    accuracy: float | None = None
    kept: float | None = None  # accuracy as a share of the original's
    loss: float | None = None
    size_mb: float | None = None
    size_change: float | None = None
    latency_ms: float | None = None
    flops_g: float | None = None
    flops_change: float | None = None


class Pruning(Strict):
    """Structured pruning: one model, several criteria, at the report's ratio and at equal MACs, then fine-tuned.

    ``ratio``, ``macs`` and ``protect_se`` name the report's setting and the one of equal MACs among ``cuts``; ``head``
    is the module that starts fresh when the model starts from ImageNet weights. ``num_classes`` and ``image_size`` are
    the report's; ``latency``: batch sizes and repeats. Compression takes the smallest network that lost at most
    ``max_drop`` points of the teacher's validation accuracy. The rest are the fields of ``kdlib.pruning.Spec``.
    """

    model: str
    head: str
    scope: Literal["global", "layerwise"]
    criteria: list[str]
    cuts: list[Cut]
    ratio: float | None = None
    macs: float | None = None
    max_drop: float | None = None
    protect_se: bool = True
    steps: int = 1
    round_to: int = 1
    calibration_batches: int = 100
    calibration_batch_size: int = 32
    threshold: float = 0.25
    norm: int = 1
    normalise: Literal["mean", "none"] = "mean"
    keep: list[str] = []
    num_classes: int = 101
    image_size: int = 380
    latency_batches: list[int] = [1, 32]
    latency_repeats: int = 50
    reported: dict[str, ReportedPruning] = {}
    configuration: dict[str, Text | float | int] = {}


def applied(own: Pruning, profile: dict[str, Any], asked: dict[str, Any]) -> Pruning:
    """Return a study's pruning with a profile's fields and a caller's parameters in their place.

    A caller's ratio, MACs or choice of protection takes the place of all the study's cuts. What the report gave stands
    beside its own network at its own ratio alone. Raises ``UserError`` for a field that does not fit.
    """
    fields = own.model_dump() | profile
    told = {key: asked[key] for key in PARAMETERS if asked.get(key) is not None}
    if told.keys() & {"ratio", "macs", "protect_se"}:
        ratios = told.pop("ratio", [] if "macs" in told else [fields["ratio"]])
        macs = [told["macs"]] if "macs" in told else []
        protect = told.get("protect_se", fields["protect_se"])
        fields["cuts"] = [{"ratio": ratios, "macs": macs, "protect_se": [protect], "train": ["plain", "distilled"]}]
        fields["ratio"] = ratios[0] if ratios else fields["ratio"]
    elif "criteria" in told:
        fields["cuts"] = [{**cut, "criteria": None} for cut in fields["cuts"]]
    fields |= told
    if (fields["model"], fields["ratio"]) != (own.model, own.ratio):
        fields["reported"] = {}
    try:
        return Pruning.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"pruning: {where}: {first['msg']}") from None
