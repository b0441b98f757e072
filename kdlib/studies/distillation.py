"""Distillation studies: a teacher, students alone, and students with the teacher at points of (T, alpha, lam)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from kdlib.errors import UserError
from kdlib.studies.report import Strict
from kdlib.studies.study import Compared, Study, recipe, taken

if TYPE_CHECKING:
    from kdlib.data import Dataset
    from kdlib.losses import Loss
    from kdlib.studies.run import Run
    from kdlib.training import Recipe


IN_POINTS = ("T", "alpha", "lam", "loss", "taps", "teacher_epochs")
"""Parameters of a call that every kind takes that distils."""


class Point(Strict):
    """Distillation settings: the product of its lists, for some or all of the students.

    ``loss`` takes the place of the study's; ``layers``: where a loss on features looks (None: its own choice);
    ``seeds``: only the first so many of a distillation study's, unless a call names seeds.
    """

    T: list[float] | float | None = None
    alpha: list[float] | float
    lam: float | None = None
    loss: str | None = None
    layers: list[str] | None = None
    students: list[str] | None = None
    seeds: PositiveInt | None = None

    def settings(self) -> Iterator[tuple[float | None, float, float | None]]:
        """Yield (T, alpha, lam); T is None where the point has none."""
        for alpha in self.alpha if isinstance(self.alpha, list) else [self.alpha]:
            for T in self.T if isinstance(self.T, list) else [self.T]:
                yield T, alpha, self.lam


class Start(Strict):
    """How a model starts from weights: ``head``, the module that starts fresh; the modules left open (None: all)."""

    head: str
    open: list[str] | None = None


class Distilling(Study):
    """What the kinds that distil have: points, a loss, and a teacher's recipe.

    ``teacher_recipe`` trains one teacher for all columns; with ``teacher_seed`` all seeds share the teacher of that
    seed, else each seed trains its own.
    """

    loss: str
    points: list[Point]
    teacher_recipe: dict[str, Any] | None = None
    teacher_seed: int | None = None

    @model_validator(mode="after")
    def _points(self) -> Self:
        if self.kind != "distillation" and any(point.seeds for point in self.points):
            raise ValueError(f"points: seeds is of studies of kind distillation, not {self.kind}; leave it out")
        looks: dict = {}
        for point in self.points:  # two sets of places would be two methods of one name
            if looks.setdefault(point.loss, point.layers) != point.layers:
                raise ValueError(f"points: loss {point.loss or self.loss} with two choices of layers; keep one")
        return self

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        """Put the caller's loss, T, alpha, lam and taps in the place of those of the points.

        A loss that some points of the profile have, or else of the study, keeps these alone. Any other takes the place
        of every point's; points that were without a temperature then stand aside for those with one, as the loss may
        need it.
        """
        points, loss = values["points"], values["loss"]
        if asked := call.get("loss"):
            own = [point.model_dump(exclude_unset=True) for point in self.points]
            alike = ([point for point in some if (point.get("loss") or loss) == asked] for some in (points, own))
            warm = [point for point in points if point.get("T") is not None] or points
            anew = [{**point, "loss": asked, "layers": None} for point in warm]
            points = next(filter(None, alike), anew)
        update = taken(call, ("T", "alpha", "lam"))
        if "alpha" in update:
            update.setdefault("lam", None)
        for name in ("students", "seeds"):
            if name in call:  # those of a call are those of every point
                update[name] = None
        points = [point | update for point in points]
        if taps := call.pop("taps", None):
            points = _tapped(points, call.get("loss", loss), taps)
        return super()._asked({**values, "points": points}, call)

    def check(self) -> None:
        """Raise ``UserError`` for what `Study.check` does, and for losses and a teacher's recipe that do not fit."""
        super().check()
        _ = self.losses, self.taught_by

    @cached_property
    def losses(self) -> list[tuple[Point, list[Loss]]]:
        """The losses of each point, built."""
        from kdlib.losses import preset

        return [
            (point, [preset(point.loss or self.loss, *weights, layers=point.layers) for weights in point.settings()])
            for point in self.points
        ]

    @cached_property
    def taught_by(self) -> Recipe | None:
        """The recipe of a teacher that all columns share."""
        return recipe(self.teacher_recipe) if self.teacher_recipe else None

    def seed_of_teacher(self, seed: int) -> int:
        """Return the seed of the teacher of a student of ``seed``."""
        return seed if self.teacher_seed is None else self.teacher_seed

    def check_weights(self) -> None:
        """Raise ``UserError`` for weights that are none of ``scratch``, ``imagenet`` and a checkpoint's path."""
        if self.weights == "source":
            said = f"study {self.name} has no source task"
            raise UserError(f"{said}; say weights=scratch, imagenet, or a checkpoint's path")
        if self.weights != "scratch":
            _ = self.checkpoint

    def unpruned(self, model: str, seed: int, common: dict[str, Any], head: str = "") -> Run:
        """Return the run of a network before it is pruned: trained here, or a checkpoint that is taken as it is."""
        from kdlib.studies.run import Run

        seed = self.seed_of_teacher(seed)
        if self.weights != "scratch" and self.checkpoint:
            return Run(model, None, seed, **common, weights=self.checkpoint, role="teacher")
        return Run(model, self.taught_by, seed, **common, **self.from_imagenet(model, head), role="teacher")

    def from_imagenet(self, model: str, head: str = "") -> dict[str, Any]:
        """Return how a run starts from ImageNet weights, all but its head; nothing where other weights are asked."""
        from kdlib import models
        from kdlib.studies.run import Weights

        if self.weights != "imagenet":
            return {}
        return {"weights": Weights(models.imagenet_name(model)), "head": head or models.head_of(model)}


class Distillation(Distilling):
    """For each seed and column a teacher, the students alone, and the students with each of the points' losses.

    ``starts`` says which of the models start from weights; where none does, ``weights`` is a trained teacher's.
    """

    kind: Literal["distillation"]
    teacher: str
    students: list[str]
    starts: dict[str, Start] = {}
    pruning: ClassVar[None] = None

    @property
    def of_kind(self) -> tuple[str, ...]:
        started = ("source_epochs", "source_root") if self.starts else ()
        return ("teacher", "students", "columns", *IN_POINTS, *started)

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        if self.starts:
            values = {"weights": "imagenet", **values, "starts": self._starts(call)}
        elif "weights" in call and "teacher_epochs" in call:
            said = "teacher_epochs trains a teacher; the one of weights is taken as it is"
            raise UserError(f"{said}: leave one of them out")
        return super()._asked(values, call)

    def _starts(self, call: dict[str, Any]) -> dict[str, Start]:
        """The caller's models start from weights as the study's own do; which module is their head is looked up."""
        named = (call.get("teacher"), *call.get("students", ()))
        if not (new := [model for model in named if model and model not in self.starts]):
            return self.starts
        from kdlib import models

        for model in new:
            models.check(model)
        opened = next(iter(self.starts.values())).open
        heads = {model: models.head_of(model) for model in new}
        return self.starts | {model: Start(head=head, open=opened and [head]) for model, head in heads.items()}

    def summary(self) -> dict[str, str]:
        losses = dict.fromkeys(point.loss or self.loss for point in self.points)
        return {"teacher": self.teacher, "students": ", ".join(self.students), "loss": ", ".join(losses)}

    def check(self) -> None:
        from kdlib import models

        if self.starts:
            self.source_images()
        elif self.weights in ("imagenet", "source", "scratch"):
            said = "is the file of a trained teacher's weights"
            raise UserError(f"weights of study {self.name} {said}, got {self.weights!r}")
        for model in (self.teacher, *self.students):
            models.check(model)
        _ = self.checkpoint
        super().check()

    def runs(self, dataset: Dataset, source: Dataset | None = None) -> Iterator[Compared]:
        from kdlib.studies.run import Run

        common = self.common(dataset)

        def start(model: str, seed: int) -> dict[str, Any]:
            if model not in self.starts:
                return {}
            begin = self.starts[model]
            open_ = None if begin.open is None else tuple(begin.open)
            return {"weights": self.begin(model, seed, source), "head": begin.head, "open": open_}

        def teacher(column: str, asked: Recipe, seed: int) -> Compared:
            if self.checkpoint and not self.starts:  # taken as it is, whatever the seed
                run = Run(self.teacher, None, 0, **common, weights=self.checkpoint, role="teacher")
                return Compared("teacher", "teacher", run)
            shared, seed = self.taught_by, self.seed_of_teacher(seed)
            run = Run(self.teacher, shared or asked, seed, **common, **start(self.teacher, seed), role="teacher")
            # One teacher for all columns is a condition of its own column.
            return Compared("teacher", "teacher" if shared else column, run)

        for i, seed in enumerate(self.seeds):
            for model in dict.fromkeys((self.teacher, *self.students)):
                if isinstance(weights := start(model, seed).get("weights"), Run):
                    yield Compared("source", "source", weights)
            for column, recipe_ in self.by_column.items():
                yield (taught := teacher(column, recipe_, seed))
                for model in self.students:
                    yield Compared("baseline", column, Run(model, recipe_, seed, **common, **start(model, seed)))
                for point, losses in self.losses:
                    if point.seeds is not None and i >= point.seeds:
                        continue
                    for model in self.students:
                        for loss in losses if model in (point.students or self.students) else ():
                            own = {**start(model, seed), "loss": loss, "teacher": taught.run}
                            yield Compared("student", column, Run(model, recipe_, seed, **common, **own))


def _tapped(points: list[dict[str, Any]], loss: str, taps: list[str]) -> list[dict[str, Any]]:
    """Points whose losses look at features look at these."""
    from kdlib.losses import METHODS

    looking = [name for name, method in METHODS.items() if method.needs_features]
    if not any((point.get("loss") or loss) in looking for point in points):
        raise UserError("parameter taps does nothing: no loss here looks at features; say loss=sp, at or another")
    return [{**point, "layers": taps} if (point.get("loss") or loss) in looking else point for point in points]
