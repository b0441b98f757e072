"""One call of a study, planned: what it is made of, and where its results lie."""

from dataclasses import dataclass
from pathlib import Path

from kdlib.data import Dataset
from kdlib.studies.parameters import Parameters
from kdlib.studies.plan import Plan
from kdlib.studies.study import Study


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
