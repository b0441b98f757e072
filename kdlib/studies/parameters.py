"""The flat parameters of a study: papermill's, ``kdlib run --set``'s and the notebook's, all checked in one place."""

import ast
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kdlib.errors import UserError, did_you_mean
from kdlib.studies import schema


def _listed(value: Any) -> Any:
    """Take ``0,1,2``, a single value or a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
    return value if isinstance(value, (list, tuple)) else [value]


def _empty_is_none(value: Any) -> Any:
    return None if value in ("", None, [], ()) else value


Listed = BeforeValidator(lambda value: None if _empty_is_none(value) is None else _listed(value))
Blank = BeforeValidator(_empty_is_none)
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Parameters(BaseModel):
    """What a call asks for; an empty value (None or "") leaves the study's own.

    The first block says what to run and where; the second replaces values of the study, in all of its columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str = "tr_kd"
    profile: Literal["smoke", "quick", "reduced", "paper"] = "quick"
    lang: Literal["en", "tr"] = "en"
    seeds: Annotated[list[int] | None, Listed] = None
    data_root: Annotated[str | None, Blank] = None
    source_root: Annotated[str | None, Blank] = None
    device: str = "auto"
    output_dir: str = "outputs"

    teacher: Annotated[str | None, Blank] = None
    students: Annotated[list[str] | None, Listed] = None
    columns: Annotated[list[str] | None, Listed] = None
    model: Annotated[str | None, Blank] = None
    criteria: Annotated[list[str] | None, Listed] = None
    ratio: Annotated[list[Share] | None, Listed] = None
    macs: Annotated[Share | None, Blank] = None
    protect_se: Annotated[bool | None, Blank] = None
    steps: Annotated[int | None, Blank] = Field(None, ge=1)
    round_to: Annotated[int | None, Blank] = Field(None, ge=1)
    calibration_batches: Annotated[int | None, Blank] = Field(None, ge=1)
    threshold: Annotated[float | None, Blank] = Field(None, ge=0, lt=1)
    keep: Annotated[list[str] | None, Listed] = None
    normalise: Annotated[Literal["mean", "none"] | None, Blank] = None
    open_layers: Annotated[list[str] | None, Listed] = None
    weights: Annotated[str | None, Blank] = None
    T: Annotated[list[Positive] | None, Listed] = None
    alpha: Annotated[list[Weight] | None, Listed] = None
    lam: Annotated[Weight | None, Blank] = None
    loss: Annotated[str | None, Blank] = None
    taps: Annotated[list[str] | None, Listed] = None
    epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    teacher_epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    source_epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    batch_size: Annotated[int | None, Blank] = Field(None, ge=1)
    lr: Annotated[Positive | None, Blank] = None
    precision: Annotated[Literal["auto", "bf16", "fp32"] | None, Blank] = None
    dataset: Annotated[str | None, Blank] = None
    image_size: Annotated[int | None, Blank] = Field(None, ge=8)
    input_size: Annotated[int | None, Blank] = Field(None, ge=8)
    train_size: Annotated[int | None, Blank] = Field(None, ge=2)
    test_size: Annotated[int | None, Blank] = Field(None, ge=1)
    download: bool = False

    @property
    def root(self) -> Path:
        """``output_dir/profile``: the runs and the studies' folders lie below it."""
        folder = Path(self.output_dir).expanduser()
        # JupyterLab starts a kernel in the notebook's folder; outputs/ lies beside it.
        if (
            not folder.is_absolute()
            and Path.cwd().name == "notebooks"
            and (Path.cwd().parent / "pyproject.toml").exists()
        ):
            folder = Path.cwd().parent / folder
        return folder / self.profile

    def flat(self) -> dict[str, Any]:
        """Return what was set, as papermill parameters: plain values, lists as ``0,1,2``."""
        values = self.model_dump(exclude_defaults=True) | {"study": self.study, "lang": self.lang}
        return {name: ",".join(map(str, v)) if isinstance(v, list) else v for name, v in values.items()}


def parse(values: dict[str, Any]) -> Parameters:
    """Check parameters; raises ``UserError`` for a name that is none and for a value out of its range."""
    for name in values:
        if name not in Parameters.model_fields:
            raise UserError(f"unknown parameter {name!r}; {did_you_mean(name, Parameters.model_fields)}")
    try:
        found = Parameters.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0]
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"parameter {name}={values.get(name)!r}: {reason}") from None
    schema.load(found.study)
    return found


def from_notebook(variables: dict[str, Any]) -> Parameters:
    """Check a notebook's parameters, given as its ``globals()``.

    papermill only warns of a misspelled ``-p`` and runs the defaults; here a name that its injected cell, or the
    notebook's own parameters cell, sets and that is no parameter is an error. Other variables are the reader's own.
    A plain dict is taken as parameters, all of it.
    """
    if "In" not in variables:
        return parse(variables)
    cells = [_assigned(source) for source in variables["In"] if source.startswith("# Parameters")]
    if not any(variables["In"]):
        # nbval's kernel keeps no history: what the parameters cell set is there, only strays cannot be told.
        cells = [set(Parameters.model_fields) & set(variables)]
    if not any(cells):
        raise UserError("run the notebook's parameters cell first; its first line begins with '# Parameters'")
    # A cell that was run again, edited, takes the place of what it was before.
    known = [names & set(Parameters.model_fields) for names in cells]
    last = [
        names for i, names in enumerate(cells) if not any(known[i] and known[i] <= later for later in cells[i + 1 :])
    ]
    return parse({name: variables[name] for names in last for name in sorted(names) if name in variables})


def _assigned(source: str) -> set[str]:
    """Return the variables that a cell sets, however it does."""
    found: list[ast.expr] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            found += node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            found.append(node.target)
    return {name.id for target in found for name in ast.walk(target) if isinstance(name, ast.Name)}
