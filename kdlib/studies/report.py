"""What a study's YAML says of its report: its tables, figures and costs, and the words for them in both languages."""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Language = Literal["en", "tr"]
LANGUAGES = get_args(Language)


def _both_languages(value: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(value, dict) and set(value) != set(LANGUAGES):
        raise ValueError(f"a text is a plain string or has exactly the languages {', '.join(LANGUAGES)}")
    return value


Text = Annotated[str | dict[str, str], AfterValidator(_both_languages)]


def text(value: str | dict[str, str], lang: str) -> str:
    """Return a text in a language; a plain string is the same in both."""
    return value if isinstance(value, str) else value[lang]


class Strict(BaseModel):
    """Unknown fields are mistakes; what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        "roc",
        "reliability",
        "attention",
        "pareto",
        "channels",
        "sweep",
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
