"""The studies there are: one YAML each, of a kind."""

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import yaml

from kdlib.errors import UserError, did_you_mean
from kdlib.studies.compression import Compression
from kdlib.studies.distillation import Distillation, Point
from kdlib.studies.pruning import PruningStudy
from kdlib.studies.report import LANGUAGES, Clinical, Column, CostRow, Costs, Figure, Row, Table, Text, text
from kdlib.studies.study import PROFILES, Study, validated
from kdlib.studies.transfer import Transfer

__all__ = ["KINDS", "LANGUAGES", "PROFILES", "Point", "Study", "load", "names", "text"]
__all__ += ["Clinical", "Column", "CostRow", "Costs", "Figure", "Row", "Table", "Text"]

KINDS: dict[str, type[Study]] = {
    "distillation": Distillation,
    "transfer": Transfer,
    "pruning": PruningStudy,
    "compression": Compression,
}


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
        values = yaml.safe_load(files[name].read_text(encoding="utf-8"))
        kind = values.get("kind")
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        raise UserError(f"study {name}: {name}.yaml is damaged ({' '.join(str(error).split())})") from None
    if kind not in KINDS:
        raise UserError(f"study {name}: unknown kind {kind!r}; {did_you_mean(str(kind), KINDS)}")
    study = validated(KINDS[kind], values)
    for profile in study.profiles:
        study.with_(profile)
    return study


def _files() -> dict[str, Traversable]:
    entries = resources.files("kdlib.studies").iterdir()
    return {entry.name.removesuffix(".yaml"): entry for entry in entries if entry.name.endswith(".yaml")}
