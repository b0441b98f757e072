"""Transfer studies: one model on a target task, with several choices of what is trained there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kdlib.studies.report import Strict
from kdlib.studies.study import Compared, Study

if TYPE_CHECKING:
    from kdlib.data import Dataset


class Variant(Strict):
    """One choice of layers left open (None: all), with or without weights to start from, for some or all columns."""

    open: list[str] | None = None
    weights: bool = True
    columns: list[str] | None = None


class Transfer(Study):
    """For each seed and column a model for each choice of open layers, after the run of the source task, if any.

    ``head``: the module that starts fresh. ``also``: networks beside the study's own, from their ImageNet weights,
    each with its choices.
    """

    kind: Literal["transfer"]
    model: str
    head: str
    variants: dict[str, Variant]
    also: dict[str, dict[str, Variant]] = {}
    weights: str = "imagenet"
    pruning: ClassVar[None] = None
    of_kind: ClassVar = ("model", "columns", "open_layers", "source_epochs", "source_root")

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        variants = dict(values["variants"])
        if call.keys() & {"model", "open_layers", "weights"}:
            values = {**values, "also": {}}
        if call.get("model", self.model) != self.model:
            from kdlib import models

            # Of the choices of open layers those by meaning hold for another model: head, all, and from scratch.
            models.check(call["model"])
            head = models.head_of(call["model"])
            variants = {
                name: {**own, "open": own.get("open") and [head]}
                for name, own in variants.items()
                if own.get("open") in (None, [self.head])
            }
            values = {**values, "head": head}
        if "open_layers" in call:  # a choice's name, or modules such as layer3+fc, trained in every column
            variants = {
                name: {**variants.get(name, {"open": name.split("+")}), "columns": None}
                for name in call.pop("open_layers")
            }
        return super()._asked({**values, "variants": variants}, call)

    @property
    def choices(self) -> dict[str, dict[str, Variant]]:
        """The choices of open layers of each network, the study's own first."""
        return {self.model: self.variants, **self.also}

    def summary(self) -> dict[str, str]:
        return {"model": ", ".join(self.choices), "open": ", ".join(self.variants)}

    def check(self) -> None:
        self.source_images()
        _ = self.checkpoint
        super().check()

    def runs(self, dataset: Dataset, source: Dataset | None = None) -> Iterator[Compared]:
        from kdlib import models
        from kdlib.studies.run import Run, Weights

        for seed in self.seeds:
            weights = self.begin(self.model, seed, source)
            if isinstance(weights, Run):
                yield Compared("source", "source", weights)
            starts = {self.model: {"weights": weights, "head": self.head}}
            for model in self.also:
                starts[model] = {"weights": Weights(models.imagenet_name(model)), "head": models.head_of(model)}
            for column, recipe in self.by_column.items():
                for model, variants in self.choices.items():
                    for name, variant in variants.items():
                        if variant.columns and column not in variant.columns:
                            continue
                        begin = starts[model] if variant.weights else {}
                        open_ = None if variant.open is None else tuple(variant.open)
                        run = Run(model, recipe, seed, **self.common(dataset), **begin, open=open_)
                        yield Compared("transfer", column, run, name)
