"""What the runs of a study came to: select conditions, gather their seeds into cells, and state the spread honestly."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kdlib.errors import UserError
from kdlib.studies.records import Condition

# The spread of two numbers is known to a factor of thirty: an interval from them says nothing.
MIN_SEEDS = 3


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its spread; `sd` (ddof=1) needs two values, `interval` (95 % Student t) three."""

    mean: float | None
    sd: float | None
    n: int
    values: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean, Student's t: with few seeds a bootstrap would be too narrow.

        None for equal values, whose spread is unknown rather than zero.
        """
        if self.n < MIN_SEEDS or not self.sd:
            return None
        from scipy.special import stdtrit  # Student's t by its quantile

        half = float(stdtrit(self.n - 1, 0.975)) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half


def estimate(values) -> Estimate:
    """Mean, sd with n-1, and n of `values` (any number of floats, none included)."""
    values = tuple(float(v) for v in values)
    n = len(values)
    mean = math.fsum(values) / n if n else None
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
    return Estimate(mean, sd, n, values)


@dataclass(frozen=True)
class Diverged:
    """One run that diverged: it enters no mean and is named wherever its cell is shown."""

    seed: int
    epoch: int | None
    reason: str


@dataclass(frozen=True)
class Cell(Estimate):
    """All runs of one setting: the estimate over those that converged, and those that did not."""

    diverged: tuple[Diverged, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def runs(self) -> int:
        """Converged and diverged runs together."""
        return self.n + len(self.diverged)

    @property
    def by_seed(self) -> dict[int, float]:
        """seed -> value of the converged runs."""
        return dict(zip(self.seeds, self.values, strict=True))


def same(value: Any, wanted: Any) -> bool:
    """Whether a condition's `value` is what a `where` asks for; a list in `where` means any of them."""
    if isinstance(wanted, (list, tuple)):
        return any(same(value, w) for w in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12)
    return value == wanted


class Results:
    """The conditions of one study and the records they point to.

    `conditions` are what the study compares (role, model, recipe, seed, T, alpha, lam, id, variant, method); `records`
    maps a run id to its record. A condition whose record is missing has not been run: it counts as absent, never as
    zero. `folder` is the study's folder where the results were read from one; `beside` holds by name the other studies
    whose runs its tables show, as far as they have been run. `changed` are a call's parameters where it asked for other
    settings than the profile's: the paper profile with other temperatures is not what the report did.
    """

    def __init__(self, study, conditions, records, profile: str, folder: Path | None = None, beside=None, changed=()):
        self.study, self.conditions, self.records, self.profile = study, list(conditions), dict(records), profile
        self.folder: Path | None = folder
        self.changed = list(changed)
        self.beside: dict[str, Results] = dict(beside or {})
        self.drawings: dict = {}  # what `draw` made, by language
        self.verdicts: list | None = None  # what `verdicts.verdicts` found
        self._cells: dict = {}
        self._histories: dict = {}

    def select(self, **where) -> list[tuple[Any, Any]]:
        """(condition, record) of every condition that matches all of `where` and has a record."""
        known = {field.name for field in fields(Condition)}
        if unknown := sorted(set(where) - known):
            raise UserError(f"where: {', '.join(unknown)} is no property of a run; known: {', '.join(sorted(known))}")
        return [
            (condition, self.records[condition.id])
            for condition in self.conditions
            if condition.id in self.records
            and all(same(getattr(condition, key), value) for key, value in where.items())
        ]

    def cell(self, where: dict, metric: str = "test_accuracy") -> Cell:
        """The runs that match `where`, over seeds.

        Raises UserError when the match mixes settings (say, two recipes): their mean would mean nothing.
        """
        key = (metric, tuple(sorted((k, repr(v)) for k, v in where.items())))
        if key not in self._cells:
            self._cells[key] = self._gather(where, metric)
        return self._cells[key]

    def _gather(self, where: dict, metric: str) -> Cell:
        found = {}
        for condition, record in self.select(**where):
            found.setdefault(record.id, (condition, record))  # conditions may share a record: it still counts once
        settings = {setting(condition) for condition, _ in found.values()}
        if len(settings) > 1:
            differ = [key for key, *values in zip(SETTING, *settings, strict=True) if len(set(values)) > 1]
            raise UserError(f"where {where} mixes runs that differ in {', '.join(differ)}: add it to `where`")
        pairs = sorted(found.values(), key=lambda pair: pair[0].seed)
        good = [(condition.seed, record.metrics.get(metric)) for condition, record in pairs if not record.diverged]
        good = [(seed, float(v)) for seed, v in good if v is not None and math.isfinite(v)]
        e = estimate(v for _, v in good)
        bad = [(condition.seed, record.diverged) for condition, record in pairs if record.diverged]
        diverged = tuple(Diverged(seed, why.get("epoch"), str(why.get("reason", ""))) for seed, why in bad)
        return Cell(e.mean, e.sd, e.n, e.values, diverged, tuple(seed for seed, _ in good))

    def settings(self, **where) -> list[dict]:
        """The distinct settings (all but the seed) of matching conditions, in the study's order, each a `where`."""
        found = dict.fromkeys(setting(condition) for condition, _ in self.select(**where))
        return [dict(zip(SETTING, values, strict=True)) for values in found]

    def frame(self):
        """A pandas DataFrame, one row a run of each condition: its setting and seed, its metrics as the record has them
        (accuracies are fractions), whether it ``diverged``, and where it comes from."""
        import pandas as pd

        rows = []
        for condition, record in self.select():
            run, data = record.run, record.run["dataset"]
            about = {
                "diverged": bool(record.diverged),
                "epochs": (run["config"].get("recipe") or {}).get("epochs"),
                "seconds": run.get("seconds"),
                "commit": (run.get("code") or {}).get("commit"),
                "data": data["name"],
                "fingerprint": data["fingerprint"],
                "id": record.id,
            }
            asked = {key: getattr(condition, key) for key in (*SETTING, "seed")}
            rows.append({"study": self.study.name, **asked, **record.metrics, **about})
        return pd.DataFrame(rows)

    def history(self, record) -> dict[str, np.ndarray]:
        """A record's columns per epoch as float arrays; read from disk once."""
        if record.id not in self._histories:
            columns = record.history()
            self._histories[record.id] = {k: np.asarray(v, dtype=float) for k, v in columns.items()}
        return self._histories[record.id]

    @cached_property
    def convex(self) -> bool:
        """Whether λ is 1 - α throughout, as a study with a convex loss has it."""
        weights = {(one.alpha, one.lam) for one in self.conditions if one.alpha is not None and one.lam is not None}
        rest = all(math.isclose(lam, 1 - alpha, abs_tol=1e-9) for alpha, lam in weights)
        return bool(weights) and rest and self.study.loss.startswith("convex")

    @cached_property
    def has_methods(self) -> bool:
        """Whether something was distilled otherwise than by softened logits alone; then a setting says its method."""
        return any(condition.method for condition in self.conditions)

    @cached_property
    def missing(self) -> int:
        """How many runs of the study have no record."""
        return len({condition.id for condition in self.conditions} - set(self.records))

    @cached_property
    def used(self) -> list[Any]:
        """The records the conditions point to, each once, in the study's order."""
        return [self.records[i] for i in dict.fromkeys(one.id for one in self.conditions) if i in self.records]


def best_by_validation(results: Results, settings: list[dict]) -> dict | None:
    """The setting with the highest mean validation accuracy, so that the test accuracy shown for it stays honest.

    A setting of which a seed diverged competes only when all have such a seed: the mean of the survivors flatters
    it. On a tie the first in the study's order; None when none converged.
    """
    found = by_validation(results, settings, sound=True) or by_validation(results, settings)
    return max(found, key=lambda pair: pair[1], default=(None, None))[0]


def by_validation(results: Results, settings: list[dict], sound: bool = False) -> list[tuple[dict, float]]:
    """Settings that converged (``sound``: with every seed), each with its mean validation accuracy over the seeds that
    all of them have: a lucky seed by itself would outdo the mean of several."""
    cells = [(where, results.cell(where, "val_accuracy")) for where in settings]
    cells = [(where, cell) for where, cell in cells if cell.mean is not None and not (sound and cell.diverged)]
    shared = set.intersection(*(set(cell.by_seed) for _, cell in cells)) if cells else set()
    return [
        (where, math.fsum(cell.by_seed[seed] for seed in shared) / len(shared) if shared else cell.mean)
        for where, cell in cells
    ]


SETTING = (
    *("role", "model", "recipe", "T", "alpha", "lam", "variant"),
    *("criterion", "ratio", "macs", "protect_se", "method"),
)


def setting(condition: Condition) -> tuple:
    """The values of `SETTING`: all of a condition but its seed and its run."""
    return tuple(getattr(condition, key) for key in SETTING)
