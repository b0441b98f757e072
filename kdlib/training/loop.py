"""Training as it is asked for: one model or many, checked, built, and put into groups that fit into memory."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from kdlib.copies import check_not_lazy
from kdlib.data import Dataset, check_batch
from kdlib.errors import UserError
from kdlib.losses import stages
from kdlib.profiling import forward_macs
from kdlib.progress import Progress
from kdlib.training.callbacks import Callbacks, TrainingState
from kdlib.training.check import check_model, random_states, seed_draws
from kdlib.training.checkpoint import Checkpoints, Stop
from kdlib.training.device import PRECISIONS, available, choose, resolve_device
from kdlib.training.group import Course, Group, batches
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.learner import SMALL, Learner
from kdlib.training.teacher import Teacher, TeacherStore, feature_pairs
from kdlib.training.workers import groups_that_fit
from kdlib.training.world import World, joined


def fit(job: Job, dataset: Dataset, **options) -> Outcome:
    """Train one model on the labels alone; the options are those of ``train``."""
    return train([job], dataset, **options)[0]


def distill(teacher: nn.Module, jobs: Sequence[Job], dataset: Dataset, **options) -> list[Outcome]:
    """Train many students of one teacher in lockstep; the options are those of ``train``.

    Jobs without a loss of their own learn from the labels alone: the baselines, in the same pass. Raises
    ``UserError`` when the teacher's number of classes is not the dataset's.
    """
    return train(jobs, dataset, teacher=teacher, **options)


def train(
    jobs: Sequence[Job],
    dataset: Dataset,
    teacher: nn.Module | None = None,
    *,
    order_seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    memory_limit: int | None = None,
    progress: Progress | None = None,
    weight: float = 1.0,
    teacher_store: TeacherStore | None = None,
    checkpoints: Checkpoints | None = None,
    stop: Stop | None = None,
    callbacks: Sequence[Callable[[TrainingState], None] | object] = (),
    finished: Callable[[int, Outcome], None] = lambda index, outcome: None,
) -> list[Outcome]:
    """Train every job over the same batches and return the outcomes in order.

    All jobs must agree in batch size, epochs and augmentation. ``order_seed`` seeds batch order and augmentation.
    Groups that would take more than ``memory_limit`` bytes (default: what the device has free) are split.
    ``progress`` is advanced by ``weight`` in all. In fp32 the outcome of a job is the same to the bit whatever the
    group it trains in, and however often it was interrupted; what a model keeps outside of parameters and buffers is
    its own affair.

    ``teacher_store`` keeps the teacher's logits for the next call. ``checkpoints`` keeps the state of groups all of
    whose jobs have an ``id``: a later call with the same jobs goes on from there. When ``stop`` is requested, state is
    saved and ``Stopped`` raised. ``finished`` is handed index and outcome of each job as soon as its group is done; the
    group's checkpoint goes after that.

    ``callbacks`` look inside: functions of a `TrainingState`, called for every run at the end of each epoch, and
    objects with methods ``on_epoch`` or ``on_step``. They change no number. What an interrupted training does again
    after its last checkpoint they are shown again.

    In several processes that have a ``torch.distributed`` process group (``torchrun``) one job is trained by all: each
    learns its share of every batch and returns the same outcome; the first alone shows progress, writes checkpoints and
    logits, and calls ``callbacks`` and ``finished``. See docs/scaling.md for what stays as in one process.

    Raises ``UserError`` for input no training can use, before any training.
    """
    place, looking = resolve_device(device), Callbacks(callbacks)
    _check(jobs, dataset, teacher, precision)
    with _frame(place), _world(jobs, dataset) as world, _bar(progress, weight, world) as bar:
        if world.rank:
            looking, finished = Callbacks(()), lambda index, outcome: None
        learners = [_built(job, i, dataset, place, precision, world) for i, job in enumerate(jobs)]
        _check_distinct(learners, teacher)
        guide = None if teacher is None else Teacher(teacher, dataset, place, precision, teacher_store, world)
        _pair_features(learners, dataset, guide)
        course = Course(dataset, guide, order_seed, place, checkpoints, stop or Stop(), bar, looking, world)
        limit = available(place) if memory_limit is None else memory_limit
        saved, rest = world.agree(lambda: _resumable(jobs, checkpoints))
        fresh = groups_that_fit([learners[i] for i in rest], dataset.shape, limit, place)
        outcomes: dict[int, Outcome] = {}
        for state, chunk in [*saved, *((None, [rest[i] for i in part]) for part in fresh)]:
            group = Group([learners[i] for i in chunk], course, weight * len(chunk) / len(jobs), state)
            for i, outcome in zip(chunk, group.run(), strict=True):
                outcomes[i], learners[i] = outcome, None
                finished(i, outcome)
            group.forget()
            del group  # and with it its memory, before the next one begins
        return [outcomes[i] for i in range(len(jobs))]


def _check(jobs: Sequence[Job], dataset: Dataset, teacher: nn.Module | None, precision: str) -> None:
    if not jobs:
        raise UserError("no models to train")
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if teacher is None and any(job.loss for job in jobs):
        raise UserError("a job with a distillation loss needs a teacher; use distill(teacher, jobs, dataset)")
    if teacher is not None:
        check_not_lazy(teacher)
    for job in jobs:
        if job.loss:
            job.loss.check_classes(dataset.num_classes)
            job.loss.check_batch(job.recipe.batch_size)
    if any(job.recipe.class_weights == "balanced" for job in jobs) and 0 in torch.bincount(
        dataset.train.labels, minlength=dataset.num_classes
    ):
        raise UserError("class_weights 'balanced' needs training images of every class; say 'none'")
    if not len(dataset.val):
        raise UserError(f"{dataset.name} has no validation images; load it with a val_fraction above 0")
    if len({job.recipe.stream for job in jobs}) > 1:
        raise UserError("models trained together must agree in batch size, epochs and augmentation")
    check_batch(dataset, jobs[0].recipe.batch_size)


@contextlib.contextmanager
def _world(jobs: Sequence[Job], dataset: Dataset) -> Iterator[World]:
    """The processes that train together; raises ``UserError`` for what several cannot."""
    with joined() as world:
        if world.size > 1:
            if len(jobs) > 1:
                raise UserError(
                    f"{world.size} processes train one model at a time, not {len(jobs)}; ask for one by one"
                )
            n, batch_size = len(dataset.train), jobs[0].recipe.batch_size
            smallest = min(batch_size, n if n % batch_size < 2 else n % batch_size)
            if smallest < 2 * world.size:  # of one image batch norm has no statistics
                raise UserError(
                    f"a batch of {smallest} images is too small for {world.size} processes, which need two each; take "
                    f"another batch_size than {batch_size} for {n} training images"
                )
        yield world


def _bar(progress: Progress | None, weight: float, world: World) -> contextlib.AbstractContextManager[Progress]:
    return contextlib.nullcontext(progress) if progress else Progress(weight, "training", shown=world.rank == 0)


def _built(job: Job, index: int, dataset: Dataset, device: torch.device, precision: str, world: World) -> Learner:
    """The model as it begins, the precision it trains in, and how it is handled."""
    seed_draws(derive(job.seed, job.role, "init"), device)
    model, recipe = job.build(), job.recipe
    precision = world.agree(lambda: choose(model, device, precision))
    handling = check_model(model, dataset, job.name or type(model).__name__, recipe.batch_size, precision)
    weights = None
    if recipe.class_weights == "balanced":
        counts = torch.bincount(dataset.train.labels, minlength=dataset.num_classes)
        weights = (len(dataset.train) / (dataset.num_classes * counts)).float().to(device)
    steps = recipe.epochs * batches(len(dataset.train), recipe.batch_size)
    small = _small(model, dataset)
    return Learner(job, model, device, precision, steps, handling, weights, small=small, index=index, world=world)


def _small(model: nn.Module, dataset: Dataset) -> bool:
    """Whether a step of the model gains little from a second thread."""
    try:
        return forward_macs(model, dataset.shape) < SMALL
    except Exception:  # counting copies the model, which not every one allows
        return False


def _check_distinct(learners: Sequence[Learner], teacher: nn.Module | None) -> None:
    """Raise ``UserError`` where two models share weights: each would train the other's."""
    owners = dict.fromkeys(_memory(teacher), "the teacher") if teacher is not None else {}
    for i, learner in enumerate(learners, 1):
        name, own = f"job {i} ({learner.name})", _memory(learner.model)
        for other in {owners[place] for place in own if place in owners}:
            raise UserError(f"{name} shares weights with {other}; let its build make a model of its own")
        owners |= dict.fromkeys(own, name)


def _memory(model: nn.Module) -> set[int]:
    """Where a model's parameters and buffers lie."""
    tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.numel()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def _pair_features(learners: Sequence[Learner], dataset: Dataset, teacher: Teacher | None) -> None:
    """Say to each learner which feature maps its loss compares."""
    comparing = [learner for learner in learners if learner.job.loss and learner.job.loss.needs_features]
    theirs = stages(teacher.model, dataset.shape) if comparing else []
    for learner in comparing:
        learner.features = feature_pairs(learner.job, learner.model, theirs, dataset.shape)


def _resumable(
    jobs: Sequence[Job], checkpoints: Checkpoints | None
) -> tuple[list[tuple[dict[str, Any], list[int]]], list[int]]:
    """Checkpoints, each with the jobs that go on from it, and the jobs that begin."""
    left = {job.id: i for i, job in enumerate(jobs) if job.id}
    saved = []
    for state in checkpoints.find(list(left)) if checkpoints else []:
        if chunk := [left.pop(id) for id in state["runs"] if id in left]:
            saved.append((state, chunk))
    begun = {i for _, chunk in saved for i in chunk}
    return saved, [i for i in range(len(jobs)) if i not in begun]


@contextlib.contextmanager
def _frame(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state and cuDNN settings as they were; inside, cuDNN repeats itself to the bit."""
    cudnn = torch.backends.cudnn
    # Seeding the global generator seeds every GPU's, also where training is on the CPU.
    gpus = device.type == "cuda" or torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if gpus else []
    with (
        torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext(),
        random_states(devices),
        cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield
