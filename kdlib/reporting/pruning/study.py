"""A pruning study as its tables, figures and verdicts see it: its settings, their runs and what pruning left."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from kdlib.reporting.core import names
from kdlib.reporting.core.evidence import Difference, changes, compare, gain, over_images, over_seeds, seed_by_seed
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.results import Cell, Estimate, Results, best_by_validation, estimate, same
from kdlib.studies import artifacts, schema

RANDOM = "random"
SCOPES = {"global": N_("global"), "layerwise": N_("layer-wise")}
GIGA, MEBI = 1e9, 2**20


class PruningStudy:
    """A pruning study: its settings, each by name or as a ``where``, their runs, and what was measured."""

    def __init__(self, results: Results):
        self.results, self.study, self.spec = results, results.study, results.study.pruning
        self._wheres: dict[tuple[str, str, str], dict | None] = {}

    @cached_property
    def original(self) -> Cell:
        """Test accuracy of the unpruned model, a fraction."""
        return self.results.cell({"role": "original"})

    @property
    def whole(self):
        """The record of the unpruned model."""
        return self.results.select(role="original")[0][1]

    @cached_property
    def original_size(self) -> float | None:
        """Size of the unpruned model in MiB, as the pruned ones' records have it; None without any."""
        found = (record.run.get("pruning") for _, record in self.results.select(role=["pruned", "finetuned"]))
        return next((one["size_bytes"][0] / MEBI for one in found if one), None)

    @cached_property
    def report(self) -> dict:
        """The report's setting, whether it was run or not."""
        return {"ratio": self.spec.ratio, "macs": None, "protect_se": self.spec.protect_se}

    @cached_property
    def settings(self) -> dict[str, dict]:
        """Name -> what the conditions of that setting share; those no condition belongs to are left out.

        ``report``: the report's ratio; ``macs``: equal MACs; ``protected`` and ``macs_protected``: the same with
        squeeze-excite bottlenecks spared where the report leaves them open. Other ratios, where networks were
        fine-tuned, go by the ratio: ``0.3``.
        """
        asked, amounts = {}, {"report": self.report}
        if self.spec.macs is not None:
            amounts["macs"] = {**self.report, "ratio": None, "macs": self.spec.macs}
        for name, where in amounts.items():
            asked[name] = where
            if not self.spec.protect_se:
                asked["protected" if name == "report" else "macs_protected"] = {**where, "protect_se": True}
        tuned = self.results.settings(role="finetuned", macs=None, protect_se=self.spec.protect_se)
        for ratio in sorted({where["ratio"] for where in tuned} - {self.spec.ratio}):
            asked[f"{ratio:g}"] = {**self.report, "ratio": ratio}
        have = {name: where for name, where in asked.items() if self.results.select(**where)}
        if "macs" not in have and "macs_protected" in have:  # no runs to set it beside
            have["macs"] = have.pop("macs_protected")
        return have

    @property
    def main(self) -> list[str]:
        """The settings that questions are asked at: all but those that exist beside one of them."""
        return [name for name in self.settings if not name.endswith("protected")]

    def criteria(self, setting: str, role: str = "finetuned") -> list[str]:
        """The criteria that converged in a role at a setting, in the study's order, random last."""
        order = sorted(self.spec.criteria, key=lambda criterion: criterion == RANDOM)
        return [criterion for criterion in order if self.cell(role, criterion, setting).mean is not None]

    def where(self, role: str, criterion: str, setting: str) -> dict | None:
        """A setting's ``where``; of several distilled ones that which validation takes. None where there is none."""
        key = (role, criterion, setting)
        if setting in self.settings and key not in self._wheres:
            found = self.results.settings(role=role, criterion=criterion, **self.settings[setting])
            self._wheres[key] = best_by_validation(self.results, found) or (found[0] if found else None)
        return self._wheres.get(key)

    def cell(self, role: str, criterion: str, setting: str) -> Cell:
        """Test accuracy of a criterion in a role at a setting, over seeds; an empty cell where there are no runs."""
        where = self.where(role, criterion, setting)
        return self.results.cell(where) if where else Cell(None, None, 0, ())

    def cuts(self, where: dict | None) -> list[dict]:
        """What pruning left in the runs of a ``where``, one ``run["pruning"]`` a seed."""
        found = {record.id: record.run.get("pruning") for _, record in self.results.select(**where)} if where else {}
        return [one for one in found.values() if one]

    def structures(self, criterion: str, setting: str) -> list[dict]:
        """The `cuts` of a criterion at a setting, before fine-tuning as after it."""
        wheres = (self.where(role, criterion, setting) for role in ("finetuned", "pruned"))
        return next((found for where in wheres if (found := self.cuts(where))), [])

    @cached_property
    def measured(self) -> dict | None:
        """``pruned.json`` of the study's folder; None where there is none."""
        folder = self.results.folder
        return artifacts.read(folder / artifacts.PRUNED) if folder else None

    def models(self, setting: str | None = None) -> dict[str, dict]:
        """Measured models by criterion at a setting, in the study's order; ``original`` alone without one."""
        found = (self.measured or {}).get("models", [])
        if setting is None:
            return dict([("original", model) for model in found if model["role"] == "original"][:1])
        if setting not in self.settings:
            return {}
        wanted = {"role": "pruned", **self.settings[setting]}
        at = {m["criterion"]: m for m in found if all(same(m[key], value) for key, value in wanted.items())}
        return {criterion: at[criterion] for criterion in self.spec.criteria if criterion in at}

    def reported(self, row: str, key: str) -> float | None:
        """What the report gave for a row (``original`` or a criterion); None where it gives nothing."""
        return getattr(self.spec.reported.get(row), key, None)

    def name(self, criterion: str, lang: str) -> str:
        """What a criterion, or ``original``, is called."""
        if criterion == "original" and criterion not in self.study.labels:
            return say("Original", lang)
        return names.label(self.study, criterion, lang)

    def scope(self, lang: str) -> str:
        """How the channels were ranked: over the whole network or layer by layer."""
        return say(SCOPES[self.spec.scope], lang)

    def called(self, where: dict, lang: str) -> str:
        """A setting in words: its ratio or share of MACs, and squeeze-excite where it differs from the report's."""
        said = names.amount(where, lang)
        return said if where["protect_se"] == self.spec.protect_se else said + bottlenecks(where["protect_se"], lang)

    def provenance(self, lang: str) -> str:
        """Where the numbers come from; and of which network, where it is not the report's."""
        report, line = as_reported(self.study.name), names.provenance(self.results, lang)
        if report is None or report.model == self.spec.model:
            return line
        return say("Network: {model}.", lang, model=self.name(self.spec.model, lang)) + " " + line

    def gap(self, one: dict | None, other: dict | None, beside: PruningStudy | None = None) -> Difference | None:
        """Test accuracy at ``one`` minus that at ``other`` (of ``beside`` where given); None without both."""
        return compare(self.results, one, (beside or self).results, other)

    def pairs(self, one: tuple[str, str], other: tuple[str, str], beside: PruningStudy | None = None) -> dict:
        """criterion -> its ``where`` at (role, setting) ``one`` and at ``other`` (of ``beside`` where given)."""
        second = beside or self
        sides = {c: (self.where(one[0], c, one[1]), second.where(other[0], c, other[1])) for c in self.spec.criteria}
        return {criterion: pair for criterion, pair in sides.items() if all(pair)}

    def mean_gap(self, pairs: dict, beside: PruningStudy | None = None, lost: bool = False) -> tuple | None:
        """(mean over criteria of the gaps, criterion -> gap) for criterion -> (one, other); None where none has both.

        Of the seeds that all criteria have: the interval is that of each seed's mean; with fewer than three seeds
        images are drawn, for all criteria at once. With ``lost`` each side counts from its own original (the change of
        accuracy), here and in ``beside``.
        """
        second = beside or self
        base = self.original.mean - second.original.mean if lost else 0.0
        gaps = {criterion: self.gap(*pair, beside) for criterion, pair in pairs.items()}
        gaps = {criterion: found for criterion, found in gaps.items() if found}
        if not gaps:
            return None
        whole = self._mean(gaps, pairs, second, base, lost)
        return replace(whole, runs=tuple(dict.fromkeys(id for found in gaps.values() for id in found.runs))), gaps

    def _mean(self, gaps: dict, pairs: dict, second: PruningStudy, base: float, lost: bool) -> Difference:
        runs = [seed_by_seed(self.results, pairs[c][0], second.results, pairs[c][1]) for c in gaps]
        shared = sorted(set.intersection(*map(set, runs)))
        if not shared:
            return Difference(float(np.mean([found.mean for found in gaps.values()])) - base)
        whole = over_seeds(float(np.mean([gain(by_seed[s]) for by_seed in runs])) - base for s in shared)
        if whole.interval:
            return whole
        found = [changes([by_seed[s] for s in shared]) for by_seed in runs]
        if lost:
            originals = changes([(self.whole, second.whole)])
            found = [None if originals is None or one is None else one - originals for one in found]
        return over_images(whole.mean, found)


def read(results: Results) -> PruningStudy | None:
    """A study's pruning runs; None for a study of another kind, or one without an original that was run."""
    return PruningStudy(results) if results.study.pruning and results.select(role="original") else None


def neighbours(study: PruningStudy) -> list[PruningStudy]:
    """The pruning studies beside this one whose original converged and that were fine-tuned."""
    found = [read(results) for results in study.results.beside.values()]
    return [one for one in found if one and one.original.mean is not None and any(map(one.criteria, one.settings))]


def as_reported(name: str):
    """A study's pruning as its report had it, run or not; None for a study that is none of ours."""
    return schema.load(name).pruning if name in schema.names() else None


def left(cuts: list[dict], key: str) -> Estimate:
    """Share of ``params``, ``macs`` or ``size_bytes`` that is left, over seeds."""
    return estimate(one[key][1] / one[key][0] for one in cuts)


def size(cuts: list[dict]) -> Estimate:
    """Size of what is left in MiB, over seeds."""
    return estimate(one["size_bytes"][1] / MEBI for one in cuts)


def bottlenecks(protected: bool, lang: str) -> str:
    """Whether squeeze-excite bottlenecks were spared, as it follows a setting."""
    return say(N_(", squeeze-excite protected") if protected else N_(", squeeze-excite open"), lang)
