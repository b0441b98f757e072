"""Studies: one YAML each; parameters become runs, runs become records.

What needs torch is imported when it is asked for: listing studies and reading records is light.
"""

from importlib import import_module
from typing import Any

from kdlib.studies.schema import LANGUAGES, PROFILES, Study, load, names

_LAZY = {
    "Experiment": "kdlib.studies.experiment",
    "model_table": "kdlib.studies.architectures",
    "prepare": "kdlib.studies.experiment",
    "Parameters": "kdlib.studies.parameters",
    "parse": "kdlib.studies.parameters",
    "reference_table": "kdlib.studies.architectures",
    "variant_table": "kdlib.studies.architectures",
}

__all__ = ["LANGUAGES", "PROFILES", "Study", "load", "names", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
