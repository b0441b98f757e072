"""Do the runs of a plan that are not there yet, in groups that share their batches."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import nn

from kdlib import models, pruning
from kdlib.copies import on_cpu
from kdlib.data import check_batch
from kdlib.errors import UserError
from kdlib.progress import Progress, note
from kdlib.studies import engines, records
from kdlib.studies.plan import Plan
from kdlib.studies.run import Run, Weights
from kdlib.training import (
    Checkpoints,
    Job,
    Outcome,
    Stop,
    TeacherStore,
    TensorBoard,
    check_model,
    derive,
    evaluate,
    resolve_device,
    train,
)
from kdlib.training.checkpoint import EVERY
from kdlib.training.device import available, choose


@dataclass(frozen=True)
class Options:
    """How runs are done, which changes no result.

    ``checkpoint_every``: seconds, 0 for every epoch; ``teacher_store``: bytes of teachers' logits to keep, 0 for none;
    ``log``: "tensorboard" for event files of every epoch in the folder of that name beside the runs' folder.
    ``engine``: ``local`` with ``jobs`` processes, or ``ray`` on the cluster at ``address``; ``threads``: of the CPU for
    each piece of work, None for this machine's shared out over its jobs, on Ray for all of the smallest node.
    """

    checkpoint_every: float = EVERY
    teacher_store: int = 2_000_000_000
    log: str | None = None
    engine: str = "local"
    address: str | None = None
    jobs: int = 1
    threads: int | None = None

    def callbacks(self, folder: Path) -> list[TensorBoard]:
        """Return what looks into trainings whose records lie in ``folder``; raises ``UserError`` where it cannot."""
        return [TensorBoard(folder.parent / self.log)] if self.log else []

    def checkpoints(self, folder: Path) -> Checkpoints:
        """Return where trainings whose records lie in ``folder`` leave their state."""
        return Checkpoints(folder / ".training", self.checkpoint_every)


@dataclass(frozen=True)
class Place:
    """Where a call does its runs, and what may end it."""

    folder: Path
    device: str
    options: Options
    stop: Stop
    bar: Progress
    memory_share: float | None  # None where no others train beside it


@dataclass(frozen=True)
class Group:
    """Runs trained in lockstep: one order of batches, at most one teacher."""

    runs: list[Run]
    teacher: Run | None

    def flops(self) -> int:
        """Return the group's arithmetic, the teacher's forward passes counted once."""
        guidance = [run.guidance_flops() for run in self.runs]
        shared = sum(max(flops.get(what, 0) for flops in guidance) for what in ("logits", "maps"))
        return sum(run.train_flops() for run in self.runs) + shared


def missing(plan: Plan, folder: Path) -> list[Run]:
    """Return the runs whose records are not in ``folder``, or are damaged.

    Raises ``UserError`` for a record that knows no groups of images, or others, where the call's images have some.
    """
    return [run for run in plan.runs.values() if not _is_there(run, folder)]


def _is_there(run: Run, folder: Path) -> bool:
    record = records.read(folder, run.id)
    if record is None or not record.intact:
        return False
    data = run.dataset  # other groups of the same images are no other id
    if data.test.groups is not None and data.describe()["group_counts"] != record.run["dataset"].get("group_counts"):
        raise UserError(f"run {run.id} is on record with other groups of images; name another output_dir for these")
    return True


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


def cut(work: Sequence[Group], workers: int) -> list[Group]:
    """Cut groups into pieces that keep all workers busy: first what others wait for, then the largest.

    Laid end to end, the groups of one depth are cut where a worker's equal share ends (McNaughton 1959).
    """
    if workers == 1:
        return list(work)
    pieces, awaited = [], {needed.id for group in work for run in group.runs for needed in run.needs}
    for depth in sorted({_depth_of(group) for group in work}):
        together = [group for group in work if _depth_of(group) == depth]
        ends = list(accumulate((group.flops() for group in together), initial=0))
        parts = []
        for group, start, end in zip(together, ends, ends[1:], strict=False):
            inside = [at for k in range(1, workers) if start < (at := k * ends[-1] / workers) < end]
            parts += _dealt(group, [b - a for a, b in pairwise([start, *inside, end])])
        pieces += sorted(parts, key=lambda part: (awaited.isdisjoint(run.id for run in part.runs), -part.flops()))
    return pieces


def _depth_of(group: Group) -> int:
    return max(map(_depth, group.runs))


def _dealt(group: Group, room: list[float]) -> list[Group]:
    """Deal a group's runs out, the largest first, each to the part with most room (FLOPs) left."""
    parts: list[list[Run]] = [[] for _ in room]
    for run in sorted(group.runs, key=Run.train_flops, reverse=True):
        most = room.index(max(room))
        parts[most].append(run)
        room[most] -= run.train_flops()
    order = {run.id: i for i, run in enumerate(group.runs)}
    return [Group(sorted(part, key=lambda run: order[run.id]), group.teacher) for part in parts if part]


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
    if todo:
        options.callbacks(folder)
        check(plan, device)
        records.sweep(folder)
        for run in (run for run in todo if (folder / run.id).exists()):
            note(f"record {folder / run.id} is damaged; it is done again")
        work = groups(plan, todo)
        with (
            Progress(sum(group.flops() for group in work) / 1e12, "training") as bar,
            stop.on_signals(),
            _engine(options, folder, str(resolved), todo, bar, stop) as engine,
        ):
            pieces = cut(work, engine.workers)
            bar.expect(sum(piece.flops() for piece in pieces) / 1e12)
            schedule(pieces, engine, bar, stop)
        if stop.signal is not None:  # it came when there was nothing left to stop
            stop.check("stopped after the last run")
    options.checkpoints(folder).sweep(lambda id: (found := records.read(folder, id)) is not None and found.intact)
    return {id: records.read(folder, id) for id in plan.runs}


@contextmanager
def _engine(
    options: Options, folder: Path, device: str, todo: Sequence[Run], bar: Progress, stop: Stop
) -> Iterator[engines.InProcess | engines.Processes | engines.OnRay]:
    """What does the pieces; closed when all are done, or one failed."""
    do = partial(_do, folder=folder.resolve(), device=device, options=options)
    if options.engine == "local" and options.jobs == 1:
        before = torch.get_num_threads()
        torch.set_num_threads(options.threads or before)
        try:
            yield engines.InProcess(do, bar, stop)
        finally:
            torch.set_num_threads(before)
        return
    if ":" in device:
        raise UserError(
            f"several workers share out all GPUs: say cuda, not {device}; CUDA_VISIBLE_DEVICES chooses some"
        )
    images = {of.dataset.fingerprint: of.dataset for run in todo for of in (run, *run.needs)}
    with engines.scratch(folder if options.engine == "ray" else None) as board:
        if options.engine == "ray":
            engine = engines.OnRay(do, options.address, options.threads, device, board, images)
        else:
            threads = options.threads or max(1, torch.get_num_threads() // options.jobs)
            seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
            gpus = seen.split(",") if device.startswith("cuda") else []
            do = partial(do, memory_share=1 / max(1, -(-options.jobs // len(gpus)) if gpus else options.jobs))
            engine = engines.Processes(do, options.jobs, threads, gpus, board, images)
        try:
            yield engine
        finally:
            engine.close()


AGAIN = 2
"""How often a piece is done again whose worker died."""


def schedule(pieces: Sequence[Group], engine, bar: Progress, stop: Stop) -> None:
    """Hand the engine the pieces whose needs are met, until all are done.

    What a dead worker was at is done again from its last checkpoint. Raises ``UserError`` for a piece whose worker died
    more often than ``AGAIN`` times, and ``Stopped`` when asked to, after the workers have stopped.
    """
    waiting, running, tries, told = list(enumerate(pieces)), {}, Counter(), Counter()
    left = {run.id for piece in pieces for run in piece.runs}
    failure: Exception | None = None
    while waiting or running:
        if failure or stop.requested:
            if engine.board:
                engine.board.stop()
            waiting = [] if failure else waiting
            if not running:
                break
        else:
            for number, piece in list(waiting):
                if len(running) == engine.workers:
                    break
                if any(needed.id in left for run in piece.runs for needed in run.needs):
                    continue
                waiting.remove((number, piece))
                running[engine.submit(number, piece)] = number
                if engine.board is None:  # it is done already, and a stop is looked for before the next
                    break
        done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            number = running.pop(future)
            error = future.exception()
            if error is not None and engines.lost(error):
                tries[number] += 1
                waiting.insert(0, (number, pieces[number]))
                if tries[number] > AGAIN:
                    runs = f"run {pieces[number].runs[0].id} and {len(pieces[number].runs) - 1} beside it"
                    failure = UserError(f"the worker died {AGAIN + 1} times over {runs}; was there memory enough?")
            elif error is not None or future.result() is not None:
                failure = error or UserError(future.result())
            elif not (stop.requested and engine.board):
                left -= {run.id for run in pieces[number].runs}
                if engine.board:  # a worker's last word came before its end, or was of what a dead one had left
                    engine.board.tell(number, pieces[number].flops() / 1e12)
        if engine.board:
            for number in range(len(pieces)):
                amount = engine.board.amount(number)
                bar.advance(amount - told[number])
                told[number] = amount
            bar.say(f"{len(running)} of {engine.workers} workers busy, {len(waiting)} pieces wait")
    if failure:
        raise failure
    if left:
        stop.check(f"stopped with {len(left)} runs to go")


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
    if run.prune:  # scored by magnitude it tells what can be told before training: whether it can be traced and cut
        pruning.prune(model, replace(run.prune, criterion="magnitude", steps=1), shape=run.dataset.shape)


def _do(
    group: Group, bar: Progress, stop: Stop, *, folder: Path, device: str, options: Options, memory_share=None
) -> None:
    """Do what is not on record of a group, here."""
    runs = [run for run in group.runs if not _is_there(run, folder)]
    if runs:
        _train(Group(runs, group.teacher), Place(folder, device, options, stop, bar, memory_share))


def _train(group: Group, place: Place) -> None:
    first, folder = group.runs[0], place.folder
    if first.recipe is None:
        _evaluate(group.runs, place)
        return
    share, kept = place.memory_share, place.options.teacher_store if group.teacher else 0
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
        memory_limit=None if share is None else int(available(resolve_device(place.device)) * share),
        progress=place.bar,
        weight=group.flops() / 1e12,
        teacher_store=TeacherStore(folder / ".teachers", group.teacher.id, kept) if kept else None,
        checkpoints=place.options.checkpoints(folder),
        stop=place.stop,
        callbacks=place.options.callbacks(folder),
        finished=lambda i, outcome: _write(group.runs[i], outcome, place),
    )


def _evaluate(runs: Sequence[Run], place: Place) -> None:
    """Do the runs that train nothing: a checkpoint tested as it is, or one model pruned in many ways.

    The model is traced once for each choice of what stays, and scored once for each criterion and draw of calibration
    images, however many ratios are asked of it. Ends between two runs when asked to.
    """
    device = resolve_device(place.device)
    whole = trained(runs[0].weights, place.folder).to(device) if runs[0].prune else None
    structures: dict[tuple, pruning.Structure] = {}
    scores: dict[tuple, dict] = {}
    for i, run in enumerate(runs):
        place.stop.check(f"stopped after {i} of {len(runs)} models")
        pruned = None if whole is None else _pruned(run, whole, structures, scores, device)
        if pruned is None:
            model = run.build()
            models.start_from(model, run.weights.load(run.model))  # it must fit as a whole
        else:
            model = pruned.model
            _say_check(run.model, **pruned.report["check"])
        outcome = evaluate(model, run.dataset, device, run.model)
        if pruned is None:
            outcome.state = on_cpu(model)
        _write(run, outcome, place, pruned)
        place.bar.advance(run.train_flops() / 1e12)


def _say_check(model: str, verdict: str, kept: list[str]) -> None:
    """Say what stayed whole and what was not checked; that all is as it should be needs no word."""
    if kept:
        note(f"of {model} stay whole, as cut they would be wrong: {', '.join(kept)}")
    if verdict != "equal":
        note(f"{model} pruned, compared with the whole network without the same channels: {verdict}")


def _pruned(run: Run, whole: nn.Module, structures: dict, scores: dict, device: torch.device) -> pruning.Pruned:
    spec = run.prune
    kept = (spec.keep, spec.protect_se)
    if kept not in structures:
        structures[kept] = pruning.scan(whole, run.dataset.shape, *kept)
    batches = pruning.calibration(run.dataset, spec, device) if spec.calibrated else []
    asked = (spec.criterion, spec.calibration_batches, spec.batch_size, spec.threshold, spec.norm, spec.seed)
    if asked not in scores:
        scores[asked] = pruning.score(whole, batches, spec)
    return pruning.prune(whole, spec, batches, run.dataset.shape, structure=structures[kept], scores=scores[asked])


def _write(run: Run, outcome: Outcome, place: Place, pruned: pruning.Pruned | None = None) -> None:
    extra = {"dataset": run.dataset.describe(), "train_flops": run.train_flops(), "device": place.device}
    if outcome.taps:
        extra["taps"] = [list(pair) for pair in outcome.taps]
    if run.pruning:
        extra["pruning"] = pruned.report if pruned else records.read(place.folder, run.weights.id).run["pruning"]
    records.write(place.folder, run.id, run.config, outcome, extra, pruned)


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
