"""A study: what is compared, how, and what its report gave; each kind of study is a `Study` that knows its runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import ValidationError, model_validator

from kdlib.errors import UserError, did_you_mean
from kdlib.progress import note
from kdlib.studies.report import Clinical, Costs, Figure, Strict, Table, Text

if TYPE_CHECKING:
    from kdlib.data import Dataset
    from kdlib.studies.run import Run, Weights
    from kdlib.training import Recipe

Profile = Literal["smoke", "quick", "reduced", "paper"]
PROFILES = get_args(Profile)
IN_RECIPE = ("epochs", "batch_size", "lr", "class_weights", "label_smoothing")
IN_DATA = ("image_size", "train_size", "test_size", "grayscale", "resize", "background", "groups", "val_fraction")
SHARED = ("seeds", "weights", *IN_RECIPE, "precision", "dataset", *IN_DATA, "input_size")
"""A call's parameters that every kind of study takes."""


class DataSpec(Strict):
    """Which images, how many, at which size; the fields are those of ``kdlib.data.load``."""

    name: str
    image_size: int | None = None
    grayscale: bool = False
    train_size: int | None = None
    test_size: int | None = None
    classes: int | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    data_seed: int = 0
    resize: str = "squash"
    background: str = "white"
    groups: str | None = None

    def load(self, root: str | None, download: bool) -> Dataset:
        """Load the images; raises ``UserError`` for what is not there or not usable."""
        from kdlib import data

        options = self.model_dump()
        return data.load(options.pop("name"), data_root=root, download=download, **options)


class SourceTask(Strict):
    """The source task: which images, how a model is trained on them, with which seed (None: that of the run)."""

    data: DataSpec
    recipe: dict[str, Any]
    seed: int | None = 0


class Study(Strict):
    """What studies of every kind say; the kinds are in files of their own.

    A profile and a call set these fields as well (`with_`): ``data``; ``recipe``, which overrides the recipe of every
    column; ``seeds``; ``precision``; ``input_size``, the pixels a side to which every model resizes its images;
    ``weights``, where models that start from weights have them: ``imagenet``, ``source`` (then ``source_task`` is the
    task), or the path of a checkpoint. Without a ``report`` there is nothing for a study to stand beside.
    """

    kind: str
    name: str
    notebook: str
    title: Text
    source: Text
    report: bool = True
    recipes: dict[str, dict[str, Any]]
    profiles: dict[Profile, dict[str, Any]] = {}
    labels: dict[str, Text] = {}
    beside: list[str] = []  # studies whose runs this one's tables show as well
    clinical: Clinical | None = None
    costs: Costs | None = None
    tables: list[Table] = []
    figures: list[Figure]

    of_kind: ClassVar[tuple[str, ...]] = ()
    """The names of a call's parameters that studies of this kind have, beside those of all."""

    profile: str = ""
    data: DataSpec | None = None
    recipe: dict[str, Any] = {}
    columns: list[str] | None = None
    seeds: list[int] = [0]
    precision: str = "auto"
    input_size: int | None = None
    weights: str | None = None
    source_task: SourceTask | None = None

    @model_validator(mode="after")
    def _neighbours(self) -> Self:
        for table in self.tables:
            for row in table.rows:
                if row.study and row.study not in self.beside:
                    raise ValueError(f"table {table.id}: row study {row.study!r} is not among beside: {self.beside}")
        return self

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of a call's parameters that do something in this study."""
        return (*self.of_kind, *SHARED)

    def with_(self, profile: str, call: dict[str, Any] | None = None) -> Self:
        """Return the study with a profile's values in the place of its own, and a call's in the place of those.

        ``call``: parameters by name, such as ``{"T": [1.0, 4.0]}``. Raises ``UserError`` for a profile or a parameter
        that the study does not have, and for values that do not fit.
        """
        call = dict(call or {})
        for name in call:
            if name not in self.takes:
                said = f"this {self.kind} study has no {name}; it has {', '.join(self.of_kind)}"
                raise UserError(f"parameter {name} does nothing in study {self.name}: {said}")
        if profile not in self.profiles:
            raise UserError(f"study {self.name} has no profile {profile!r}; it has {', '.join(self.profiles)}")
        own = self.model_dump(exclude_unset=True, by_alias=True)
        values = merged(own, self.profiles[profile]) | {"profile": profile}
        return validated(type(self), self._asked(values, call))

    def _asked(self, values: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        """Put a call's parameters where they belong in the study's values; a kind first takes those of its own."""
        changes: dict[str, Any] = {"recipe": taken(call, IN_RECIPE), "data": taken(call, IN_DATA)}
        # How the labels count is a matter of the data: it holds for the teacher as well.
        labels = {name: own for name, own in changes["recipe"].items() if name in ("class_weights", "label_smoothing")}
        if values.get("teacher_recipe"):
            changes["teacher_recipe"] = labels
        if epochs := call.pop("teacher_epochs", None):
            if not values.get("teacher_recipe"):
                said = f"profile {values['profile']} trains the teacher by the columns' recipe"
                raise UserError(f"{said}; set epochs instead")
            changes["teacher_recipe"] = {**labels, "epochs": epochs}
        if epochs := call.pop("source_epochs", None):
            if call.get("weights", values.get("weights")) != "source":
                raise UserError("source_epochs belongs to weights=source; ImageNet weights are trained already")
            changes["source_task"] = values.get("source_task") and {"recipe": {"epochs": epochs}}
        if name := call.pop("dataset", None):
            # Of a folder all images are used: how many a profile takes and holds out is said of its own data set.
            if name == "folder" != values["data"]["name"]:
                values = {**values, "data": taken(dict(values["data"]), ("image_size",))}
            changes["data"]["name"] = name
        return merged(values, changes) | call

    def summary(self) -> dict[str, str]:
        """Return what a study of this kind is about, in words of one line."""
        raise NotImplementedError

    @property
    def timed(self) -> Strict | None:
        """How its pruned networks are made and timed; None where none are."""
        return None

    def check(self) -> None:
        """Raise ``UserError`` for models, losses, recipes and weights that are not there or do not fit."""
        _ = self.by_column

    def runs(self, dataset: Dataset, source: Dataset | None = None) -> Iterator[Compared]:
        """Yield what the study compares; ``source``: the images of the source task."""
        raise NotImplementedError

    @cached_property
    def by_column(self) -> dict[str, Recipe]:
        """The recipe of each column."""
        for name in self.columns or ():
            if name not in self.recipes:
                raise UserError(f"study {self.name} has no column {name!r}; {did_you_mean(name, self.recipes)}")
        return {name: recipe({**self.recipes[name], **self.recipe}) for name in self.columns or self.recipes}

    @cached_property
    def checkpoint(self) -> Weights | None:
        """The weights of a checkpoint file, where ``weights`` is one's path."""
        from kdlib import models
        from kdlib.studies.run import Weights

        if self.weights in (None, "imagenet", "source"):
            return None
        return Weights(f"file {models.digest(self.weights)}", self.weights)

    def source_images(self) -> DataSpec | None:
        """Return the source task's images; None where no model starts from a source task."""
        if self.weights != "source":
            return None
        if self.source_task is None:
            raise UserError(f"profile {self.profile} of {self.name} has no source task; say weights=imagenet")
        return self.source_task.data

    def begin(self, model: str, seed: int, source: Dataset | None) -> Run | Weights:
        """Return what a model starts from: the run of the source task, ImageNet weights, or a checkpoint."""
        from kdlib import models
        from kdlib.studies.run import Run, Weights

        if self.weights == "source":
            seed = seed if self.source_task.seed is None else self.source_task.seed
            return Run(model, recipe(self.source_task.recipe), seed, **self.common(source), role="source")
        return self.checkpoint or Weights(models.imagenet_name(model))

    def common(self, dataset: Dataset) -> dict[str, Any]:
        """Return what all runs on a data set have in common."""
        return {"precision": self.precision, "dataset": dataset, "input_size": self.input_size}

    def fitted(self, images: int, keep: bool = False) -> Self:
        """Return the study with smaller batches where a folder has fewer training images than a batch is to have.

        images: those in training. Batches are then of a quarter of them, a power of two, at least two images.
        ``keep``: the columns' batch size, which was asked for.
        """
        if self.data.name != "folder":
            return self

        def fit(values: dict[str, Any]) -> dict[str, Any]:
            asked = recipe(values).batch_size
            if asked <= images:
                return values
            size = max(2, 2 ** ((images // 4) or 1).bit_length() // 2)
            note(f"there are {images} training images: batches are of {size}, not of {asked}")
            return {**values, "batch_size": size}

        changes: dict[str, Any] = {}
        if not keep:
            columns = self.columns or self.recipes
            changes = {"recipe": {}, "recipes": {name: fit({**self.recipes[name], **self.recipe}) for name in columns}}
        if values := getattr(self, "teacher_recipe", None):
            changes["teacher_recipe"] = fit(values)
        return validated(type(self), self.model_dump(exclude_unset=True, by_alias=True) | changes)


class Compared(NamedTuple):
    """One thing a study compares: what it is called, its column, its run, and its choice of open layers."""

    role: str
    column: str
    run: Run
    variant: str | None = None


def recipe(values: dict[str, Any]) -> Recipe:
    """Build a recipe from a YAML mapping; raises ``UserError`` for a key that is none."""
    from kdlib.data import Augmentation
    from kdlib.training import Recipe

    augmentation = values.get("augmentation", {})
    values = {name: own for name, own in values.items() if name != "augmentation"}
    for cls, given in ((Recipe, values), (Augmentation, augmentation)):
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise UserError(f"unknown recipe entry {name!r}; {did_you_mean(name, cls.__dataclass_fields__)}")
    return Recipe(**values, augmentation=Augmentation(**augmentation))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return values with changes in their place, mapping by mapping; an augmentation changes as a whole."""
    found = dict(values)
    for name, own in changes.items():
        both = isinstance(own, dict) and isinstance(found.get(name), dict) and name != "augmentation"
        found[name] = merged(found[name], own) if both else own
    return found


def validated(cls: type[Study], values: dict[str, Any]) -> Study:
    """Return values as a study of a kind; raises ``UserError``, one line, for what does not fit."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where, said = [*map(str, first["loc"])], first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden" and len(where) == 1:
            where, said = [], f"a {values['kind']} study has no {where[0]}; {did_you_mean(where[0], cls.model_fields)}"
        raise UserError(": ".join(filter(None, [f"study {values.get('name')}", ".".join(where), said]))) from None


def taken(call: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Take parameters out of a call."""
    return {name: call.pop(name) for name in names if name in call}
