"""A study as a notebook or the command line holds it: checked, planned, run."""

import hashlib
import json
import os
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from kdlib.errors import UserError
from kdlib.studies import architectures, attention, compactness, cost, counts, records, runner, schema
from kdlib.studies.call import Call, find_notebook
from kdlib.studies.parameters import Parameters, from_notebook, settle
from kdlib.studies.plan import plan
from kdlib.training import Stop

_PLACES = {"data_root", "source_root", "output_dir", "device"}  # where, not what


class Experiment(Call):
    """A call of a study that can be looked at, done, and asked whether it is done."""

    @property
    def title(self) -> str:
        """The study's title in the call's language."""
        return schema.text(self.study.title, self.parameters.lang)

    @property
    def source(self) -> str:
        """The report the study reproduces, in the call's language."""
        return schema.text(self.study.source, self.parameters.lang)

    @property
    def signature(self) -> str:
        """Hash of what decides the study's output: its settings, runs and those beside, notebook, language, kdlib."""
        beside = [self.parameters.root / name / "runs.json" for name in self.study.beside]
        shown = [
            [one.id for one in records.read_conditions(path.parent)[0]] if path.is_file() else [] for path in beside
        ]
        own = [condition.id for condition in self.plan.conditions]
        settings = self.study.model_dump(mode="json")
        runs = {id: records.contents(self.runs_folder, id) for id in {*self.plan.runs, *chain(*shown)}}
        cells = find_notebook(self.study.notebook, self.parameters.lang).read_text(encoding="utf-8")
        text = json.dumps([self.parameters.lang, settings, runs, own, shown, cells, counts.source()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def costs(self) -> list[cost.Cost]:
        """Return what each run is, whether it is there, and what it takes."""
        return cost.estimate(self.plan, self.runs_folder)

    def overview(self):
        """Return the runs as a pandas DataFrame: what they are, whether they are on record, what they cost."""
        import pandas as pd

        rows = pd.DataFrame([cost.row() for cost in self.costs()]).set_index("run")
        return rows.loc[:, (rows != "").any()]  # what no run of the study has is no column

    def missing(self) -> list:
        """Return the runs that are still to do."""
        return runner.missing(self.plan, self.runs_folder)

    def check(self) -> None:
        """Raise ``UserError`` for what a run to come could not use: a model, images, a checkpoint; writes nothing."""
        if self.missing():
            runner.check(self.plan, self.parameters.device)

    def run(self, options: runner.Options | None = None, stop: Stop | None = None) -> Path:
        """Do the missing runs, write what else the study shows beside them, and return the study's folder.

        Interrupted (Ctrl-C, the kernel's stop button, SIGTERM, or ``stop``) it raises ``kdlib.training.Stopped`` at the
        next batch; the next call goes on from there.
        """
        _check_writable(self.parameters.root, os.W_OK)
        runner.execute(self.plan, self.runs_folder, self.parameters.device, options, stop)
        self._write(self._finished())
        if self.study.costs:
            architectures.write_costs(self.study.costs, self.folder)
        attention.write(self)
        compactness.write(self)
        return self.folder

    def model(self, **where) -> nn.Module:
        """Return the trained network of the first run on record that is such, as ``role="student", T=4``.

        It is on the CPU, in eval mode, and takes images as `kdlib.data.normalise` gives them.

        Raises ``UserError`` where the study has no such run, or it is not done yet.
        """
        for condition in self.plan.conditions:
            record = records.read(self.runs_folder, condition.id)
            if record and all(getattr(condition, key) == value for key, value in where.items()):
                return runner.trained(self.plan.runs[condition.id], self.runs_folder).eval()
        said = ", ".join(f"{key}={value!r}" for key, value in where.items())
        raise UserError(f"no run on record has {said}; run the study first, or ask for another")

    def up_to_date(self) -> bool:
        """Whether the executed notebook shows just this: nothing to train, nothing in kdlib changed since."""
        return not self.missing() and self._finished().get(self.parameters.lang) == self.signature

    def mark_finished(self) -> None:
        """Note that the notebook of this language was executed to its end."""
        self._write({**self._finished(), self.parameters.lang: self.signature})

    def _finished(self) -> dict[str, str]:
        """Signatures of the executed notebooks by language, as far as they still lie in the folder."""
        if not (self.folder / "runs.json").is_file():
            return {}
        try:
            found = records.read_conditions(self.folder)[1].get("finished", {})
        except UserError:  # damaged: it is written anew
            return {}
        return {lang: sign for lang, sign in found.items() if (self.folder / f"notebook.{lang}.html").is_file()}

    def _write(self, finished: dict[str, str]) -> None:
        about = {
            "study": self.study.name,
            "profile": self.parameters.profile,
            "parameters": self.parameters.model_dump(exclude_none=True, exclude=_PLACES),
            "finished": finished,
        }
        records.write_conditions(self.folder, self.plan.conditions, about)


def prepare(parameters: Parameters | dict[str, Any]) -> Experiment:
    """Check parameters, load the data and plan the runs; nothing is written.

    In a notebook pass ``globals()`` right after the parameters cell. Raises ``UserError`` for all that a user can
    get wrong.
    """
    if not isinstance(parameters, Parameters):
        parameters = from_notebook(parameters)
    study = settle(parameters)
    _check_writable(parameters.root)
    root, download = parameters.data_root, parameters.download
    dataset = study.data.load(root, download)
    study = study.fitted(len(dataset.train), keep=parameters.batch_size is not None)
    task = study.source_images()
    source = task and task.load(parameters.source_root or root, download)
    return Experiment(parameters, study, dataset, plan(study, dataset, source))


def _check_writable(root: Path, mode: int = os.F_OK) -> None:
    nearest = next(place for place in (root, *root.parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"output_dir: {nearest} is a file; name a folder")
    if not os.access(nearest, mode):
        raise UserError(f"output_dir: {nearest} cannot be written to; name another folder")
