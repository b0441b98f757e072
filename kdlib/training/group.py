"""Many models in lockstep over one pass of the data, each ending exactly as it would alone."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kdlib.data import Dataset, Split, augment, draws, normalise, read_ahead
from kdlib.progress import Progress, note
from kdlib.training.callbacks import Callbacks, TrainingState
from kdlib.training.check import seed_draws
from kdlib.training.checkpoint import Checkpoints, Stop, Stopped
from kdlib.training.evaluation import blown_up, eval_batches, scores
from kdlib.training.job import Outcome, derive
from kdlib.training.learner import Learner
from kdlib.training.teacher import Teacher, TeacherOutput
from kdlib.training.workers import Workers
from kdlib.training.world import ALONE, World


def batches(n: int, batch_size: int) -> int:
    """Number of batches an epoch; a last batch of one sample is dropped, for batch norm cannot train on it."""
    return n // batch_size + (n % batch_size > 1)


@dataclass(frozen=True)
class Course:
    """What all groups of a call share."""

    dataset: Dataset
    teacher: Teacher | None
    order_seed: int
    device: torch.device
    checkpoints: Checkpoints | None
    stop: Stop
    bar: Progress
    callbacks: Callbacks
    world: World = ALONE


class Group:
    """Learners in lockstep, from their first batch or from a checkpoint's ``state`` to their outcomes.

    It can be left between any two batches: ``epoch`` and ``batch`` say which comes next, and seeds all the rest.
    """

    def __init__(self, learners: list[Learner], course: Course, weight: float, state: dict[str, Any] | None):
        self.learners, self.course, self.weight = learners, course, weight
        self.workers = Workers(learners, course.device)
        self.recipe = learners[0].job.recipe
        self.epoch, self.batch, self.seconds, self.epoch_seconds = 0, 0, 0.0, 0.0
        self.batches = batches(len(course.dataset.train), self.recipe.batch_size)
        self.labels = course.dataset.train.labels.to(course.device)
        images = course.dataset.train.images
        self.images = images if course.dataset.storage == "disk" else images.to(course.device)
        losses = [learner.job.loss for learner in learners if learner.job.loss]
        self.guided = bool(losses)
        self.needs_logits = any(loss.needs_logits for loss in losses)
        self.layers = sorted({name for learner in learners for name in learner.features.teacher})
        ids = [learner.job.id for learner in learners]
        self.ids = ids if course.checkpoints and all(ids) and course.world.rank == 0 else None
        for learner in learners:
            learner.begin()
        if state is not None:
            self.epoch, self.batch = state["epoch"], state["batch"]
            self.seconds, self.epoch_seconds = state["seconds"], state["epoch_seconds"]
            if course.teacher is not None:
                course.teacher.begun = state["teacher"]
            for learner in learners:
                learner.load_state_dict(state["learners"][learner.job.id])
            course.bar.skip(self._share(self.epoch * self.batches + self.batch))
            course.bar.say(self.last_epoch)
        self._clock = self._saved = time.perf_counter()

    @property
    def running(self) -> list[Learner]:
        """The learners that have not diverged."""
        return [learner for learner in self.learners if learner.diverged is None]

    @property
    def last_epoch(self) -> str:
        """What the bar says of the last whole epoch; nothing before there is one."""
        found = [one.history[-1]["val_accuracy"] for one in self.learners if 0 < self.epoch == len(one.history)]
        if not found:
            return ""
        count = f"best of {len(found)} " if len(found) > 1 else ""
        return f"epoch {self.epoch}/{self.recipe.epochs}, {count}val accuracy {max(found):.3f}"

    def run(self) -> list[Outcome]:
        """Train to the end and return the outcomes."""
        with self.workers:
            while self.epoch < self.recipe.epochs and self.running:
                if self.batch < self.batches:
                    self._train_epoch()
                self._validate()
            self.course.bar.advance(self._share((self.recipe.epochs - self.epoch) * self.batches))
            return self._finish()

    def forget(self) -> None:
        """Remove the group's checkpoint."""
        if self.ids:
            self.course.checkpoints.path(self.ids).unlink(missing_ok=True)

    def _train_epoch(self) -> None:
        dataset, seed = self.course.dataset, self.course.order_seed
        shuffle = torch.Generator().manual_seed(derive(seed, "order", self.epoch))
        order = torch.randperm(len(self.labels), generator=shuffle)
        indices = order.split(self.recipe.batch_size)[self.batch : self.batches]
        numbers = draws(len(self.labels), derive(seed, "augment", self.epoch))
        logits = self._teacher_logits()
        learners = self.running
        for index, images in zip(indices, self._images(map(self.course.world.share, indices)), strict=True):
            self._pause()
            batch = augment(images, self.recipe.augmentation, numbers[self.course.world.share(index)])
            index = index.to(self.course.device)
            x, y = normalise(batch, dataset.mean, dataset.std), self.labels[index]
            output = self._teacher_output(x, len(y), None if logits is None else logits[index])
            self.workers.each(learners, lambda learner, x=x, y=y, output=output: learner.step(x, y, output))
            self._show("on_step", learners)
            self.batch += 1
            self.course.bar.advance(self._share(1))

    def _images(self, indices: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of each batch, on the device."""
        if self.course.dataset.storage == "disk":
            return (images.to(self.course.device) for images in read_ahead(self.images, indices))
        return (self.images[index.to(self.course.device)] for index in indices)

    def _teacher_logits(self) -> torch.Tensor | None:
        """The teacher's logits of all images of this epoch, if a loss looks at them."""
        if not self.needs_logits:
            return None
        self.course.bar.say(f"epoch {self.epoch + 1}/{self.recipe.epochs}, the teacher answers")
        logits = self.course.teacher.epoch_logits(
            self.recipe.augmentation, self.course.order_seed, self.epoch, self.recipe.epochs, self._pause
        )
        self.course.bar.say(self.last_epoch)
        return logits

    def _teacher_output(self, images: torch.Tensor, batch: int, logits: torch.Tensor | None) -> TeacherOutput | None:
        if not self.guided:
            return None
        if not self.layers:
            return TeacherOutput(logits, {})
        seed_draws(derive(self.course.order_seed, "maps", self.epoch, self.batch), self.course.device)
        live, world = self.course.teacher.answer(images, self.layers), self.course.world
        maps = {name: world.gather(found, batch) for name, found in live.maps.items()}
        return TeacherOutput(world.gather(live.logits, batch) if logits is None else logits, maps)

    def _validate(self) -> None:
        learners, val = self.running, self.course.dataset.val
        for learner in learners:
            learner.average_statistics()
        for learner, logits in zip(learners, self._split_logits(learners, "val"), strict=True):
            weights = None if learner.class_weights is None else learner.class_weights.cpu()
            learner.close_epoch(scores(logits, val.labels, weights), self._elapsed())
        self._show("on_epoch", learners)
        self.epoch, self.batch, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.course.bar.say(self.last_epoch)
        if self.ids and self.course.checkpoints.every == 0:
            self._save()

    def _show(self, event: str, learners: list[Learner]) -> None:
        """Let the callbacks look at each run; their time is not the training's."""
        if not self.course.callbacks.of[event]:
            return
        self._elapsed()
        for one in learners:
            state = TrainingState(
                job=one.job,
                index=one.index,
                name=one.name,
                model=one.model,
                teacher=self.course.teacher and self.course.teacher.model,
                epoch=self.epoch + 1,
                epochs=self.recipe.epochs,
                step=one.steps_taken,
                steps=one.steps,
                losses=one.losses,
                metrics=dict(one.history[-1]) if event == "on_epoch" else {},
            )
            self.course.callbacks.call(event, state)
        self._clock = time.perf_counter()

    def _split_logits(self, learners: list[Learner], part: str, precision: str | None = None) -> list[torch.Tensor]:
        split: Split = getattr(self.course.dataset, part)
        rows: list[list[torch.Tensor]] = [[] for _ in learners]
        for i, x in eval_batches(split, self.course.dataset, self.course.device, self.course.world):
            self._pause()
            if x is None:
                continue
            found = self.workers.each(learners, lambda learner, x=x, i=i: learner.logits(x, part, i, precision))
            for row, logits in zip(rows, found, strict=True):
                row.append(logits.cpu())
        return [torch.cat(self.course.world.merge(row)) for row in rows]

    def _finish(self) -> list[Outcome]:
        self._elapsed()
        seconds, dataset = self.seconds, self.course.dataset
        epochs = [learner.keep() for learner in self.learners]
        # In fp32 whatever they trained in: bf16 logits tie, and a tie goes to the class of the lower index.
        logits = self._split_logits(self.learners, "test", "fp32")
        finished = zip(self.learners, epochs, logits, strict=True)
        outcomes = [learner.finish(epoch, rows, dataset.test.labels) for learner, epoch, rows in finished]
        own = sum(outcome.seconds for outcome in outcomes)
        for outcome in outcomes:
            outcome.groups = dataset.test.groups
            outcome.diverged = outcome.diverged or blown_up(outcome.history, dataset.val, dataset.num_classes)
            # What the group shares (data, teacher) is shared out in proportion to each model's own time.
            outcome.seconds *= seconds / own
            outcome.group_size, outcome.group_seconds = len(self.learners), seconds
        return outcomes

    def _pause(self) -> None:
        """Between two batches: save what is due, and stop if that is asked for."""
        stopping = self.course.world.any(self.course.stop.requested)
        if self.ids:
            every = self.course.checkpoints.every
            if stopping or (every and time.perf_counter() - self._saved >= every):
                self._save()
        if stopping:
            where = f"stopped in epoch {min(self.epoch + 1, self.recipe.epochs)} of {self.recipe.epochs}"
            raise Stopped(where, self.course.stop.signal)

    def _save(self) -> None:
        self._elapsed()
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_seconds,
            "teacher": self.course.teacher and self.course.teacher.begun,
            "learners": {learner.job.id: learner.state_dict() for learner in self.learners},
        }
        try:
            self.course.checkpoints.save(self.ids, state)
        except OSError as error:  # a full disk must not end a training that could go on
            note(f"no checkpoint could be written ({error}); the training goes on")
        self._saved = time.perf_counter()

    def _elapsed(self) -> float:
        """Add up the time since it was last asked for; return the seconds of this epoch."""
        now = time.perf_counter()
        self.seconds += now - self._clock
        self.epoch_seconds += now - self._clock
        self._clock = now
        return self.epoch_seconds

    def _share(self, batches: int) -> float:
        """What so many batches are of the bar."""
        return self.weight * batches / self.recipe.epochs / self.batches
