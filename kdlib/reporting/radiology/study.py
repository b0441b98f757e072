"""A radiology study as its tables, figures and findings see it: a teacher, its student alone, and with its teacher."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from kdlib.errors import UserError
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import Difference, over_seeds, percentiles, resampled
from kdlib.reporting.core.i18n import N_, say, text
from kdlib.reporting.core.results import Estimate, Results, best_by_validation, estimate
from kdlib.reporting.radiology.metrics import Scores, scores

ROLES = {"teacher": N_("Teacher"), "baseline": N_("Student alone"), "student": N_("Student with teacher")}


class Model:
    """One setting: its runs, and how they score on the test part. ``diverged`` counts those that enter no number."""

    def __init__(self, study: RadiologyStudy, where: dict):
        self.study, self.where, self.role = study, where, where["role"]
        runs = {record.id: (condition.seed, record) for condition, record in study.results.select(**where)}
        self.converged = {seed: record for seed, record in runs.values() if not record.diverged}
        self.diverged = len(runs) - len(self.converged)

    @cached_property
    def by_seed(self) -> dict[int, Scores]:
        """seed -> test scores of the converged runs, but of those published without their logits."""
        found = {seed: _scores(record, self.study.positive) for seed, record in self.converged.items()}
        return {seed: of for seed, of in found.items() if of}

    @property
    def unread(self) -> int:
        """How many converged runs have no logits on record."""
        return len(self.converged) - len(self.by_seed)

    @property
    def histories(self) -> list[dict[str, np.ndarray]]:
        """The converged runs' columns per epoch."""
        found = [self.study.results.history(record) for record in self.converged.values()]
        return [history for history in found if len(history.get("epoch", ()))]

    def called(self, lang: str) -> str:
        """`Teacher`, `Student alone` or `Student with teacher`."""
        return say(ROLES[self.role], lang)

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
class Case:
    """What one student is about: by role its teacher, it alone and it with its teacher, as far as run."""

    recipe: str
    model: str
    models: dict[str, Model]

    @property
    def scored(self) -> list[Model]:
        """The models that have test scores."""
        return [model for model in self.models.values() if model.by_seed]


class RadiologyStudy:
    """The settings of a radiology study with their test scores, its classes, and which of them is the finding."""

    def __init__(self, results: Results):
        self.results, self.study = results, results.study

    @cached_property
    def dataset(self) -> dict:
        """What the first record says of its data."""
        return next(record for role in ROLES for _, record in self.results.select(role=role)).run["dataset"]

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, in the dataset's order."""
        return [str(name) for name in self.dataset["classes"]]

    @cached_property
    def _asked(self) -> int | None:
        asked, folded = self.study.clinical.positive, [name.casefold() for name in self.classes]
        if isinstance(asked, int):
            return asked if 0 <= asked < len(folded) else None
        return folded.index(asked.casefold()) if asked.casefold() in folded else None

    @property
    def named(self) -> bool:
        """Whether the data have the class that the study names; else the last stands in for it."""
        return self._asked is not None

    @property
    def positive(self) -> int:
        """The index of the class that is the finding."""
        return self._asked if self.named else len(self.classes) - 1

    @cached_property
    def models(self) -> list[Model]:
        """Every setting, teachers first."""
        return [Model(self, where) for role in ROLES for where in self.results.settings(role=role)]

    @cached_property
    def cases(self) -> list[Case]:
        """One case for each recipe and student; of several distilled settings the one that validation chooses."""
        results, out = self.results, []
        for here in names.trained(results, {}):
            teachers = results.settings(role="teacher", recipe=here["recipe"]) or results.settings(role="teacher")
            best = best_by_validation(results, results.settings(role="student", **here))
            wheres = [*teachers[:1], *results.settings(role="baseline", **here)[:1], best]
            out.append(Case(**here, models={one.role: one for one in self.models if one.where in wheres}))
        return out

    @cached_property
    def first(self) -> Scores | None:
        """The scores of any run: they tell the test images and patients. None where the data have not two classes."""
        if len(self.classes) != 2:
            return None
        return next((of for model in self.models for of in model.by_seed.values()), None)

    @property
    def patients(self) -> int | None:
        """How many patients the test part has; None where it does not say."""
        return None if self.first is None or self.first.groups is None else len(np.unique(self.first.groups))

    @property
    def several(self) -> bool:
        """Whether any model was trained with more than one seed."""
        return any(len(model.by_seed) > 1 for model in self.models)

    def about(self, case: Case, lang: str) -> str:
        """What tells a case from the study's others, in parentheses; empty where there is one."""
        several = {
            case.model: len({one.model for one in self.cases}) > 1,
            case.recipe: len(names.recipes(self.results)) > 1,
        }
        parts = [names.label(self.study, key, lang) for key, many in several.items() if many]
        return f" ({', '.join(parts)})" if parts else ""

    def class_name(self, k: int, lang: str) -> str:
        """What a text calls class k."""
        name, said = self.classes[k], self.study.clinical.positive_label
        if said and self.named and k == self.positive and name not in self.study.labels:
            return text(said, lang)
        return names.label(self.study, name, lang)

    def units(self, lang: str) -> str:
        """What the bootstrap draws: so many patients, or images where the data name no patients."""
        if self.patients is None:
            return say("the {images} test images", lang, images=numbers.integer(len(self.first.positive), lang))
        return say("the {patients} test patients", lang, patients=numbers.integer(self.patients, lang))


def read(results: Results) -> RadiologyStudy | None:
    """A radiology study's runs, scored once; None for a study of another kind, or one without a run."""
    if getattr(results.study, "clinical", None) is None or not results.select(role=list(ROLES)):
        return None
    return _kept(results)


_kept = lru_cache(maxsize=8)(RadiologyStudy)


def paired(first: Model, second: Model, metric: str) -> tuple[Difference, Difference] | None:
    """A metric of one model minus that of another, as fractions: over patients (else images), and over seeds.

    Seed by seed; a model with one run is set against every seed of the other. None where no run of the one was tested
    on the same images as a run of the other.
    """
    pairs = []
    for seed in sorted({*first.by_seed, *second.by_seed}):
        one, other = (_of_seed(model, seed) for model in (first, second))
        if one and other and _same_images(one, other) and None not in (one.point[metric], other.point[metric]):
            pairs.append((one, other))
    if not pairs:
        return None
    seeds = over_seeds(one.point[metric] - other.point[metric] for one, other in pairs)
    draws = np.mean([one.draws[metric] - other.draws[metric] for one, other in pairs], axis=0)
    images, groups = len(pairs[0][0].positive), pairs[0][0].groups
    over, n = ("images", images) if groups is None else ("patients", len(np.unique(groups)))
    return resampled(seeds.mean, draws, over, n), seeds


def _of_seed(model: Model, seed: int) -> Scores | None:
    only = next(iter(model.by_seed.values())) if len(model.by_seed) == 1 else None
    return model.by_seed.get(seed, only)


def _same_images(one: Scores, other: Scores) -> bool:
    """Whether two runs were tested on the same labels of the same patients, or of none both."""
    return np.array_equal(one.positive, other.positive) and np.array_equal(one.groups, other.groups)


def _scores(record, positive: int) -> Scores | None:
    try:
        logits, labels = record.predictions()
        return scores(logits, labels, positive, record.groups())
    except (UserError, FileNotFoundError):
        return None  # published without its logits
