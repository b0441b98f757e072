"""A study as a notebook or the command line holds it: checked, planned, run."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import kdlib
from kdlib.data import Dataset
from kdlib.errors import UserError
from kdlib.studies import cost, records, runner
from kdlib.studies.parameters import Parameters, from_notebook
from kdlib.studies.plan import Plan, Settings, plan, settle


@dataclass(frozen=True)
class Experiment:
    """One call of a study: its parameters, settings, data, plan, and where its results lie."""

    parameters: Parameters
    settings: Settings
    dataset: Dataset
    plan: Plan

    @property
    def runs_folder(self) -> Path:
        """Where the records of all studies of this profile lie."""
        return self.parameters.root / "runs"

    @property
    def folder(self) -> Path:
        """Where this study's notebook, tables and figures lie."""
        return self.parameters.root / self.settings.study.name

    @cached_property
    def signature(self) -> str:
        """Hash of what decides the study's output: the runs, the language, and kdlib's own files."""
        text = json.dumps([self.parameters.lang, sorted(self.plan.runs), [a.id for a in self.plan.arms], _source()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def costs(self) -> list[cost.Cost]:
        """Return what each run is, whether it is there, and what it takes."""
        return cost.estimate(self.plan, self.runs_folder)

    def missing(self) -> list:
        """Return the runs that are still to do."""
        return runner.missing(self.plan, self.runs_folder)

    def run(self) -> Path:
        """Do the missing runs, write ``runs.json``, and return the study's folder."""
        runner.execute(self.plan, self.runs_folder, self.parameters.device)
        about = {
            "study": self.settings.study.name,
            "profile": self.parameters.profile,
            "parameters": self.parameters.model_dump(exclude_none=True, exclude={"data_root", "output_dir", "device"}),
            "signature": self.signature,
        }
        records.write_arms(self.folder, self.plan.arms, about)
        return self.folder


def prepare(parameters: Parameters | dict[str, Any]) -> Experiment:
    """Check parameters, load the data and plan the runs; nothing is written.

    In a notebook pass ``globals()`` right after the parameters cell. Raises ``UserError`` for all that a user can
    get wrong.
    """
    if not isinstance(parameters, Parameters):
        parameters = from_notebook(parameters)
    settings = settle(parameters)
    _check_writable(parameters.root)
    dataset = settings.load_data(parameters)
    return Experiment(parameters, settings, dataset, plan(settings, dataset))


def _check_writable(root: Path) -> None:
    for parent in (root, *root.parents):
        if parent.exists():
            if not parent.is_dir():
                raise UserError(f"output_dir: {parent} is a file; name a folder")
            return


def _source() -> str:
    """Hash of kdlib's own files, so that a changed figure or table is made again."""
    root = Path(kdlib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.yaml"), *root.rglob("*.mplstyle")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
