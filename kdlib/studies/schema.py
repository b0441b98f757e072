"""What a study's YAML says: the comparison, the profiles, and the report's own tables."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdlib.errors import UserError, did_you_mean

LANGUAGES = ("en", "tr")
PROFILES = ("smoke", "quick", "reduced", "paper")


def _both_languages(value: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(value, dict) and set(value) != set(LANGUAGES):
        raise ValueError(f"a text is a plain string or has exactly the languages {', '.join(LANGUAGES)}")
    return value


Text = Annotated[str | dict[str, str], AfterValidator(_both_languages)]


def text(value: str | dict[str, str], lang: str) -> str:
    """Return a text in a language; a plain string is the same in both."""
    return value if isinstance(value, str) else value[lang]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """Distillation settings: the product of its lists, for some or all of the students."""

    T: list[float] | float
    alpha: list[float] | float
    lam: float | None = None
    students: list[str] | None = None

    def settings(self) -> Iterator[tuple[float, float, float | None]]:
        """Yield (T, alpha, lam)."""
        for alpha in _listed(self.alpha):
            for T in _listed(self.T):
                yield T, alpha, self.lam


class DataSpec(_Strict):
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


class Profile(_Strict):
    """How far a run goes.

    ``recipe`` overrides every column's recipe; ``teacher_recipe`` trains one teacher for all columns; with
    ``teacher_seed`` all seeds share the teacher of that seed, else each seed trains its own.
    """

    data: DataSpec
    recipe: dict[str, Any] = {}
    teacher_recipe: dict[str, Any] | None = None
    teacher_seed: int | None = None
    columns: list[str] | None = None
    students: list[str] | None = None
    points: list[Point] | None = None
    seeds: list[int] = [0]
    precision: str = "auto"


class Column(_Strict):
    """A column of a report's table."""

    label: Text
    where: dict[str, Any] = {}


class Row(_Strict):
    """A row of a report's table: its labels, which runs it shows, and what the report gave, one a column."""

    label: list[Text]
    where: dict[str, Any] = {}
    reported: list[float | None] = []
    group: str = ""


class Difference(_Strict):
    """Column ``column`` shows its change against column ``from`` in parentheses, as 67 (+3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    column: int
    from_: int = Field(alias="from")


class Table(_Strict):
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


class Figure(_Strict):
    """A figure and the runs it shows."""

    kind: Literal["curves", "heatmap", "temperature", "bars"]
    model: str | None = None
    recipe: str | None = None


class Study(_Strict):
    """A study: what is compared, how, and what its report gave."""

    name: str
    notebook: str
    title: Text
    source: Text
    loss: str
    teacher: str
    students: list[str]
    recipes: dict[str, dict[str, Any]]
    points: list[Point]
    profiles: dict[Literal["smoke", "quick", "reduced", "paper"], Profile]
    labels: dict[str, Text] = {}
    tables: list[Table]
    figures: list[Figure]


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


def _listed(value: list[float] | float) -> list[float]:
    return value if isinstance(value, list) else [value]
