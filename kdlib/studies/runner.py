"""Do the runs of a plan that are not there yet, in groups that share their batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from kdlib import models, pruning
from kdlib.data import check_batch
from kdlib.progress import Progress, note
from kdlib.studies import records, trimming
from kdlib.studies.plan import Plan
from kdlib.studies.run import Run, Weights
from kdlib.training import Checkpoints, Job, Outcome, Stop, TeacherStore, check_model, derive, resolve_device, train
from kdlib.training.callbacks import TensorBoard
from kdlib.training.checkpoint import EVERY
from kdlib.training.device import choose


@dataclass(frozen=True)
class Options:
    """How runs are done, which changes no result.

    ``checkpoint_every``: seconds, 0 for every epoch; ``teacher_store``: bytes of teachers' logits to keep, 0 for none;
    ``log``: "tensorboard" for event files of every epoch in the folder of that name beside the runs' folder.
    """

    checkpoint_every: float = EVERY
    teacher_store: int = 2_000_000_000
    log: str | None = None

    def callbacks(self, folder: Path) -> list[TensorBoard]:
        """Return what looks into trainings whose records lie in ``folder``; raises ``UserError`` where it cannot."""
        return [TensorBoard(folder.parent / self.log)] if self.log else []


@dataclass(frozen=True)
class Place:
    """Where a call does its runs, and what may end it."""

    folder: Path
    device: str
    options: Options
    checkpoints: Checkpoints
    stop: Stop
    bar: Progress

    def teacher_store(self, teacher: Run) -> TeacherStore | None:
        """The logits of a teacher."""
        if not self.options.teacher_store:
            return None
        return TeacherStore(self.folder / ".teachers", teacher.id, self.options.teacher_store)


@dataclass(frozen=True)
class Group:
    """Runs trained in lockstep: one order of batches, at most one teacher."""

    runs: list[Run]
    teacher: Run | None

    def flops(self) -> int:
        """Return the group's arithmetic, the teacher's forward passes counted once."""
        if self.runs[0].recipe is None:
            return sum(run.train_flops() for run in self.runs)
        guidance = [run.guidance_flops() for run in self.runs]
        shared = sum(max(flops.get(what, 0) for flops in guidance) for what in ("logits", "maps"))
        return sum(run.train_flops() for run in self.runs) + shared


def missing(plan: Plan, folder: Path) -> list[Run]:
    """Return the runs whose records are not in ``folder``, or are damaged."""
    found = {run.id: records.read(folder, run.id) for run in plan.runs.values()}
    return [run for run in plan.runs.values() if found[run.id] is None or not found[run.id].intact]


def groups(plan: Plan, todo: Sequence[Run]) -> list[Group]:
    """Put runs that may share their batches together; those that others wait for come first, in the order of need.

    Runs without a teacher (baselines) join the first group whose stream they share; so do those that only prune one
    model, or test it.
    """
    awaited = {needed.id for run in plan.runs.values() for needed in run.needs}
    found: dict[tuple, Group] = {}

    def stage(run: Run) -> tuple[bool, int]:
        return (False, _depth(run)) if run.id in awaited else (True, 0)

    for run in sorted(todo, key=lambda run: (stage(run), run.teacher is None)):
        stream = (stage(run), run.dataset.fingerprint, run.role, run.seed, run.precision, *_stream(run))
        teacher = run.teacher.id if run.teacher else None
        joinable = [key for key in found if key[0] == stream and (teacher is None or key[1] == teacher)]
        key = joinable[0] if joinable else (stream, teacher)
        found.setdefault(key, Group([], run.teacher)).runs.append(run)
    return list(found.values())


def _stream(run: Run) -> tuple:
    if run.recipe is not None:
        return run.recipe.stream
    return ("as it is", run.weights.id if run.prune else None)


def _depth(run: Run) -> int:
    """How many runs must come one after another before this one."""
    return max((1 + _depth(needed) for needed in run.needs), default=0)


def execute(
    plan: Plan, folder: Path, device: str = "auto", options: Options | None = None, stop: Stop | None = None
) -> dict[str, records.Record]:
    """Do what is missing and return every record of the plan by its id.

    A group's records are written when the group is done; what an earlier, interrupted call finished is kept, and what
    it had begun goes on from its checkpoint. Raises ``UserError`` before the first run for input that cannot be trained
    on, and ``training.Stopped`` when ``stop`` is requested: by Ctrl-C or SIGTERM, or at its time.
    """
    options = options or Options()
    stop = stop or Stop()
    todo = missing(plan, folder)
    resolved = resolve_device(device)
    checkpoints = Checkpoints(folder / ".training", options.checkpoint_every)
    if todo:
        options.callbacks(folder)
        check(plan, device)
        records.sweep(folder)
        for run in (run for run in todo if (folder / run.id).exists()):
            note(f"record {folder / run.id} is damaged; it is done again")
        work = groups(plan, todo)
        with Progress(sum(group.flops() for group in work) / 1e12, "training") as bar, stop.on_signals():
            place = Place(folder, str(resolved), options, checkpoints, stop, bar)
            for i, group in enumerate(work):
                stop.check(f"stopped after {i} of {len(work)} groups of runs")
                _do(group, place)
        if stop.signal is not None:  # it came when there was nothing left to stop
            stop.check("stopped after the last run")
    checkpoints.sweep(lambda id: records.read(folder, id) is not None)
    return {id: records.read(folder, id) for id in plan.runs}


def check(plan: Plan, device: str = "auto") -> None:
    """Raise ``UserError`` for a model, images or weights that a run of the plan cannot use; nothing is written."""
    resolved = resolve_device(device)
    for run in {_checked_by(run): run for run in plan.runs.values()}.values():
        _check(run, resolved)


def _checked_by(run: Run) -> tuple:
    """What the checks look at: runs that agree in it are checked once."""
    weights = run.weights if isinstance(run.weights, Weights) else None
    batch_size = (run.recipe.batch_size, run.precision) if run.recipe else None
    spared = (run.pruning.keep, run.pruning.protect_se, run.prune and run.prune.ratio) if run.pruning else None
    return (run.model, batch_size, run.dataset.fingerprint, run.open, weights, spared)


def _check(run: Run, device: torch.device) -> None:
    """Raise ``UserError`` for a model, images or weights that the run cannot use."""
    model, batch_size = run.build(), run.recipe.batch_size if run.recipe else 2
    check_batch(run.dataset, batch_size)
    if isinstance(run.weights, Weights):
        models.start_from(model, run.weights.load(run.model), run.head, whole=run.recipe is None)
    trains = run.recipe is not None
    check_model(model, run.dataset, run.model, batch_size, choose(model, device, run.precision), trains=trains)
    if run.prune:
        _check_pruning(run, model)


def _check_pruning(run: Run, model: nn.Module) -> None:
    """A new model, scored by magnitude, tells what can be told before training: whether it can be traced and cut."""
    spec = replace(run.prune, criterion="magnitude", steps=1)
    pruning.prune(model, spec, shape=run.dataset.shape)


def _do(group: Group, place: Place) -> None:
    first, folder = group.runs[0], place.folder
    if first.recipe is None:
        whole = trained(first.weights, folder) if first.prune else None
        trimming.do(group.runs, whole, folder, resolve_device(place.device), place.stop, place.bar)
        return
    train(
        [
            Job(partial(_begun, run, folder), run.recipe, run.seed, run.loss, run.model, run.role, run.id)
            for run in group.runs
        ],
        first.dataset,
        teacher=trained(group.teacher, folder) if group.teacher else None,
        order_seed=derive(first.seed, first.role),
        device=place.device,
        precision=first.precision,
        progress=place.bar,
        weight=group.flops() / 1e12,
        teacher_store=place.teacher_store(group.teacher) if group.teacher else None,
        checkpoints=place.checkpoints,
        stop=place.stop,
        callbacks=place.options.callbacks(place.folder),
        finished=lambda i, outcome: _write(group.runs[i], outcome, place),
    )


def _write(run: Run, outcome: Outcome, place: Place) -> None:
    extra = {"dataset": run.dataset.describe(), "train_flops": run.train_flops(), "device": place.device}
    if outcome.taps:
        extra["taps"] = [list(pair) for pair in outcome.taps]
    if run.pruning:
        extra["pruning"] = records.read(place.folder, run.weights.id).run["pruning"]
    records.write(place.folder, run.id, run.config, outcome, extra)


def _begun(run: Run, folder: Path) -> nn.Module:
    """Return the model of a run as its training begins: freshly initialised, with the weights it starts from."""
    if run.pruning:
        return trained(run.weights, folder)
    model = run.build()
    if run.weights is not None:
        outside = isinstance(run.weights, Weights)
        state = run.weights.load(run.model) if outside else records.read(folder, run.weights.id).weights()
        models.start_from(model, state, run.head)
    return model


def trained(run: Run, folder: Path) -> nn.Module:
    """Return the model of a run with its record's weights; raises ``UserError`` where the record has none."""
    if run.prune:
        return pruning.replay(trained(run.weights, folder), records.read(folder, run.id).cuts())
    model = run.build()
    if run.pruning:
        pruning.replay(model, records.read(folder, run.weights.id).cuts())
    model.load_state_dict(records.read(folder, run.id).weights())
    return model
