"""Do the runs of a plan that are not there yet, in groups that share their batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from kdlib import models
from kdlib.data import check_batch
from kdlib.progress import Progress
from kdlib.studies import records
from kdlib.studies.plan import Plan
from kdlib.studies.run import Run, Weights
from kdlib.training import Job, check_model, resolve_device, train


@dataclass(frozen=True)
class Group:
    """Runs trained in lockstep: one order of batches, at most one teacher."""

    runs: list[Run]
    teacher: Run | None

    def flops(self) -> int:
        """Return the group's arithmetic, the teacher's forward passes counted once."""
        return sum(run.train_flops() for run in self.runs) + max(run.guidance_flops() for run in self.runs)


def missing(plan: Plan, folder: Path) -> list[Run]:
    """Return the runs whose records are not in ``folder``."""
    return [run for run in plan.runs.values() if records.read(folder, run.id) is None]


def groups(plan: Plan, todo: Sequence[Run]) -> list[Group]:
    """Put runs that may share their batches together; those that others wait for come first, in the order of need.

    Runs without a teacher (baselines) join the first group whose stream they share.
    """
    awaited = {needed.id for run in plan.runs.values() for needed in run.needs}
    found: dict[tuple, Group] = {}

    def stage(run: Run) -> tuple[bool, int]:
        return (False, _depth(run)) if run.id in awaited else (True, 0)

    for run in sorted(todo, key=lambda run: (stage(run), run.teacher is None)):
        stream = (stage(run), run.dataset.fingerprint, run.seed, run.precision, *run.recipe.stream)
        teacher = run.teacher.id if run.teacher else None
        joinable = [key for key in found if key[0] == stream and (teacher is None or key[1] == teacher)]
        key = joinable[0] if joinable else (stream, teacher)
        found.setdefault(key, Group([], run.teacher)).runs.append(run)
    return list(found.values())


def _depth(run: Run) -> int:
    """How many runs must come one after another before this one."""
    return max((1 + _depth(needed) for needed in run.needs), default=0)


def execute(plan: Plan, folder: Path, device: str = "auto") -> dict[str, records.Record]:
    """Do what is missing and return every record of the plan by its id.

    A group's records are written when the group is done; what an earlier, interrupted call finished is kept. Raises
    ``UserError`` before the first run for input that cannot be trained on.
    """
    todo = missing(plan, folder)
    place = resolve_device(device)
    distinct = {(r.model, r.recipe.batch_size, r.dataset.fingerprint, r.open, r.weights): r for r in plan.runs.values()}
    for run in distinct.values():
        check_batch(run.dataset, run.recipe.batch_size)
        model = run.build()
        if isinstance(run.weights, Weights) and todo:
            models.start_from(model, run.weights.load(run.model), run.head)
        check_model(model, run.dataset, run.model, run.recipe.batch_size)
    if todo:
        records.sweep(folder)
        work = groups(plan, todo)
        with Progress(sum(group.flops() for group in work) / 1e12, "training") as bar:
            for group in work:
                _do(group, folder, str(place), bar)
    return {id: records.read(folder, id) for id in plan.runs}


def _do(group: Group, folder: Path, device: str, bar: Progress) -> None:
    first = group.runs[0]
    outcomes = train(
        [Job(partial(_begun, run, folder), run.recipe, run.seed, run.loss, run.model) for run in group.runs],
        first.dataset,
        teacher=trained(group.teacher, folder) if group.teacher else None,
        order_seed=first.seed,
        device=device,
        precision=first.precision,
        progress=bar,
        weight=group.flops() / 1e12,
    )
    for run, outcome in zip(group.runs, outcomes, strict=True):
        extra = {"dataset": run.dataset.describe(), "train_flops": run.train_flops(), "device": device}
        records.write(folder, run.id, run.config, outcome, extra)


def _begun(run: Run, folder: Path) -> nn.Module:
    """Return the model of a run as its training begins: freshly initialised, with the weights it starts from."""
    model = run.build()
    if run.weights is not None:
        outside = isinstance(run.weights, Weights)
        state = run.weights.load(run.model) if outside else records.read(folder, run.weights.id).weights()
        models.start_from(model, state, run.head)
    return model


def trained(run: Run, folder: Path) -> nn.Module:
    """Return the model of a run with its record's weights; raises ``UserError`` where the record has none."""
    model = run.build()
    model.load_state_dict(records.read(folder, run.id).weights())
    return model
