"""From a study and parameters to the runs it takes, each with the id of what was asked for."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from kdlib import data, losses, models, training
from kdlib.errors import UserError, did_you_mean
from kdlib.profiling import forward_macs
from kdlib.studies import schema
from kdlib.studies.parameters import Parameters
from kdlib.studies.records import Arm


@dataclass(frozen=True)
class Run:
    """One training run: everything that decides its result, and nothing else."""

    model: str
    recipe: training.Recipe
    seed: int
    precision: str
    dataset: data.Dataset = field(repr=False)
    loss: losses.ResponseLoss | None = None
    teacher: "Run | None" = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was asked for, as it stands in the record."""
        return {
            "model": self.model,
            "num_classes": self.dataset.num_classes,
            "dataset": {"name": self.dataset.name, "fingerprint": self.dataset.fingerprint},
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "precision": self.precision,
            "loss": asdict(self.loss) if self.loss else None,
            "teacher": self.teacher.id if self.teacher else None,
        }

    @cached_property
    def id(self) -> str:
        """Hash of what was asked for, whatever the dataset is called, wherever and whenever it runs."""
        asked = {**self.config, "dataset": self.dataset.fingerprint}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def build(self):
        """Return the model, freshly initialised."""
        return models.build(self.model, self.dataset.num_classes, self.dataset.shape[0])

    def train_flops(self) -> int:
        """Return the arithmetic of the model's own training: 2 FLOPs a MAC, backward twice a forward."""
        return 6 * _macs(self) * self.recipe.epochs * len(self.dataset.train)

    def guidance_flops(self) -> int:
        """Return the arithmetic of the teacher's forward passes, which a group in lockstep shares."""
        if self.teacher is None:
            return 0
        passes = self.recipe.epochs if self.recipe.augmentation.active else 1
        return 2 * _macs(self.teacher) * passes * len(self.dataset.train)


_counted: dict[tuple, int] = {}


def _macs(run: Run) -> int:
    key = (run.model, run.dataset.shape, run.dataset.num_classes)
    if key not in _counted:
        _counted[key] = forward_macs(run.build(), run.dataset.shape)
    return _counted[key]


@dataclass(frozen=True)
class Plan:
    """The arms of a study and the runs behind them, teachers first."""

    arms: list[Arm]
    runs: dict[str, Run]


@dataclass(frozen=True)
class Settings:
    """A study with its profile and the caller's parameters applied."""

    study: schema.Study
    data: schema.DataSpec
    teacher: str
    students: list[str]
    recipes: dict[str, training.Recipe]
    teacher_recipe: training.Recipe | None
    teacher_seed: int | None
    points: list[schema.Point]
    loss: str
    seeds: list[int]
    precision: str

    def load_data(self, parameters: Parameters) -> data.Dataset:
        """Load the images the settings name; raises ``UserError`` for what is not there or not usable."""
        options = self.data.model_dump()
        return data.load(options.pop("name"), data_root=parameters.data_root, download=parameters.download, **options)


def settle(parameters: Parameters) -> Settings:
    """Apply profile and parameters to the study; raises ``UserError`` for names and values that do not fit."""
    study = schema.load(parameters.study)
    if parameters.profile not in study.profiles:
        known = ", ".join(study.profiles)
        raise UserError(f"study {study.name} has no profile {parameters.profile!r}; it has {known}")
    profile = study.profiles[parameters.profile]
    columns = parameters.columns or profile.columns or list(study.recipes)
    for name in columns:
        if name not in study.recipes:
            raise UserError(f"study {study.name} has no column {name!r}; {did_you_mean(name, study.recipes)}")
    asked = {key: getattr(parameters, key) for key in ("epochs", "batch_size", "lr")}
    asked = {key: value for key, value in asked.items() if value is not None}
    teacher_asked = {"epochs": parameters.teacher_epochs} if parameters.teacher_epochs else {}
    teacher_recipe = None
    if profile.teacher_recipe:
        teacher_recipe = recipe({**profile.teacher_recipe, **teacher_asked})
    elif teacher_asked:
        raise UserError(f"profile {parameters.profile} trains the teacher by the columns' recipe; set epochs instead")
    settings = Settings(
        study=study,
        data=_data(profile.data, parameters),
        teacher=parameters.teacher or study.teacher,
        students=parameters.students or profile.students or study.students,
        recipes={name: recipe({**study.recipes[name], **profile.recipe, **asked}) for name in columns},
        teacher_recipe=teacher_recipe,
        teacher_seed=profile.teacher_seed,
        points=_points(profile.points or study.points, parameters),
        loss=parameters.loss or study.loss,
        seeds=parameters.seeds if parameters.seeds is not None else profile.seeds,
        precision=parameters.precision or profile.precision,
    )
    for model in (settings.teacher, *settings.students):
        models.check(model)
    for point in settings.points:
        for T, alpha, lam in point.settings():
            losses.preset(settings.loss, T, alpha, lam)
    return settings


def recipe(values: dict[str, Any]) -> training.Recipe:
    """Build a recipe from a YAML mapping; raises ``UserError`` for a key that is none."""
    values = dict(values)
    augmentation = values.pop("augmentation", {})
    for cls, given in ((training.Recipe, values), (data.Augmentation, augmentation)):
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise UserError(f"unknown recipe entry {name!r}; {did_you_mean(name, cls.__dataclass_fields__)}")
    return training.Recipe(**values, augmentation=data.Augmentation(**augmentation))


def _data(spec: schema.DataSpec, parameters: Parameters) -> schema.DataSpec:
    asked = {
        "name": parameters.dataset,
        **{key: getattr(parameters, key) for key in ("image_size", "train_size", "test_size")},
    }
    return spec.model_copy(update={key: value for key, value in asked.items() if value is not None})


def _points(points: list[schema.Point], parameters: Parameters) -> list[schema.Point]:
    """Put the caller's T, alpha and lam in the place of the study's."""
    asked = {key: getattr(parameters, key) for key in ("T", "alpha", "lam")}
    update = {key: value for key, value in asked.items() if value is not None}
    # Other students mean every point applies to all of them.
    if parameters.students:
        update["students"] = None
    if "alpha" in update and "lam" not in update:
        update["lam"] = None
    return [point.model_copy(update=update) for point in points]


def plan(settings: Settings, dataset: data.Dataset) -> Plan:
    """List what the settings compare: for each seed and column a teacher, baselines, and distilled students."""
    arms: list[Arm] = []
    runs: dict[str, Run] = {}
    for role, column, run in _comparisons(settings, dataset):
        loss = run.loss
        numbers = (loss.T, loss.alpha, loss.lam) if loss else (None, None, None)
        arm = Arm(role, run.model, column, run.seed, *numbers, run.id)
        if arm not in arms:
            arms.append(arm)
            runs.setdefault(run.id, run)
    return Plan(arms, runs)


def _comparisons(settings: Settings, dataset: data.Dataset) -> Iterator[tuple[str, str, Run]]:
    common = {"precision": settings.precision, "dataset": dataset}
    for seed in settings.seeds:
        for column, recipe_ in settings.recipes.items():
            teacher_seed = seed if settings.teacher_seed is None else settings.teacher_seed
            teacher = Run(settings.teacher, settings.teacher_recipe or recipe_, teacher_seed, **common)
            # One teacher for all columns is an arm of its own column.
            yield "teacher", "teacher" if settings.teacher_recipe else column, teacher
            for model in settings.students:
                yield "baseline", column, Run(model, recipe_, seed, **common)
            for point in settings.points:
                for model in settings.students:
                    if point.students and model not in point.students:
                        continue
                    for T, alpha, lam in point.settings():
                        loss = losses.preset(settings.loss, T, alpha, lam)
                        yield (
                            "student",
                            column,
                            Run(model, recipe_, seed, **common, loss=loss, teacher=teacher),
                        )
