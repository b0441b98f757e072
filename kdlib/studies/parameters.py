"""The flat parameters of a study: papermill's, ``kdlib run --set``'s and the notebook's, all checked in one place."""

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kdlib.errors import UserError, did_you_mean
from kdlib.progress import note
from kdlib.studies import schema
from kdlib.studies.report import Language
from kdlib.studies.study import Profile, Study

_NOISE = re.compile(r"[\[\](){}\"'“”‘’`]")
_COMMA = re.compile(r"[+-]?\d+,\d+")
MOST_SEEDS = 1000
_RANGE = re.compile(r"(\d+)[ \t]*(?:-|–|\.\.)[ \t]*(\d+)")


def _listed(value: Any) -> Any:
    """Take a list as it is usually written: ``0,1,2``, ``[0, 1]``, ``["a", "b"]``, a YAML list, or a single value."""
    if isinstance(value, str):
        parts = re.split(r"[\s,;]+", _NOISE.sub(" ", value))
        return [part for part in parts if part not in ("", "-")] or None
    return value if isinstance(value, (list, tuple)) else [value]


def _seeds(value: Any) -> Any:
    """Take ranges as well: ``0-2`` is 0, 1, 2."""
    if isinstance(value, str):  # a range may be written with spaces, which otherwise part the seeds
        value = _RANGE.sub(r"\1-\2", value)
    found = []
    for part in _listed(value) or ():
        ends = _RANGE.fullmatch(part) if isinstance(part, str) else None
        if ends and int(ends[1]) > int(ends[2]):
            raise ValueError(f"the range {part} goes down; write {ends[2]}-{ends[1]}")
        if ends and int(ends[2]) - int(ends[1]) >= MOST_SEEDS:
            raise ValueError(f"the range {part} holds more than {MOST_SEEDS} seeds")
        found += range(int(ends[1]), int(ends[2]) + 1) if ends else [part]
    return found or None


def _path(value: Any) -> Any:
    """Refuse what no file can be called."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a path holds no null character")
    return value


def _numbers(value: Any) -> Any:
    """Take a list of numbers, whose decimals have a point; a comma divides numbers."""
    if isinstance(value, str):
        _check_commas(re.sub(r"(?m)^\s*-\s+", "", _NOISE.sub(" ", value)).strip())
    elif isinstance(value, (list, tuple)):
        for part in value:
            _number(part)
    return _listed(value)


def _check_commas(text: str) -> None:
    """Refuse what is most likely meant as decimal commas: 0,5 and 0,05 and 1,5;2,5. Whoever means two says 0, 5."""
    several = "," in text and re.fullmatch(r"\d+(?:,\d+)?(?:[;\s]\s*\d+(?:,\d+)?)+", text)
    if several or re.search(r"(?<![\d.])(?:0,(?:[2-9]|\d\d)\d*|\d+,0\d+)(?![\d.])", text):
        points = ",".join(re.split(r"[;\s]+", re.sub(r"(\d+),(\d+)", r"\1.\2", text)))
        raise ValueError(f"decimals have a point, and commas divide numbers; write {points}")


def _pointed(value: Any) -> str | None:
    """Return a number that is written with a decimal comma with a point; None for all else."""
    written = isinstance(value, str) and _COMMA.fullmatch(value.strip())
    return written[0].replace(",", ".") if written else None


def _number(value: Any) -> Any:
    """Refuse a decimal comma."""
    if point := _pointed(value):
        raise ValueError(f"decimals have a point; write {point}")
    return value


def _unless_empty(read: Callable[[Any], Any] = lambda value: value) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value in ("", None, [], ()) else read(value))


Listed, Seeds, Numbers = _unless_empty(_listed), _unless_empty(_seeds), _unless_empty(_numbers)
Blank, FilePath, Decimal = _unless_empty(), _unless_empty(_path), _unless_empty(_number)
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Parameters(BaseModel):
    """What a call asks for; an empty value (None or "") leaves the study's own.

    The first block says what to run and where; the second replaces values of the study, in all of its columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str = "tr_kd"
    profile: Profile = "quick"
    lang: Language = "en"
    seeds: Annotated[list[Seed] | None, Seeds] = None
    data_root: Annotated[str | None, FilePath] = None
    source_root: Annotated[str | None, FilePath] = None
    device: str = "auto"
    output_dir: Annotated[str, BeforeValidator(_path)] = "outputs"

    teacher: Annotated[str | None, Blank] = None
    students: Annotated[list[str] | None, Listed] = None
    columns: Annotated[list[str] | None, Listed] = None
    model: Annotated[str | None, Blank] = None
    criteria: Annotated[list[str] | None, Listed] = None
    ratio: Annotated[list[Share] | None, Numbers] = None
    macs: Annotated[Share | None, Decimal] = None
    max_drop: Annotated[float | None, Decimal] = Field(None, ge=0)
    protect_se: Annotated[bool | None, Blank] = None
    steps: Annotated[int | None, Blank] = Field(None, ge=1)
    round_to: Annotated[int | None, Blank] = Field(None, ge=1)
    calibration_batches: Annotated[int | None, Blank] = Field(None, ge=1)
    threshold: Annotated[float | None, Decimal] = Field(None, ge=0, lt=1)
    keep: Annotated[list[str] | None, Listed] = None
    normalise: Annotated[Literal["mean", "none"] | None, Blank] = None
    open_layers: Annotated[list[str] | None, Listed] = None
    weights: Annotated[str | None, FilePath] = None
    T: Annotated[list[Positive] | None, Numbers] = None
    alpha: Annotated[list[Weight] | None, Numbers] = None
    lam: Annotated[Weight | None, Decimal] = None
    loss: Annotated[str | None, Blank] = None
    taps: Annotated[list[str] | None, Listed] = None
    epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    teacher_epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    source_epochs: Annotated[int | None, Blank] = Field(None, ge=1)
    batch_size: Annotated[int | None, Blank] = Field(None, ge=1)
    lr: Annotated[Positive | None, Decimal] = None
    class_weights: Annotated[Literal["none", "balanced"] | None, Blank] = None
    label_smoothing: Annotated[float | None, Decimal] = Field(None, ge=0, lt=1)
    precision: Annotated[Literal["auto", "bf16", "fp32"] | None, Blank] = None
    dataset: Annotated[str | None, Blank] = None
    image_size: Annotated[int | None, Blank] = Field(None, ge=8, le=4096)
    input_size: Annotated[int | None, Blank] = Field(None, ge=8, le=4096)
    train_size: Annotated[int | None, Blank] = Field(None, ge=2)
    test_size: Annotated[int | None, Blank] = Field(None, ge=1)
    grayscale: Annotated[bool | None, Blank] = None
    resize: Annotated[Literal["squash", "crop"] | None, Blank] = None
    background: Annotated[Literal["white", "black"] | None, Blank] = None
    groups: Annotated[str | None, Blank] = None
    val_fraction: Annotated[Share | None, Decimal] = None
    download: bool = False

    @property
    def root(self) -> Path:
        """``output_dir/profile``: the runs and the studies' folders lie below it."""
        folder = Path(os.path.expanduser(self.output_dir))
        # JupyterLab starts a kernel in the notebook's folder, notebooks/ or one below it; outputs/ lies beside it.
        for place in (Path.cwd(), Path.cwd().parent) if not folder.is_absolute() else ():
            if place.name == "notebooks" and (place.parent / "pyproject.toml").exists():
                folder = place.parent / folder
        return folder / self.profile

    def asked(self) -> dict[str, Any]:
        """Return what was asked of the study: not which one, and not where things are."""
        where = {"study", "profile", "lang", "data_root", "source_root", "device", "output_dir", "download"}
        return self.model_dump(exclude_none=True, exclude=where)

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
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[0].lower() + reason[1:]
        reason += "" if "; write " in reason else _how(name, values.get(name))
        raise UserError(f"parameter {name}={values.get(name)!r}: {reason}") from None
    _say_commas(found, values)
    schema.load(found.study)
    return found


def settle(parameters: Parameters) -> Study:
    """Return the study with its profile and the parameters applied; raises ``UserError`` for what does not fit."""
    study = schema.load(parameters.study).with_(parameters.profile, parameters.asked())
    study.check()
    return study


def _how(name: str, value: Any) -> str:
    """What would be right, where the value alone shows it."""
    if name == "alpha" and value in ("white", "black"):
        return f"; what transparent images are laid over is background={value}"
    if name == "seeds":
        return "; write such as 0,1,2 or 0-2"
    if name in _LISTS and isinstance(value, str) and ".." in value:
        return "; write the values, such as 1,2,3"
    if name in (*_LISTS, "macs", "val_fraction") and isinstance(value, str) and value.strip().endswith("%"):
        return "; write a fraction, such as 0.1 for 10 %"
    if name in _LISTS and (point := _pointed(value)):
        return f"; decimals have a point: write {point}"
    return ""


_LISTS = ("T", "alpha", "ratio")


def _say_commas(found: Parameters, values: dict[str, Any]) -> None:
    """Two numbers, in Turkish or the first of them 0, may be one with a decimal comma: say how they are taken."""
    for name in _LISTS:
        if point := _pointed(values.get(name)):
            first, second = getattr(found, name)
            if found.lang == "tr" or first == 0:
                note(f"{name}={values[name]} is two values, {first:g} and {second:g}; with a point, {point}, it is one")


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
