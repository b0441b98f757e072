"""The two-class models of a clinical study with their test predictions, gathered from its records once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from kdlib.errors import UserError
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.choice import best_by_validation
from kdlib.reporting.core.i18n import say, text
from kdlib.reporting.core.names import each_recipe, students
from kdlib.reporting.core.results import Estimate, estimate
from kdlib.reporting.radiology.metrics import Scores, percentiles, scores
from kdlib.reporting.radiology.text import BOOK

ROLES = ("teacher", "baseline", "student")
_gathered: WeakKeyDictionary = WeakKeyDictionary()


@dataclass(frozen=True)
class Case:
    """What one student is about: the settings of its teacher, of it alone and of it with its teacher, as far as run."""

    recipe: str
    model: str
    wheres: dict[str, dict]


def cases(results, filters: dict[str, str]) -> list[Case]:
    """One case for each recipe and student; of several distilled settings the one that validation chooses."""
    out = []
    for recipe in each_recipe(results, filters):
        for model in students(results, {**filters, "recipe": recipe}):
            here = {"model": model, "recipe": recipe}
            teachers = results.settings(role="teacher", recipe=recipe) or results.settings(role="teacher")
            best = best_by_validation(results, results.settings(role="student", **here))
            found = (teachers, results.settings(role="baseline", **here), [best] if best else [])
            out.append(Case(recipe, model, {role: w[0] for role, w in zip(ROLES, found, strict=True) if w}))
    return out


def about(results, case: Case, lang: str) -> str:
    """What tells a case from the study's others, in parentheses; empty where there is one."""
    several = {
        case.model: len({c.model for c in cases(results, {})}) > 1,
        case.recipe: len(names.recipes(results)) > 1,
    }
    parts = [names.label(results.study, key, lang) for key, many in several.items() if many]
    return f" ({', '.join(parts)})" if parts else ""


def role(where: dict, lang: str) -> str:
    """`Teacher`, `Student alone` or `Student with teacher`."""
    called = BOOK[where["role"]]
    return say(called, lang)


@dataclass(frozen=True, eq=False)
class Model:
    """One setting: its converged runs' scores by seed, and how many of its runs diverged or lack predictions."""

    where: dict
    by_seed: dict[int, Scores]
    diverged: int = 0
    unread: int = 0

    def estimate(self, metric: str) -> Estimate:
        """Mean and spread of a metric over the seeds (fractions)."""
        found = [of.point[metric] for of in self.by_seed.values()]
        return estimate(value for value in found if value is not None)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95 % bootstrap interval over patients of the metric's mean over the seeds."""
        if not self.by_seed:
            return None
        return percentiles(np.mean([of.draws[metric] for of in self.by_seed.values()], axis=0))


@dataclass(frozen=True)
class Paired:
    """A metric of one model minus that of another on the same test images, as fractions.

    ``patients``: bootstrap interval of the mean over the pairs; ``seeds``: their mean with its t-interval.
    """

    seeds: Estimate
    patients: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """`up` or `down` where every interval there is lies on one side of zero, else `open`."""
        found = [interval for interval in (self.patients, self.seeds.interval) if interval]
        if found and all(low > 0 for low, _ in found):
            return "up"
        return "down" if found and all(high < 0 for _, high in found) else "open"


def paired(first: Model, second: Model, metric: str) -> Paired | None:
    """Compare two models seed by seed; a model with one run is set against every seed of the other.

    None where no run of the one was tested on the same images as a run of the other.
    """
    pairs = []
    for seed in sorted({*first.by_seed, *second.by_seed}):
        one, other = (_of_seed(model, seed) for model in (first, second))
        if one and other and _same_images(one, other) and None not in (one.point[metric], other.point[metric]):
            pairs.append((one, other))
    if not pairs:
        return None
    draws = np.mean([one.draws[metric] - other.draws[metric] for one, other in pairs], axis=0)
    return Paired(estimate(one.point[metric] - other.point[metric] for one, other in pairs), percentiles(draws))


def _of_seed(model: Model, seed: int) -> Scores | None:
    only = next(iter(model.by_seed.values())) if len(model.by_seed) == 1 else None
    return model.by_seed.get(seed, only)


def _same_images(one: Scores, other: Scores) -> bool:
    same_labels = np.array_equal(one.positive, other.positive)
    if one.groups is None or other.groups is None:
        return same_labels and one.groups is other.groups
    return same_labels and np.array_equal(one.groups, other.groups)


@dataclass(frozen=True, eq=False)
class Clinic:
    """A clinical study's models, its classes, and which of them is the finding.

    ``named`` is False where the data lack the class that the study names, and the last one stands in. With other than
    two classes there are no models.
    """

    study: object
    classes: list[str]
    positive: int
    named: bool = True
    models: list[Model] = field(default_factory=list)

    @property
    def binary(self) -> bool:
        """Whether the data have two classes."""
        return len(self.classes) == 2

    @cached_property
    def first(self) -> Scores | None:
        """The scores of any run: they tell the test images and patients."""
        return next((of for model in self.models for of in model.by_seed.values()), None)

    @property
    def patients(self) -> int | None:
        """How many patients the test part has; None where it does not say."""
        return None if self.first is None or self.first.groups is None else len(np.unique(self.first.groups))

    @property
    def several(self) -> bool:
        """Whether any model was trained with more than one seed."""
        return any(len(model.by_seed) > 1 for model in self.models)

    def model(self, where: dict) -> Model | None:
        """The model of a setting; None where none of its runs can be read."""
        return next((model for model in self.models if model.where == where and model.by_seed), None)

    def class_name(self, k: int, lang: str) -> str:
        """What a text calls class k."""
        name, said = self.classes[k], self.study.clinical.positive_label
        if said and self.named and k == self.positive and name not in self.study.labels:
            return text(said, lang)
        return names.label(self.study, name, lang)


def units(clinic: Clinic, lang: str) -> str:
    """What the bootstrap draws: so many patients, or images where the data name no patients."""
    if clinic.patients is None:
        return say("the {images} test images", lang, images=numbers.integer(len(clinic.first.positive), lang))
    return say("the {patients} test patients", lang, patients=numbers.integer(clinic.patients, lang))


def gather(results) -> Clinic | None:
    """Return the study's models, or None where the study is no clinical one or has no run yet; read once."""
    if getattr(results.study, "clinical", None) is None:
        return None
    if results not in _gathered:
        _gathered[results] = _gather(results)
    return _gathered[results]


def _gather(results) -> Clinic | None:
    found = [record for where in ROLES for _, record in results.select(role=where)]
    if not found:
        return None
    classes = [str(name) for name in found[0].run["dataset"]["classes"]]
    positive = _index(results.study.clinical.positive, classes)
    clinic = Clinic(results.study, classes, len(classes) - 1 if positive is None else positive, positive is not None)
    if clinic.binary:
        wheres = [where for one in ROLES for where in results.settings(role=one)]
        clinic.models.extend(_model(results, where, clinic.positive) for where in wheres)
    return clinic


def _index(asked: int | str, classes: list[str]) -> int | None:
    if isinstance(asked, int):
        return asked if 0 <= asked < len(classes) else None
    folded = [name.casefold() for name in classes]
    return folded.index(asked.casefold()) if asked.casefold() in folded else None


def _model(results, where: dict, positive: int) -> Model:
    by_seed, seen, diverged, unread = {}, set(), 0, 0
    for condition, record in results.select(**where):
        if record.id in seen:
            continue
        seen.add(record.id)
        if record.diverged:
            diverged += 1
        elif (found := _scores(record, positive)) is None:
            unread += 1
        else:
            by_seed[condition.seed] = found
    return Model(where, by_seed, diverged, unread)


def _scores(record, positive: int) -> Scores | None:
    try:
        logits, labels = record.predictions()
        return scores(logits, labels, positive, record.groups())
    except (UserError, FileNotFoundError):
        return None  # published without its logits
