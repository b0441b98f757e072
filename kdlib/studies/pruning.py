"""Pruning studies: one model, pruned by several criteria, then fine-tuned alone or with the unpruned model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt

from kdlib.studies.distillation import IN_POINTS, Distilling
from kdlib.studies.report import Strict, Text
from kdlib.studies.study import Compared, taken

if TYPE_CHECKING:
    from kdlib.data import Dataset
    from kdlib.pruning import Spec

IN_SCORING = ("criteria", "protect_se", "steps", "round_to", "calibration_batches", "threshold", "keep", "normalise")
"""Parameters of a call that replace fields of `Scoring`."""
IN_PRUNING = ("model", "ratio", "macs", *IN_SCORING)
"""Parameters of a call that replace fields of `Pruning`."""


class Cut(Strict):
    """Prunings that a study compares: the product of ratios (or of MACs to keep), SE protection and criteria.

    ``train``: what follows each, ``plain`` fine-tuning, ``distilled`` from the unpruned model, or nothing at all.
    ``seeds``: only the first so many, unless a call names seeds.
    """

    ratio: list[float] = []
    macs: list[float] = []
    protect_se: list[bool] = [True]
    criteria: list[str] | None = None
    train: list[Literal["plain", "distilled"]] = ["plain"]
    seeds: PositiveInt | None = None


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


class Scoring(Strict):
    """How channels are scored and taken, the fields of ``kdlib.pruning.Spec``; ``latency``: batch sizes and repeats."""

    scope: Literal["global", "layerwise"]
    criteria: list[str]
    protect_se: bool = True
    steps: int = 1
    round_to: int = 1
    calibration_batches: int = 100
    calibration_batch_size: int = 32
    threshold: float = 0.25
    norm: int = 1
    normalise: Literal["mean", "none"] = "mean"
    keep: list[str] = []
    latency_batches: list[int] = [1, 32]
    latency_repeats: int = 50

    def spec(self, criterion: str, seed: int, **target) -> Spec:
        """Return how a run is pruned; ``target``: ``ratio`` or ``macs``, and ``protect_se`` if not this one's."""
        from kdlib.pruning import Spec

        names = ("scope", "steps", "round_to", "threshold", "norm", "normalise", "protect_se", "calibration_batches")
        own = {name: getattr(self, name) for name in names}
        own |= {"batch_size": self.calibration_batch_size, "keep": tuple(self.keep), "seed": seed}
        return Spec(criterion, **(own | target))


class Pruning(Scoring):
    """Structured pruning: one model, several criteria, at the report's ratio and at equal MACs, then fine-tuned.

    ``ratio``, ``macs`` and ``protect_se`` name the report's setting and the one of equal MACs among ``cuts``; ``head``
    is the module that starts fresh when the model starts from ImageNet weights. ``num_classes`` and ``image_size`` are
    the report's.
    """

    model: str
    head: str
    cuts: list[Cut]
    ratio: float
    macs: float | None = None
    num_classes: int = 101
    image_size: int = 380
    reported: dict[str, ReportedPruning] = {}
    configuration: dict[str, Text | float | int] = {}


class PruningStudy(Distilling):
    """For each seed the unpruned model; it pruned at each setting; and each pruned one fine-tuned.

    ``points`` are those of fine-tuning that distils from the unpruned model; the teacher's recipe and seed are the
    unpruned model's. ``weights``: what that starts from, or ``scratch``: from none.
    """

    kind: Literal["pruning"]
    pruning: Pruning
    weights: str = "imagenet"
    of_kind: ClassVar = (*IN_PRUNING, *IN_POINTS)

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        """Put the caller's prunings in the place of the study's.

        A ratio, MACs or choice of protection takes the place of all cuts. What the report gave stands beside its own
        network at its own ratio alone.
        """
        told = taken(call, IN_PRUNING)
        fields = dict(values["pruning"])
        if told.get("model", self.pruning.model) != self.pruning.model:
            fields["head"] = ""
        if told.keys() & {"ratio", "macs", "protect_se"}:
            ratios = told.pop("ratio", [] if "macs" in told else [fields["ratio"]])
            macs = [told["macs"]] if "macs" in told else []
            protect = told.get("protect_se", fields.get("protect_se", True))
            fields["cuts"] = [{"ratio": ratios, "macs": macs, "protect_se": [protect], "train": ["plain", "distilled"]}]
            fields["ratio"] = ratios[0] if ratios else fields["ratio"]
        named = [name for name in ("criteria", "seeds") if name in told or name in call]
        fields["cuts"] = [cut | dict.fromkeys(named) for cut in fields["cuts"]]  # the call's are those of every cut
        fields |= told
        if (fields["model"], fields["ratio"]) != (self.pruning.model, self.pruning.ratio):
            fields["reported"] = {}
        return super()._asked({**values, "pruning": fields}, call)

    def summary(self) -> dict[str, str]:
        asked = self.pruning
        share = f"{asked.scope}, ratio {asked.ratio:g}"
        return {"model": asked.model, "pruning": share, "criteria": ", ".join(asked.criteria)}

    def check(self) -> None:
        from kdlib import models, pruning

        models.check(self.pruning.model)
        for criterion in self.pruning.criteria:
            pruning.Spec(criterion, ratio=self.pruning.ratio)
        self.check_weights()
        super().check()

    @property
    def timed(self) -> Pruning:
        return self.pruning

    def runs(self, dataset: Dataset, source: Dataset | None = None) -> Iterator[Compared]:
        from kdlib.studies.run import Run

        model, common = self.pruning.model, self.common(dataset)
        ((column, recipe),) = self.by_column.items()
        for i, seed in enumerate(self.seeds):
            original = self.unpruned(model, seed, common, self.pruning.head)
            yield Compared("original", "original", original)
            for cut, spec in self._specs(seed):
                if cut.seeds is not None and i >= cut.seeds:
                    continue
                pruned = Run(model, None, seed, **common, weights=original, prune=spec)
                yield Compared("pruned", column, pruned)
                if "plain" in cut.train:
                    yield Compared("finetuned", column, Run(model, recipe, seed, **common, weights=pruned))
                for _, losses in self.losses if "distilled" in cut.train else ():
                    for loss in losses:
                        own = {"weights": pruned, "loss": loss, "teacher": original}
                        yield Compared("distilled", column, Run(model, recipe, seed, **common, **own))

    def _specs(self, seed: int) -> Iterator[tuple[Cut, Spec]]:
        for cut in self.pruning.cuts:
            targets = [{"ratio": ratio} for ratio in cut.ratio] + [{"macs": macs} for macs in cut.macs]
            for target in targets:
                for protect in cut.protect_se:
                    for criterion in cut.criteria or self.pruning.criteria:
                        yield cut, self.pruning.spec(criterion, seed, **target, protect_se=protect)
