"""One call of a study, planned: what it is made of, and where its results lie."""

from dataclasses import dataclass
from pathlib import Path

import kdlib
from kdlib.data import Dataset
from kdlib.errors import UserError
from kdlib.studies.parameters import Parameters
from kdlib.studies.plan import Plan
from kdlib.studies.study import Study


def find_notebook(name: str, lang: str) -> Path:
    """Return the path of a notebook of the checkout, or of its twin; raises ``UserError`` where there is none."""
    path = Path("notebooks", *(() if lang == "en" else (lang,)), f"{name}.ipynb")
    for root in (Path(kdlib.__file__).parent.parent, Path()):
        if (root / path).is_file():
            return root / path
    raise UserError(f"{path} is not here; run from a checkout of the project")


@dataclass(frozen=True)
class Call:
    """The parameters, study, images and plan of a call."""

    parameters: Parameters
    study: Study
    dataset: Dataset
    plan: Plan

    @property
    def runs_folder(self) -> Path:
        """Where the records of all studies of this profile lie."""
        return self.parameters.root / "runs"

    @property
    def folder(self) -> Path:
        """Where this study's notebook, tables and figures lie."""
        return self.parameters.root / self.study.name
