"""From a study to the runs it takes: what is compared, and what must be there first."""

from dataclasses import dataclass

from kdlib.data import Dataset
from kdlib.studies.records import Condition
from kdlib.studies.run import Run
from kdlib.studies.study import Compared, Study


@dataclass(frozen=True)
class Plan:
    """The conditions of a study and the runs behind them, teachers first."""

    conditions: list[Condition]
    runs: dict[str, Run]


def plan(study: Study, dataset: Dataset, source: Dataset | None = None) -> Plan:
    """List what a study compares on its images, and on those of its source task.

    Settings that come to the same run (a loss without a temperature at several) are one condition. Raises
    ``UserError`` for a loss that is to look where a model has nothing to see, or that says nothing about so few
    classes.
    """
    conditions = {_condition(one): one.run for one in study.runs(dataset, source)}
    runs = {run.id: run for run in conditions.values()}
    for run in runs.values():
        run.pairs()
        if run.loss:
            run.loss.check_classes(dataset.num_classes)
            run.loss.check_batch(run.recipe.batch_size)
    return Plan(list(conditions), runs)


def _condition(one: Compared) -> Condition:
    run, loss, spec = one.run, one.run.loss, one.run.pruning
    return Condition(
        role=one.role,
        model=run.model,
        recipe=one.column,
        seed=run.seed,
        T=loss and loss.T,
        alpha=loss and loss.alpha,
        lam=loss and loss.lam,
        id=run.id,
        variant=one.variant,
        criterion=spec and spec.criterion,
        ratio=spec and spec.ratio,
        macs=spec and spec.macs,
        protect_se=spec and spec.protect_se,
        method=run.method,
    )
