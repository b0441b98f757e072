"""What a study's YAML says: the comparison, the profiles, and the report's own tables."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from kdlib.errors import UserError, did_you_mean
from kdlib.studies.fields import LANGUAGES, Strict, Text, text
from kdlib.studies.pruning_schema import Pruning

__all__ = ["LANGUAGES", "PROFILES", "Pruning", "Study", "Text", "load", "names", "text"]

PROFILES = ("smoke", "quick", "reduced", "paper")


class Point(Strict):
    """Distillation settings: the product of its lists, for some or all of the students.

    ``loss`` takes the place of the study's; ``layers``: where a loss on features looks (None: its own choice).
    """

    T: list[float] | float | None = None
    alpha: list[float] | float
    lam: float | None = None
    loss: str | None = None
    layers: list[str] | None = None
    students: list[str] | None = None

    def settings(self) -> Iterator[tuple[float | None, float, float | None]]:
        """Yield (T, alpha, lam); T is None where the point has none."""
        for alpha in _listed(self.alpha):
            for T in _listed(self.T):
                yield T, alpha, self.lam


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


class Start(Strict):
    """How a model starts from weights: ``head``, the module that starts fresh; the modules left open (None: all)."""

    head: str
    open: list[str] | None = None


class Variant(Strict):
    """One choice of layers left open (None: all), with or without weights to start from, for some or all columns."""

    label: Text
    open: list[str] | None = None
    weights: bool = True
    columns: list[str] | None = None


class Transfer(Strict):
    """Transfer learning: one model, several choices of what is trained on the target."""

    model: str
    head: str
    variants: dict[str, Variant]


class Source(Strict):
    """The source task: which images, how a model is trained on them, with which seed (None: that of the run)."""

    data: DataSpec
    recipe: dict[str, Any]
    seed: int | None = 0


class Profile(Strict):
    """How far a run goes.

    ``recipe`` overrides every column's recipe; ``teacher_recipe`` trains one teacher for all columns; with
    ``teacher_seed`` all seeds share the teacher of that seed, else each seed trains its own; in a pruning study both
    are those of the unpruned model. ``weights``: where models that start from weights have them, ``imagenet``,
    ``source`` (then ``source`` is the task) or ``scratch``: from none. ``input_size``: the pixels a side to which every
    model resizes its images. ``columns``, ``teacher``, ``students``, ``points``, ``pruning`` replace the study's.
    """

    data: DataSpec
    recipe: dict[str, Any] = {}
    teacher_recipe: dict[str, Any] | None = None
    teacher_seed: int | None = None
    columns: list[str] | None = None
    teacher: str | None = None
    students: list[str] | None = None
    points: list[Point] | None = None
    seeds: list[int] = [0]
    precision: str = "auto"
    input_size: int | None = None
    weights: Literal["imagenet", "source", "scratch"] = "imagenet"
    source: Source | None = None
    pruning: dict[str, Any] = {}


class Column(Strict):
    """A column of a report's table."""

    label: Text
    where: dict[str, Any] = {}


class Row(Strict):
    """A row of a report's table: its labels, which runs it shows, and what the report gave, one a column.

    With ``study`` the runs are those of another study, one that stands ``beside``.
    """

    label: list[Text]
    where: dict[str, Any] = {}
    study: str | None = None
    reported: list[float | None] = []
    group: str = ""


class Difference(Strict):
    """Column ``column`` shows its change against column ``from`` in parentheses, as 67 (+3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    column: int
    from_: int = Field(alias="from")


class Table(Strict):
    """One table of a report, in the report's own shape."""

    id: str
    title: Text
    unit: Literal["percent", "fraction"] = "percent"
    decimals: int | None = None
    metric: str = "test_accuracy"
    head: list[Text]
    columns: list[Column]
    rows: list[Row]
    best: Literal["column", "row", "none"] = "none"
    difference: Difference | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _shape(self) -> "Table":
        for row in self.rows:
            if len(row.label) != len(self.head):
                raise ValueError(f"table {self.id}: row {row.label} needs {len(self.head)} labels")
            if row.reported and len(row.reported) != len(self.columns):
                raise ValueError(f"table {self.id}: row {row.label} needs {len(self.columns)} reported values")
        return self


class Figure(Strict):
    """A figure and the runs it shows."""

    kind: Literal[
        "effects",
        "curves",
        "heatmap",
        "temperature",
        "transfer",
        "comparison",
        "roc",
        "reliability",
        "attention",
        "pareto",
        "channels",
        "sweep",
        "methods",
        "compressed",
    ]
    model: str | None = None
    recipe: str | None = None


class Clinical(Strict):
    """What makes a study of two classes a clinical one: which class is the finding, and what the report measured.

    ``positive``: the finding's class, by name or by index in the dataset's order; ``positive_label``: what a text
    calls it; ``reported``: the report's test accuracies in percent, by role.
    """

    positive: int | str = 1
    positive_label: Text | None = None
    reported: dict[Literal["teacher", "baseline", "student"], float] = {}


class CostModel(Strict):
    """A column of a cost table: a model, and which of its layers are trained (None: all)."""

    model: str
    label: Text
    open: list[str] | None = None


class CostRow(Strict):
    """A row of a cost table: a measure of ``kdlib.profiling.costs``, what the report gave, and at which image sizes.

    ``at`` names one size a column, as a report may mix them; without it all columns have the table's first size.
    """

    measure: Literal[
        "total_params",
        "trainable_params",
        "frozen_params",
        "mult_adds",
        "input_mb",
        "fwd_bwd_mb",
        "params_mb",
        "total_mb",
        "macs_thop",
        "macs_fvcore",
        "macs_torch",
        "size_mib",
        "file_mb",
    ]
    label: Text
    reported: list[float | None] = []
    at: list[int] = []
    group: str | None = None


class Costs(Strict):
    """A table of what models cost, in the report's own shape: columns are models, rows are measures."""

    id: str
    title: Text
    head: Text
    num_classes: int
    in_channels: int = 3
    sizes: list[int] = Field(min_length=1)
    models: list[CostModel]
    rows: list[CostRow]
    notes: list[Text] = []

    @model_validator(mode="after")
    def _shape(self) -> "Costs":
        for row in self.rows:
            for name, given in (("reported", row.reported), ("at", row.at)):
                if given and len(given) != len(self.models):
                    raise ValueError(f"costs {self.id}: row {row.label} needs {len(self.models)} values for {name}")
            if unknown := sorted(set(row.at) - set(self.sizes)):
                raise ValueError(f"costs {self.id}: row {row.label}: size {unknown[0]} is not among sizes {self.sizes}")
        return self


class Study(Strict):
    """A study: what is compared, how, and what its report gave.

    Distillation has a ``teacher``, ``students``, ``points`` and a ``loss``; ``starts`` says which of its models start
    from weights. Transfer learning has ``transfer`` instead, pruning has ``pruning``, and ``loss`` and ``points`` for
    fine-tuning that distils from the unpruned model. Compression has a ``teacher`` and ``pruning``: the teacher, or a
    student it has taught, is pruned and fine-tuned with the teacher. Without a ``report`` there is nothing for it to
    stand beside.
    """

    name: str
    notebook: str
    title: Text
    source: Text
    report: bool = True
    loss: str = ""
    teacher: str = ""
    students: list[str] = []
    recipes: dict[str, dict[str, Any]]
    points: list[Point] = []
    starts: dict[str, Start] = {}
    transfer: Transfer | None = None
    pruning: Pruning | None = None
    profiles: dict[Literal["smoke", "quick", "reduced", "paper"], Profile]
    labels: dict[str, Text] = {}
    beside: list[str] = []  # studies whose runs this one's tables show as well
    clinical: Clinical | None = None
    costs: Costs | None = None
    tables: list[Table]
    figures: list[Figure]

    @property
    def kind(self) -> Literal["transfer", "pruning", "compression", "distillation"]:
        """What is compared."""
        if self.transfer:
            return "transfer"
        if self.pruning:
            return "compression" if self.teacher else "pruning"
        return "distillation"

    @model_validator(mode="after")
    def _comparison(self) -> "Study":
        fields = ("teacher", "students", "points", "loss")
        wanted = {
            "transfer": (),
            "pruning": ("points", "loss"),
            "compression": ("teacher", "points", "loss"),
            "distillation": fields,
        }[self.kind]
        for name in fields:
            if getattr(self, name) and name not in wanted:
                raise ValueError(f"a {self.kind} study has no {name}")
            if name in wanted and not getattr(self, name):
                raise ValueError(f"{name}: Field required")
        for name, profile in self.profiles.items():
            if (self.transfer or self.starts) and profile.weights == "source" and not profile.source:
                raise ValueError(f"profile {name} starts from a source task and names none")
        return self

    @model_validator(mode="after")
    def _layers(self) -> "Study":
        for points in (self.points, *(profile.points or [] for profile in self.profiles.values())):
            looks: dict = {}
            for point in points:  # two sets of places would be two methods of one name
                if looks.setdefault(point.loss, point.layers) != point.layers:
                    raise ValueError(f"points: loss {point.loss or self.loss} with two choices of layers; keep one")
        return self

    @model_validator(mode="after")
    def _neighbours(self) -> "Study":
        for table in self.tables:
            for row in table.rows:
                if row.study and row.study not in self.beside:
                    raise ValueError(f"table {table.id}: row study {row.study!r} is not among beside: {self.beside}")
        return self


def names() -> list[str]:
    """Return the names of all studies, in the order of their notebooks."""
    return sorted(_files(), key=lambda name: (load(name).notebook, name))


@cache
def load(name: str) -> Study:
    """Read and check a study's YAML; raises ``UserError`` for a name that is none, or a YAML that does not fit."""
    files = _files()
    if name not in files:
        raise UserError(f"unknown study {name!r}; {did_you_mean(name, sorted(files))}")
    try:
        return Study.model_validate(yaml.safe_load(files[name].read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"study {name}: {where}: {first['msg']}") from None


def _files() -> dict[str, Traversable]:
    entries = resources.files("kdlib.studies").iterdir()
    return {entry.name.removesuffix(".yaml"): entry for entry in entries if entry.name.endswith(".yaml")}


def _listed(value: list[float] | float | None) -> list[float | None]:
    return value if isinstance(value, list) else [value]
