"""The loop: many models in lockstep over one pass of the data, each ending exactly as it would alone."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlib.data import Dataset, Split, augment, check_batch, normalise
from kdlib.errors import UserError
from kdlib.losses import stages
from kdlib.progress import Progress
from kdlib.training import memory
from kdlib.training.evaluation import eval_batches
from kdlib.training.guidance import Guidance, Teacher, taps
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.learner import Learner
from kdlib.training.precision import choose
from kdlib.training.workers import Workers, at_once


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
) -> list[Outcome]:
    """Train every job over the same batches and return the outcomes in order.

    All jobs must agree in batch size, epochs and augmentation. ``order_seed`` seeds batch order and augmentation.
    Groups that would take more than ``memory_limit`` bytes (default: what the device has free) are split.
    ``progress`` is advanced by ``weight`` in all. In fp32 the outcome of a job is the same to the bit whatever the
    group it trains in. Raises ``UserError`` for input no training can use, before any training.
    """
    place = resolve_device(device)
    _check(jobs, dataset, teacher)
    with _frame(place), contextlib.nullcontext(progress) if progress else Progress(weight, "training") as bar:
        models = [_built(job, dataset) for job in jobs]
        tapped = _tapped(jobs, models, dataset, teacher)
        choices = [
            choose(m, dataset.shape, j.recipe.batch_size, place, precision) for m, j in zip(models, jobs, strict=True)
        ]
        guide = Teacher(teacher, dataset, place, precision) if teacher is not None else None
        limit = memory.available(place) if memory_limit is None else memory_limit
        outcomes: list[Outcome] = []
        steps = jobs[0].recipe.epochs * _batches(len(dataset.train), jobs[0].recipe.batch_size)
        weights = [_class_weights(job, dataset, place) for job in jobs]
        for chunk in memory.split(jobs, models, dataset.shape, limit, at_once(choices, place)):
            learners = [Learner(jobs[i], models[i], place, choices[i], steps, weights[i], tapped[i]) for i in chunk]
            share = weight * len(chunk) / len(jobs)
            with Workers(learners, place) as workers:
                outcomes += _lockstep(learners, dataset, guide, order_seed, place, bar, share, workers)
            for i in chunk:
                models[i] = None
        return outcomes


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA where there is one. Raises ``UserError`` for one not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; say auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name!r} is not here: torch sees no CUDA device; say cpu or auto")
    return device


def _check(jobs: Sequence[Job], dataset: Dataset, teacher: nn.Module | None) -> None:
    if not jobs:
        raise UserError("no models to train")
    if teacher is None and any(job.loss for job in jobs):
        raise UserError("a job with a distillation loss needs a teacher; use distill(teacher, jobs, dataset)")
    if any(job.recipe.class_weights == "balanced" for job in jobs) and 0 in torch.bincount(
        dataset.train.labels, minlength=dataset.num_classes
    ):
        raise UserError("class_weights 'balanced' needs training images of every class; say 'none'")
    if not len(dataset.val):
        raise UserError(f"{dataset.name} has no validation images; load it with a val_fraction above 0")
    if len({job.recipe.stream for job in jobs}) > 1:
        raise UserError("models trained together must agree in batch size, epochs and augmentation")
    check_batch(dataset, jobs[0].recipe.batch_size)


def _class_weights(job: Job, dataset: Dataset, device: torch.device) -> torch.Tensor | None:
    if job.recipe.class_weights == "none":
        return None
    counts = torch.bincount(dataset.train.labels, minlength=dataset.num_classes)
    return (len(dataset.train) / (dataset.num_classes * counts)).float().to(device)


def _built(job: Job, dataset: Dataset) -> nn.Module:
    torch.manual_seed(derive(job.seed, "init"))
    model = job.build()
    check_model(model, dataset, job.name or type(model).__name__, job.recipe.batch_size)
    return model


def _tapped(jobs: Sequence[Job], models: list[nn.Module], dataset: Dataset, teacher: nn.Module | None) -> list:
    """What each job's loss taps, None for those that tap nothing; the teacher is checked on the way."""
    if teacher is None:
        return [None] * len(jobs)
    check_model(teacher, dataset, "the teacher")
    needed = any(job.loss and job.loss.needs_features for job in jobs)
    theirs = stages(teacher, dataset.shape) if needed else []
    return [taps(job, model, theirs, dataset.shape) for job, model in zip(jobs, models, strict=True)]


def check_model(model: nn.Module, dataset: Dataset, name: str, batch_size: int = 2) -> None:
    """Raise ``UserError`` unless the model takes the dataset's images and gives one logit a class.

    With batches of one image batch norm cannot train. The model is left in the modes it came in.
    """
    device = next((p.device for p in model.parameters()), None)
    if device is None:
        raise UserError(f"{name} has no weights, so there is nothing to train; name a network")
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, *dataset.shape, device=device))
    except Exception as error:  # a model of the user's own may raise anything
        size = "×".join(map(str, dataset.shape))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name} cannot take images of {size} (channels×height×width): {reason}") from None
    finally:
        for module, mode in modes:
            module.training = mode
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else (1, type(logits).__name__)
    if shape != (1, dataset.num_classes):
        raise UserError(
            f"{name} gives outputs of shape {shape[1:]}, but {dataset.name} has {dataset.num_classes} classes"
        )
    if batch_size == 1 and any(isinstance(module, _BatchNorm) for module, _ in modes):
        raise UserError(f"{name} has batch norm, which cannot train on single images; use batch_size 2 or more")


@contextlib.contextmanager
def _frame(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state and cuDNN settings as they were; inside, cuDNN repeats itself to the bit."""
    cudnn = torch.backends.cudnn
    # Seeding the global generator seeds every GPU's, also where training is on the CPU.
    gpus = device.type == "cuda" or torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if gpus else []
    with (
        torch.random.fork_rng(devices=devices),
        cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


def _batches(n: int, batch_size: int) -> int:
    """Number of batches an epoch; a last batch of one sample is dropped, for batch norm cannot train on it."""
    return n // batch_size + (n % batch_size > 1)


def _lockstep(
    learners: list[Learner],
    dataset: Dataset,
    teacher: Teacher | None,
    order_seed: int,
    device: torch.device,
    bar: Progress,
    weight: float,
    workers: Workers,
) -> list[Outcome]:
    recipe = learners[0].job.recipe
    images, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    guided = teacher is not None and any(learner.job.loss for learner in learners)
    cached = teacher.all_logits(dataset.train, dataset) if guided and not recipe.augmentation.active else None
    layers = sorted({name for learner in learners if learner.taps for name in learner.taps.teacher})
    start = time.perf_counter()
    batches = _batches(len(labels), recipe.batch_size)
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        running = [learner for learner in learners if learner.diverged is None]
        if not running:
            bar.advance(weight * (recipe.epochs - epoch) / recipe.epochs)
            break
        order = torch.randperm(len(labels), generator=_generator(order_seed, "order", epoch)).to(device)
        chance = _generator(order_seed, "augment", epoch)
        for index in order.split(recipe.batch_size)[:batches]:
            batch = augment(images[index], recipe.augmentation, chance)
            x, y = normalise(batch, dataset.mean, dataset.std), labels[index]
            told = _guidance(teacher, x, None if cached is None else cached[index], layers) if guided else None
            workers.each(running, lambda learner, x=x, y=y, told=told: learner.step(x, y, told))
            bar.advance(weight / recipe.epochs / batches)
        _validate(running, dataset, device, began, workers)
        bar.say(_words(running, epoch + 1, recipe.epochs))
    return _finish(learners, dataset, device, start, workers)


def _guidance(teacher: Teacher, images: torch.Tensor, cached: torch.Tensor | None, layers: list[str]) -> Guidance:
    """The teacher's answer to a batch; logits known from before are taken, alone or in a group the same."""
    if cached is None:
        return teacher.answer(images, layers)
    return Guidance(cached, teacher.answer(images, layers).maps if layers else {})


def _generator(seed: int, *words: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, *words))


def _words(learners: list[Learner], epoch: int, epochs: int) -> str:
    best = max(learner.history[-1]["val_accuracy"] for learner in learners)
    count = f"best of {len(learners)} " if len(learners) > 1 else ""
    return f"epoch {epoch}/{epochs}, {count}val accuracy {best:.3f}"


def _split_logits(
    learners: list[Learner], split: Split, dataset: Dataset, device: torch.device, workers: Workers
) -> list[torch.Tensor]:
    rows: list[list[torch.Tensor]] = [[] for _ in learners]
    for x, _ in eval_batches(split, dataset, device):
        for row, logits in zip(rows, workers.each(learners, lambda learner, x=x: learner.logits(x)), strict=True):
            row.append(logits.cpu())
    return [torch.cat(row) for row in rows]


def _validate(learners: list[Learner], dataset: Dataset, device: torch.device, began: float, workers: Workers) -> None:
    labels = dataset.val.labels
    found = _split_logits(learners, dataset.val, dataset, device, workers)
    for learner, logits in zip(learners, found, strict=True):
        accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
        weights = None if learner.class_weights is None else learner.class_weights.cpu().double()
        loss = F.cross_entropy(logits.double(), labels, weights).item()
        learner.close_epoch(loss, accuracy, time.perf_counter() - began)


def _finish(
    learners: list[Learner], dataset: Dataset, device: torch.device, start: float, workers: Workers
) -> list[Outcome]:
    seconds = time.perf_counter() - start
    epochs = [learner.keep() for learner in learners]
    logits = _split_logits(learners, dataset.test, dataset, device, workers)
    finished = zip(learners, epochs, logits, strict=True)
    outcomes = [learner.finish(epoch, rows, dataset.test.labels) for learner, epoch, rows in finished]
    own = sum(outcome.seconds for outcome in outcomes)
    for outcome in outcomes:
        outcome.groups = dataset.test.groups
        outcome.diverged = outcome.diverged or _fell_to_chance(outcome.history, dataset.val)
        # What the group shares (data, teacher) is shared out in proportion to each model's own time.
        outcome.seconds *= seconds / own
        outcome.group_size, outcome.group_seconds = len(learners), seconds
    return outcomes


def _fell_to_chance(history: list[dict[str, float]], val: Split) -> dict | None:
    """Tell a run whose validation accuracy ends at chance after it was clearly above it.

    Chance is the share of the commonest class, which a constant answer reaches; the bounds are 2 and 6 standard
    errors of a proportion on the validation split.
    """
    share = torch.bincount(val.labels).max().item() / len(val)
    error = math.sqrt(share * (1 - share) / len(val))
    accuracies = [row["val_accuracy"] for row in history]
    above = [i for i, accuracy in enumerate(accuracies) if accuracy > share + 6 * error]
    if not above or accuracies[-1] > share + 2 * error:
        return None
    return {"reason": "accuracy fell back to chance", "epoch": above[-1] + 2}
