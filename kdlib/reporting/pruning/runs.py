"""The runs of a pruning study by the settings its tables speak of, and what a difference between two is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property

import numpy as np

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.choice import best_by_validation
from kdlib.reporting.core.evidence import Difference, changes, compare, over_images, over_seeds
from kdlib.reporting.core.i18n import N_, say, text
from kdlib.reporting.core.results import Cell, Estimate, Results, estimate, same
from kdlib.reporting.pruning.text import BOOK

RANDOM = "random"
SETTINGS = ("report", "protected", "macs", "macs_protected")


class Pruning:
    """A pruning study: its settings as ``where``, their cells and counts, and what was measured."""

    def __init__(self, results: Results):
        self.results, self.study, self.spec = results, results.study, results.study.pruning
        self._wheres: dict[tuple[str, str, str], dict | None] = {}

    @cached_property
    def original(self) -> Cell:
        """Test accuracy of the unpruned model, a fraction."""
        return self.results.cell({"role": "original"})

    @cached_property
    def settings(self) -> dict[str, dict]:
        """Name -> what the conditions of that setting share; those no condition belongs to are left out.

        ``report``: the report's ratio; ``macs``: equal MACs; ``protected`` and ``macs_protected``: the same with
        squeeze-excite bottlenecks spared where the report leaves them open.
        """
        spec, select = self.spec, self.results.select
        asked = {"report": {"ratio": spec.ratio, "macs": None, "protect_se": spec.protect_se}}
        if spec.macs is not None:
            asked["macs"] = {"ratio": None, "macs": spec.macs, "protect_se": spec.protect_se}
        if not spec.protect_se:
            asked["protected"] = {**asked["report"], "protect_se": True}
            asked |= {"macs_protected": {**asked["macs"], "protect_se": True}} if "macs" in asked else {}
        have = {name: where for name, where in asked.items() if select(**where)}
        if "macs" not in have and "macs_protected" in have:  # no runs to set it beside
            have["macs"] = have.pop("macs_protected")
        return {name: have[name] for name in SETTINGS if name in have}

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

    def cell(self, role: str, criterion: str, setting: str, metric: str = "test_accuracy") -> Cell:
        """The runs of a criterion in a role at a setting, over seeds; an empty cell where there are none."""
        where = self.where(role, criterion, setting)
        return self.results.cell(where, metric) if where else Cell(None, None, 0, ())

    def structures(self, criterion: str, setting: str) -> list[dict]:
        """What pruning left, one ``run["pruning"]`` a seed."""
        for role in ("finetuned", "pruned"):
            if where := self.where(role, criterion, setting):
                found = {record.id: record.run.get("pruning") for _, record in self.results.select(**where)}
                return [one for one in found.values() if one]
        return []

    def left(self, key: str, criterion: str, setting: str) -> Estimate:
        """Share of ``params``, ``macs`` or ``size_bytes`` that is left, over seeds."""
        return estimate(one[key][1] / one[key][0] for one in self.structures(criterion, setting))

    def narrowest(self, criterion: str, setting: str) -> tuple[int, int, str] | None:
        """(left, before, layer) of the layer with fewest channels left in any seed; of several the first.

        The output does not count: its channels are the classes.
        """
        found = [
            (after, before, name)
            for one in self.structures(criterion, setting)
            for name, (before, after) in one["channels"].items()
            if one["protected"].get(name) != "output"
        ]
        return min(found, key=lambda layer: layer[0], default=None)

    @cached_property
    def measured(self) -> dict | None:
        """``pruned.json`` of the study's folder; None where there is none."""
        file = self.results.folder / "pruned.json" if self.results.folder else None
        return json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else None

    def models(self, setting: str | None = None) -> dict[str, dict]:
        """Measured models by criterion at a setting, in the study's order; ``original`` alone without one."""
        found = (self.measured or {}).get("models", [])
        if setting is None:
            return dict([("original", model) for model in found if model["role"] == "original"][:1])
        where = self.settings.get(setting)
        if where is None:
            return {}
        at = {
            m["criterion"]: m for m in found if m["role"] == "pruned" and all(same(m[k], v) for k, v in where.items())
        }
        return {criterion: at[criterion] for criterion in self.spec.criteria if criterion in at}

    def reported(self, row: str, key: str) -> float | None:
        """What the report gave for a row (``original`` or a criterion); None where it gives nothing."""
        return getattr(self.spec.reported.get(row), key, None)

    def reported_kept(self, criterion: str) -> float | None:
        """The report's share of the original's accuracy that is kept, in per cent: as printed, else from accuracies."""
        base, own = self.reported("original", "accuracy"), self.reported(criterion, "accuracy")
        printed = self.reported(criterion, "kept")
        return printed if printed is not None or own is None or not base else 100 * own / base

    def slow_in_report(self) -> tuple[dict[str, float], dict[str, float]]:
        """The report's latencies (ms) of criteria that take over three times the original's, and all the others.

        Empty where some pruned network computes more than the original: then slowness needs no other reason.
        """
        given = {row: self.reported(row, "latency_ms") for row in ("original", *self.spec.criteria)}
        given = {row: value for row, value in given.items() if value is not None}
        flops = [self.reported(criterion, "flops_change") for criterion in given if criterion != "original"]
        if "original" not in given or any(change is None or change > 0 for change in flops):
            return {}, given
        slow = {row: value for row, value in given.items() if value > 3 * given["original"]}
        return slow, {row: value for row, value in given.items() if row not in slow}

    def name(self, criterion: str, lang: str) -> str:
        """What a criterion, or ``original``, is called."""
        if criterion == "original" and criterion not in (self.study.labels or {}):
            return say("Original", lang)
        return names.label(self.study, criterion, lang)

    def scope(self, lang: str) -> str:
        """How the channels were ranked: over the whole network or layer by layer."""
        return say(BOOK[f"scope_{self.spec.scope}"], lang)

    def called(self, where: dict, lang: str) -> str:
        """A setting in words: its ratio or share of MACs, and squeeze-excite where it differs from the report's."""
        if where.get("ratio") is not None:
            said = say("{ratio} of channels", lang, ratio=percent(where["ratio"], lang))
        else:
            said = say("{macs} of MACs kept", lang, macs=percent(where["macs"], lang))
        if where.get("protect_se") == self.spec.protect_se:
            return said
        return said + say(
            N_(", squeeze-excite protected") if where["protect_se"] else N_(", squeeze-excite open"), lang
        )

    def gap(self, one: dict | None, other: dict | None, beside: Pruning | None = None) -> Difference | None:
        """Test accuracy at ``one`` minus that at ``other`` (of ``beside`` where given); None without both."""
        return compare(self.results, one, (beside or self).results, other)

    def pairs(self, one: tuple[str, str], other: tuple[str, str], beside: Pruning | None = None) -> dict[str, tuple]:
        """criterion -> its ``where`` at (role, setting) ``one`` and at ``other`` (of ``beside`` where given)."""
        second = beside or self
        sides = {c: (self.where(one[0], c, one[1]), second.where(other[0], c, other[1])) for c in self.spec.criteria}
        return {criterion: pair for criterion, pair in sides.items() if all(pair)}

    def mean_gap(self, pairs: dict[str, tuple], beside: Pruning | None = None, lost: bool = False) -> tuple | None:
        """(mean over criteria of the gaps, criterion -> gap) for criterion -> (one, other); None where none has both.

        Over seeds the mean's interval is that of each seed's mean; with fewer than three seeds images are drawn, for
        all criteria at once. With ``lost`` each side counts from its own original (the change of accuracy), here and in
        ``beside``.
        """
        second = beside or self
        base = self.original.mean - second.original.mean if lost else 0.0
        gaps = {criterion: self.gap(*pair, beside) for criterion, pair in pairs.items()}
        gaps = {criterion: found for criterion, found in gaps.items() if found}
        if not gaps:
            return None
        whole = self._mean(gaps, pairs, second, base, lost)
        return replace(whole, runs=tuple(dict.fromkeys(id for found in gaps.values() for id in found.runs))), gaps

    def _mean(self, gaps: dict, pairs: dict, second: Pruning, base: float, lost: bool) -> Difference:
        mean = float(np.mean([found.mean for found in gaps.values()])) - base
        sides = [(self.results.cell(pairs[c][0]).by_seed, second.results.cell(pairs[c][1]).by_seed) for c in gaps]
        shared = sorted(set.intersection(*(set(first) & set(last) for first, last in sides)))
        if shared and (whole := over_seeds(np.mean([a[s] - b[s] for a, b in sides]) - base for s in shared)).interval:
            return whole
        if any(found.over != "images" for found in gaps.values()):
            return Difference(mean)
        found = [changes(self.results, pairs[c][0], second.results, pairs[c][1]) for c in gaps]
        if lost:
            whole = changes(self.results, {"role": "original"}, second.results, {"role": "original"})
            found = [None if whole is None or one is None else one - whole for one in found]
        return over_images(mean, found)


def read(results: Results) -> Pruning | None:
    """A study's pruning runs; None for a study of another kind, or one without an original that was run."""
    if (
        getattr(results.study, "pruning", None) is None
        or getattr(results.study, "teacher", None)
        or not results.select(role="original")
    ):
        return None
    return Pruning(results)


def percent(share: float, lang: str) -> str:
    """A share with as few decimals as say it: 10%, 2.5%."""
    digits = numbers.decimals_of([numbers.rounded(100 * share, 4)], 2)
    return numbers.percent(share, digits, lang)


def shown(value, lang: str) -> str:
    """A reported entry of the configuration: a number in the language's own way, a text as it is."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return numbers.integer(value, lang) if float(value).is_integer() else numbers.short(value, lang)
    return text(value, lang)
