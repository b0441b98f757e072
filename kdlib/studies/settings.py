"""A study with its profile and the caller's parameters applied, checked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from kdlib import data, losses, models, pruning, training
from kdlib.errors import UserError, did_you_mean
from kdlib.progress import note
from kdlib.studies import pruning_schema, schema
from kdlib.studies.parameters import Parameters
from kdlib.studies.run import Weights


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
    variants: dict[str, schema.Variant]
    weights: Weights | str | None
    source: schema.DataSpec | None
    source_recipe: training.Recipe | None
    source_seed: int | None
    input_size: int | None = None
    pruning: schema.Pruning | None = None
    taps: list[str] | None = None

    def losses_of(self, point: schema.Point) -> Iterator[losses.Loss]:
        """Yield the losses of a point; the caller's taps are for those that look at features.

        Raises ``UserError`` for an unknown loss, and for a temperature or weights that do not fit it.
        """
        for T, alpha, lam in point.settings():
            loss = losses.preset(point.loss or self.loss, T, alpha, lam, layers=_tuple(point.layers))
            yield replace(loss, layers=tuple(self.taps)) if self.taps and loss.needs_features else loss

    def load_data(self, parameters: Parameters) -> data.Dataset:
        """Load the images the settings name; raises ``UserError`` for what is not there or not usable."""
        return _load(self.data, parameters.data_root, parameters.download)

    def load_source(self, parameters: Parameters) -> data.Dataset | None:
        """Load the source task's images; None where no model starts from a source task."""
        if self.source is None:
            return None
        return _load(self.source, parameters.source_root or parameters.data_root, parameters.download)


def _load(spec: schema.DataSpec, root: str | None, download: bool) -> data.Dataset:
    options = spec.model_dump()
    return data.load(options.pop("name"), data_root=root, download=download, **options)


def settle(parameters: Parameters) -> Settings:
    """Apply profile and parameters to the study; raises ``UserError`` for names and values that do not fit."""
    study = schema.load(parameters.study)
    check_applies(study, parameters)
    study = _with_models(study, parameters)
    if parameters.profile not in study.profiles:
        known = ", ".join(study.profiles)
        raise UserError(f"study {study.name} has no profile {parameters.profile!r}; it has {known}")
    profile = study.profiles[parameters.profile]
    columns = parameters.columns or profile.columns or list(study.recipes)
    for name in columns:
        if name not in study.recipes:
            raise UserError(f"study {study.name} has no column {name!r}; {did_you_mean(name, study.recipes)}")
    # How the labels count is a matter of the data: it holds for the teacher as well.
    labels = _given(parameters, "class_weights", "label_smoothing")
    asked = labels | _given(parameters, "epochs", "batch_size", "lr")
    teacher_asked = {"epochs": parameters.teacher_epochs} if parameters.teacher_epochs else {}
    teacher_recipe = None
    if profile.teacher_recipe:
        teacher_recipe = recipe({**profile.teacher_recipe, **labels, **teacher_asked})
    elif teacher_asked:
        raise UserError(f"profile {parameters.profile} trains the teacher by the columns' recipe; set epochs instead")
    teacher = parameters.teacher or profile.teacher or study.teacher
    students = parameters.students or profile.students or study.students
    if study.kind == "compression" and len(students) > 1:
        raise UserError(f"study {study.name} makes one small network; name one student, not {len(students)}")
    asked_pruning = None
    if study.pruning:
        asked_pruning = pruning_schema.applied(study.pruning, profile.pruning, parameters.model_dump())
        if study.kind == "compression":  # what is pruned is what this call makes
            asked_pruning = asked_pruning.model_copy(update={"model": students[0] if students else teacher})
        for criterion in asked_pruning.criteria:
            pruning.Spec(criterion, ratio=asked_pruning.ratio, macs=None if asked_pruning.ratio else 0.5)
    settings = Settings(
        study=study,
        data=_data(profile.data, parameters),
        teacher=teacher,
        students=students,
        recipes={name: recipe({**study.recipes[name], **profile.recipe, **asked}) for name in columns},
        teacher_recipe=teacher_recipe,
        teacher_seed=profile.teacher_seed,
        points=_points(profile.points or study.points, study, parameters),
        loss=parameters.loss or study.loss,
        seeds=parameters.seeds if parameters.seeds is not None else profile.seeds,
        precision=parameters.precision or profile.precision,
        **starting(study, profile, parameters),
        input_size=parameters.input_size or profile.input_size,
        pruning=asked_pruning,
        taps=parameters.taps,
    )
    named = (settings.teacher, *settings.students, asked_pruning.model if asked_pruning else "")
    for model in filter(None, named):
        models.check(model)
    asked_losses = [loss for point in settings.points for loss in settings.losses_of(point)]
    if settings.taps and not any(loss.needs_features for loss in asked_losses):
        raise UserError("parameter taps does nothing: no loss here looks at features; say loss=sp, at or another")
    return settings


def _with_models(study: schema.Study, parameters: Parameters) -> schema.Study:
    """Return the study with the caller's models in the place of its own, where those start from weights.

    Which module is the head, and so begins anew, is looked up; of the choices of open layers only those by meaning
    hold for another model: the head, all of it, and from scratch.
    """
    model = parameters.model
    if study.transfer and model and model != study.transfer.model:
        models.check(model)
        head, kept = models.head_of(model), {}
        for name, variant in study.transfer.variants.items():
            if variant.open is None or variant.open == [study.transfer.head]:
                kept[name] = variant.model_copy(update={"open": variant.open and [head]})
        transfer = study.transfer.model_copy(update={"model": model, "head": head, "variants": kept})
        return study.model_copy(update={"transfer": transfer})
    if study.pruning and model and model != study.pruning.model:
        models.check(model)
        return study.model_copy(update={"pruning": study.pruning.model_copy(update={"head": models.head_of(model)})})
    if study.starts:
        own = next(iter(study.starts.values()))
        starts = dict(study.starts)
        for model in filter(None, (parameters.teacher, *(parameters.students or []))):
            if model not in starts:
                models.check(model)
                head = models.head_of(model)
                starts[model] = schema.Start(head=head, open=own.open and [head])
        return study.model_copy(update={"starts": starts})
    return study


def starting(study: schema.Study, profile: schema.Profile, parameters: Parameters) -> dict[str, Any]:
    """Settle where models start from and which layers stay open; all empty for a study that trains from scratch."""
    found = {"variants": {}, "weights": None, "source": None, "source_recipe": None, "source_seed": None}
    if not (study.transfer or study.starts or study.pruning):
        return {**found, "weights": _teachers_weights(study, parameters)}
    if study.transfer:
        found["variants"] = _variants(study.transfer, parameters.open_layers)
    asked = parameters.weights or profile.weights
    if asked == "scratch" and study.pruning:
        return found
    if asked == "source" and study.pruning:
        raise UserError(f"study {study.name} has no source task; say weights=scratch, imagenet, or a checkpoint's path")
    if asked not in ("imagenet", "source"):
        return {**found, "weights": Weights(f"file {models.digest(asked)}", asked)}
    if asked == "source":
        task = profile.source
        if task is None:
            raise UserError(f"profile {parameters.profile} of {study.name} has no source task; say weights=imagenet")
        epochs = {"epochs": parameters.source_epochs} if parameters.source_epochs else {}
        found |= {"source": task.data, "source_recipe": recipe({**task.recipe, **epochs}), "source_seed": task.seed}
    elif parameters.source_epochs:
        raise UserError("source_epochs belongs to weights=source; ImageNet weights are trained already")
    return {**found, "weights": asked}


def _teachers_weights(study: schema.Study, parameters: Parameters) -> Weights | None:
    """The checkpoint of a trained teacher, which is taken as it is."""
    path = parameters.weights
    if path is None:
        return None
    if path in ("imagenet", "source", "scratch"):
        raise UserError(f"weights of study {study.name} is the file of a trained teacher's weights, got {path!r}")
    if parameters.teacher_epochs:
        raise UserError("teacher_epochs trains a teacher; the one of weights is taken as it is: leave one of them out")
    return Weights(f"file {models.digest(path)}", path)


def _variants(transfer: schema.Transfer, asked: list[str] | None) -> dict[str, schema.Variant]:
    """The study's choices of open layers, or the asked ones: a choice's name, or modules such as layer3+fc."""
    if asked is None:
        return transfer.variants
    found = {}
    for name in asked:
        known = transfer.variants.get(name)
        # What is asked for by name is trained in every column.
        found[name] = (
            known.model_copy(update={"columns": None}) if known else schema.Variant(label=name, open=name.split("+"))
        )
    return found


_DISTILLATION = ("teacher", "students", "T", "alpha", "lam", "loss", "taps", "teacher_epochs")
_SOURCE = ("source_epochs", "source_root")


def idle_parameters(study: schema.Study) -> dict[str, str]:
    """Return the parameters that do nothing in a study, and why."""
    idle = {name: "it distils nothing" for name in _DISTILLATION} if study.transfer else {}
    if not study.transfer:
        idle["open_layers"] = "which of its layers are open is fixed"
    if study.pruning:
        if study.kind == "compression":
            idle["model"] = "say teacher, and students for another network than the teacher's"
            idle |= {name: "it prunes to a share of the teacher's MACs; say macs" for name in ("ratio",)}
        else:
            idle |= {name: "say model, the network that is pruned" for name in ("teacher", "students")}
            idle["max_drop"] = "its cuts are the report's"
        idle |= {name: "it has one column" for name in ("columns",)}
        return idle | {name: "it has no source task" for name in _SOURCE}
    idle |= {name: "it prunes nothing" for name in pruning_schema.PARAMETERS if name != "model" or not study.transfer}
    if not (study.transfer or study.starts):
        idle |= {name: "its models start from no weights" for name in _SOURCE}
    return idle


def check_applies(study: schema.Study, parameters: Parameters) -> None:
    """Raise ``UserError`` for a parameter that does nothing in this study."""
    for name, why in idle_parameters(study).items():
        # A folder that is not needed does no harm: a call of several studies names it once for all.
        if name != "source_root" and getattr(parameters, name) is not None:
            raise UserError(f"parameter {name} does nothing in study {study.name}: {why}; leave it out")


def recipe(values: dict[str, Any]) -> training.Recipe:
    """Build a recipe from a YAML mapping; raises ``UserError`` for a key that is none."""
    values = dict(values)
    augmentation = values.pop("augmentation", {})
    for cls, given in ((training.Recipe, values), (data.Augmentation, augmentation)):
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise UserError(f"unknown recipe entry {name!r}; {did_you_mean(name, cls.__dataclass_fields__)}")
    return training.Recipe(**values, augmentation=data.Augmentation(**augmentation))


def _given(parameters: Parameters, *names: str) -> dict[str, Any]:
    """What was set of these."""
    values = {name: getattr(parameters, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _data(spec: schema.DataSpec, parameters: Parameters) -> schema.DataSpec:
    # Of a folder all images are used: how many a profile takes and holds out is said of its own data set.
    if parameters.dataset == "folder" != spec.name:
        spec = schema.DataSpec(name="folder", image_size=spec.image_size)
    asked = {"name": parameters.dataset} if parameters.dataset else {}
    names = ("image_size", "train_size", "test_size", "grayscale", "resize", "background", "groups", "val_fraction")
    return spec.model_copy(update=asked | _given(parameters, *names))


def fitted(settings: Settings, images: int, parameters: Parameters) -> Settings:
    """Return the settings with smaller batches where a folder has fewer training images than a batch is to have.

    images: those in training. Batches are then of a quarter of them, a power of two, at least two images. A batch
    size that was asked for stays.
    """
    if settings.data.name != "folder":
        return settings

    def fit(recipe_: training.Recipe | None) -> training.Recipe | None:
        if recipe_ is None or recipe_.batch_size <= images:
            return recipe_
        size = max(2, 2 ** ((images // 4) or 1).bit_length() // 2)
        note(f"there are {images} training images: batches are of {size}, not of {recipe_.batch_size}")
        return replace(recipe_, batch_size=size)

    recipes = settings.recipes
    if parameters.batch_size is None:
        recipes = {name: fit(recipe_) for name, recipe_ in recipes.items()}
    return replace(settings, recipes=recipes, teacher_recipe=fit(settings.teacher_recipe))


def _points(points: list[schema.Point], study: schema.Study, parameters: Parameters) -> list[schema.Point]:
    """Put the caller's loss, T, alpha and lam in the place of those of the points.

    A loss that some points of the profile have, or else of the study, keeps these alone. Any other takes the place of
    every point's; points that were without a temperature then stand aside for those with one, as the loss may need it.
    """
    if parameters.loss:
        lists = (points, study.points)
        found = ([point for point in some if (point.loss or study.loss) == parameters.loss] for some in lists)
        own = next(filter(None, found), None)
        warm = [point for point in points if point.T is not None] or points
        points = own or [point.model_copy(update={"loss": None, "layers": None}) for point in warm]
    asked = {key: getattr(parameters, key) for key in ("T", "alpha", "lam")}
    update = {key: value for key, value in asked.items() if value is not None}
    # Other students mean every point applies to all of them.
    if parameters.students:
        update["students"] = None
    if "alpha" in update and "lam" not in update:
        update["lam"] = None
    return [point.model_copy(update=update) for point in points]


def _tuple(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
