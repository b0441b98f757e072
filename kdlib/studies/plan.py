"""From settings to the runs they take: what is compared, and what must be there first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from kdlib import data, models, pruning
from kdlib.studies.pruning_schema import Cut, Pruning
from kdlib.studies.records import Condition
from kdlib.studies.run import Run, Weights
from kdlib.studies.settings import Settings


@dataclass(frozen=True)
class Plan:
    """The conditions of a study and the runs behind them, teachers first."""

    conditions: list[Condition]
    runs: dict[str, Run]


def plan(settings: Settings, dataset: data.Dataset, source: data.Dataset | None = None) -> Plan:
    """List what the settings compare.

    Distillation: for each seed and column a teacher, baselines, and distilled students. Transfer: for each seed and
    column a model for each choice of open layers. Before them the runs of the source task, where there is one.
    Pruning: the unpruned model; for each seed and setting it pruned, and then fine-tuned. Settings that come to the
    same run (a loss without a temperature at several) are one condition. Raises ``UserError`` for a loss that is to
    look where a model has nothing to see, or that says nothing about so few classes.
    """
    conditions: list[Condition] = []
    runs: dict[str, Run] = {}
    study = settings.study
    compare = {
        "transfer": _transfers,
        "pruning": _prunings,
        "compression": _compressions,
        "distillation": _distillations,
    }[study.kind]
    for role, column, run, variant in compare(settings, dataset, source):
        told = (*_weights_of_loss(run), run.id, variant, *_pruning_of(run), run.method)
        condition = Condition(role, run.model, column, run.seed, *told)
        if condition not in conditions:
            conditions.append(condition)
            runs.setdefault(run.id, run)
    for run in runs.values():
        run.pairs()
        if run.loss:
            run.loss.check_classes(dataset.num_classes)
            run.loss.check_batch(run.recipe.batch_size)
    return Plan(conditions, runs)


def _weights_of_loss(run: Run) -> tuple[float | None, ...]:
    return (run.loss.T, run.loss.alpha, run.loss.lam) if run.loss else (None, None, None)


def _pruning_of(run: Run) -> tuple:
    spec = run.pruning
    return (spec.criterion, spec.ratio, spec.macs, spec.protect_se) if spec else (None, None, None, None)


Compared = Iterator[tuple[str, str, Run, str | None]]


def _transfers(settings: Settings, dataset: data.Dataset, source: data.Dataset | None) -> Compared:
    transfer = settings.study.transfer
    common = {"precision": settings.precision, "dataset": dataset, "input_size": settings.input_size}
    for seed in settings.seeds:
        weights = _weights_of(settings, transfer.model, seed, source)
        if isinstance(weights, Run):
            yield "source", "source", weights, None
        for column, recipe_ in settings.recipes.items():
            for name, variant in settings.variants.items():
                if variant.columns and column not in variant.columns:
                    continue
                begin = {"weights": weights, "head": transfer.head} if variant.weights else {}
                open_ = tuple(variant.open) if variant.open is not None else None
                yield "transfer", column, Run(transfer.model, recipe_, seed, **common, **begin, open=open_), name


def _prunings(settings: Settings, dataset: data.Dataset, source: data.Dataset | None) -> Compared:
    asked = settings.pruning
    common = {"precision": settings.precision, "dataset": dataset, "input_size": settings.input_size}
    (column, recipe_), *_ = settings.recipes.items()
    for i, seed in enumerate(settings.seeds):
        original = _original(settings, seed, common, asked.model)
        yield "original", "original", original, None
        for cut, spec in _specs(asked, seed):
            if cut.seeds is not None and i >= cut.seeds:
                continue
            pruned = Run(asked.model, None, seed, **common, weights=original, prune=spec)
            yield "pruned", column, pruned, None
            if "plain" in cut.train:
                yield "finetuned", column, Run(asked.model, recipe_, seed, **common, weights=pruned), None
            for point in settings.points if "distilled" in cut.train else ():
                for loss in settings.losses_of(point):
                    taught = {"loss": loss, "teacher": original}
                    yield "distilled", column, Run(asked.model, recipe_, seed, **common, weights=pruned, **taught), None


def _compressions(settings: Settings, dataset: data.Dataset, source: data.Dataset | None) -> Compared:
    """A teacher; a student alone and taught by it, where there is one; the last of them pruned to shares of the
    teacher's MACs, and each fine-tuned with the teacher.

    A share that the student has already is left out.
    """
    common = {"precision": settings.precision, "dataset": dataset, "input_size": settings.input_size}
    (column, recipe_), *_ = settings.recipes.items()
    (loss,) = settings.losses_of(settings.points[0])
    for seed in settings.seeds:
        teacher = whole = _original(settings, seed, common, settings.teacher)
        yield "teacher", "original", teacher, None
        for student in settings.students:
            begin = _begin(student) if settings.weights == "imagenet" else {}
            alone = Run(student, settings.teacher_recipe, seed, **common, **begin)
            yield "baseline", "original", alone, None
            whole = replace(alone, loss=loss, teacher=teacher)
            yield "student", "original", whole, None
        yield "original", "original", whole, None
        share = whole.macs() / teacher.macs()
        for _, spec in _specs(settings.pruning, seed):
            if spec.macs < share:
                cut = replace(spec, macs=round(spec.macs / share, 4))
                pruned = Run(whole.model, None, seed, **common, weights=whole, prune=cut)
                yield "pruned", column, pruned, None
                taught = {"weights": pruned, "loss": loss, "teacher": teacher}
                yield "distilled", column, Run(whole.model, recipe_, seed, **common, **taught), None


def _original(settings: Settings, seed: int, common: dict[str, Any], model: str) -> Run:
    """The model before pruning: trained here, or a checkpoint that is taken as it is."""
    seed = seed if settings.teacher_seed is None else settings.teacher_seed
    if isinstance(settings.weights, Weights):
        return Run(model, None, seed, **common, weights=settings.weights, role="teacher")
    begin = _begin(model) if settings.weights == "imagenet" else {}
    return Run(model, settings.teacher_recipe, seed, **common, **begin, role="teacher")


def _begin(model: str) -> dict[str, Any]:
    """ImageNet weights for all of a model but its head."""
    return {"weights": Weights(models.imagenet_name(model)), "head": models.head_of(model)}


def _specs(asked: Pruning, seed: int) -> Iterator[tuple[Cut, pruning.Spec]]:
    common = {
        **{key: getattr(asked, key) for key in ("scope", "steps", "round_to", "threshold", "norm", "normalise")},
        "calibration_batches": asked.calibration_batches,
        "batch_size": asked.calibration_batch_size,
        "keep": tuple(asked.keep),
        "seed": seed,
    }
    for cut in asked.cuts:
        targets = [{"ratio": ratio} for ratio in cut.ratio] + [{"macs": macs} for macs in cut.macs]
        for target in targets:
            for protect in cut.protect_se:
                for criterion in cut.criteria or asked.criteria:
                    yield cut, pruning.Spec(criterion, **target, protect_se=protect, **common)


def _weights_of(settings: Settings, model: str, seed: int, source: data.Dataset | None) -> Run | Weights:
    """What a model starts from: the run of the source task, ImageNet weights, or a checkpoint."""
    if settings.weights == "source":
        seed = seed if settings.source_seed is None else settings.source_seed
        common = {"precision": settings.precision, "dataset": source, "input_size": settings.input_size}
        return Run(model, settings.source_recipe, seed, **common, role="source")
    if settings.weights == "imagenet":
        return Weights(models.imagenet_name(model))
    return settings.weights


def _distillations(settings: Settings, dataset: data.Dataset, source: data.Dataset | None) -> Compared:
    common = {"precision": settings.precision, "dataset": dataset, "input_size": settings.input_size}

    def start(model: str, seed: int) -> dict[str, Any]:
        begin = settings.study.starts.get(model)
        if begin is None:
            return {}
        open_ = tuple(begin.open) if begin.open is not None else None
        return {"weights": _weights_of(settings, model, seed, source), "head": begin.head, "open": open_}

    for seed in settings.seeds:
        for model in dict.fromkeys((settings.teacher, *settings.students)):
            if isinstance(weights := start(model, seed).get("weights"), Run):
                yield "source", "source", weights, None
        for column, recipe_ in settings.recipes.items():
            teacher_seed = seed if settings.teacher_seed is None else settings.teacher_seed
            own = start(settings.teacher, teacher_seed)
            recipe_of_teacher = settings.teacher_recipe or recipe_
            given = isinstance(settings.weights, Weights) and not settings.study.starts
            if given:  # a trained teacher, taken as it is, whatever the seed
                recipe_of_teacher, teacher_seed, own = None, 0, {"weights": settings.weights}
            teacher = Run(settings.teacher, recipe_of_teacher, teacher_seed, **common, **own, role="teacher")
            # One teacher for all columns is a condition of its own column.
            yield "teacher", "teacher" if settings.teacher_recipe or given else column, teacher, None
            for model in settings.students:
                yield "baseline", column, Run(model, recipe_, seed, **common, **start(model, seed)), None
            for point in settings.points:
                for model in settings.students:
                    if point.students and model not in point.students:
                        continue
                    for loss in settings.losses_of(point):
                        taught = {"loss": loss, "teacher": teacher}
                        run = Run(model, recipe_, seed, **common, **start(model, seed), **taught)
                        yield "student", column, run, None
