"""A study as a notebook or the command line holds it: checked, planned, run."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from kdlib import models, profiling
from kdlib.errors import UserError
from kdlib.studies import attention, compactness, cost, counts, model_costs, records, runner, schema
from kdlib.studies.call import Call
from kdlib.studies.parameters import Parameters, from_notebook
from kdlib.studies.plan import plan
from kdlib.studies.settings import fitted, settle
from kdlib.training import Stop

_PLACES = {"data_root", "source_root", "output_dir", "device"}  # where, not what


class Experiment(Call):
    """A call of a study that can be looked at, done, and asked whether it is done."""

    @property
    def title(self) -> str:
        """The study's title in the call's language."""
        return schema.text(self.settings.study.title, self.parameters.lang)

    @property
    def source(self) -> str:
        """The report the study reproduces, in the call's language."""
        return schema.text(self.settings.study.source, self.parameters.lang)

    @property
    def signature(self) -> str:
        """Hash of what decides the study's output: its runs, those it shows beside, the language, kdlib's own files."""
        beside = [self.parameters.root / name / "runs.json" for name in self.settings.study.beside]
        shown = [
            [one.id for one in records.read_conditions(path.parent)[0]] if path.is_file() else [] for path in beside
        ]
        own = [condition.id for condition in self.plan.conditions]
        text = json.dumps([self.parameters.lang, sorted(self.plan.runs), own, shown, counts.source()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def costs(self) -> list[cost.Cost]:
        """Return what each run is, whether it is there, and what it takes."""
        return cost.estimate(self.plan, self.runs_folder)

    def overview(self):
        """Return the runs as a pandas DataFrame: what they are, whether they are on record, what they cost."""
        import pandas as pd

        rows = [cost.row() for cost in self.costs()]
        return pd.DataFrame(rows).set_index("run")

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
        if self.settings.study.costs:
            model_costs.write(self.settings.study, self.folder)
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
            "study": self.settings.study.name,
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
    settings = settle(parameters)
    _check_writable(parameters.root)
    dataset = settings.load_data(parameters)
    settings = fitted(settings, len(dataset.train), parameters)
    source = settings.load_source(parameters)
    return Experiment(parameters, settings, dataset, plan(settings, dataset, source))


def model_table(names: str | None = None, num_classes: int = 10, size: int = 32):
    """Return architectures as a pandas DataFrame: parameters, and MACs of one RGB image.

    ``names``: those to show, ``a,b,c``, in that order; without it every registered one, by size.
    """
    import pandas as pd

    rows = [
        {"model": name, **counts.kept(_counted, name, num_classes, 3, size)}
        for name in (names.split(",") if names else models.names())
    ]
    table = pd.DataFrame(rows) if names else pd.DataFrame(rows).sort_values(["parameters", "model"])
    return table.set_index("model").map("{:,}".format)


def variant_table(study: str, num_classes: int = 10, size: int = 32):
    """Return a transfer study's choices of open layers as a pandas DataFrame: trained and frozen parameters, MACs.

    MACs are of one RGB image: those of the forward pass, and of the layers that the backward pass visits.
    """
    import pandas as pd

    transfer = schema.load(study).transfer
    rows = []
    for name, variant in transfer.variants.items():
        found = counts.kept(_opened, transfer.model, num_classes, 3, size, variant.open)
        starts = {"starts from": "source weights" if variant.weights else "random weights"}
        rows.append({"open layers": name, **starts, **{key: f"{value:,}" for key, value in found.items()}})
    return pd.DataFrame(rows).set_index("open layers")


def _counted(name: str, num_classes: int, in_channels: int, size: int) -> dict[str, int]:
    model = models.build(name, num_classes, in_channels)
    macs = profiling.forward_macs(model, (in_channels, size, size))
    return {"parameters": profiling.count_parameters(model), "MACs": macs}


def _opened(name: str, num_classes: int, in_channels: int, size: int, open_: list[str] | None) -> dict[str, int]:
    model = models.build(name, num_classes, in_channels)
    if open_ is not None:
        models.open_only(model, open_)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layers = profiling.layer_macs(model, (in_channels, size, size))
    opened = [
        macs for layer, macs in layers.items() if any(p.requires_grad for p in model.get_submodule(layer).parameters())
    ]
    return {
        "trained": trained,
        "frozen": profiling.count_parameters(model) - trained,
        "MACs forward": sum(layers.values()),
        "MACs open": sum(opened),
    }


def _check_writable(root: Path, mode: int = os.F_OK) -> None:
    for parent in (root, *root.parents):
        if parent.exists():
            if not parent.is_dir():
                raise UserError(f"output_dir: {parent} is a file; name a folder")
            if not os.access(parent, mode):
                raise UserError(f"output_dir: {parent} cannot be written to; name another folder")
            return
