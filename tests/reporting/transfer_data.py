"""A transfer-learning study and a distillation study beside it, on disk, with accuracies of the tests' choosing."""

import json
from pathlib import Path
from types import SimpleNamespace

from report_data import DATASET, Outcome, record

from kdlib.reporting.core.results import Results
from kdlib.studies.records import Condition

VARIANTS = ("head", "4", "3-4", "2-3-4", "all", "scratch")
TRAINABLE = {"head": 166_282, "4": 8_560_010, "3-4": 10_659_722, "2-3-4": 11_185_290}
ALL = 11_342_794
SOURCE_DATA = {**DATASET, "name": "outlines10", "fingerprint": "fedcba9876543210"}
SOURCE_FLOPS, TRANSFER_FLOPS, STUDENT_FLOPS, TEACHER_FLOPS = 4e12, 3e12, 2e12, 8e12


def trained(folder: Path, condition: Condition, outcome, *, data=DATASET, test_size=1000, epochs=4, config=(), **run):
    """Write a condition's record, with what transfer's sentences read beside the accuracies."""
    outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
    made = record(folder, condition.id, outcome, seed=condition.seed, epochs=epochs, test_size=test_size, dataset=data)
    counts = {"params": ALL, "trainable_params": TRAINABLE.get(condition.variant, ALL)}
    made.run["metrics"] |= counts
    made.run["config"] |= dict(config)
    made.run.update(run)
    (made.path / "run.json").write_text(json.dumps(made.run))
    return made


def transfer_conditions(outcomes: dict, seeds=(0,), recipes=("adam128",)) -> list[Condition]:
    """The source's condition of each seed, sharing one run, and a condition for each variant of each column."""
    conditions = []
    for seed in seeds:
        conditions.append(Condition("source", "net", "source", seed, None, None, None, "source"))
        for recipe in recipes:
            for variant in outcomes:
                id = f"{recipe}-{variant}-{seed}"
                conditions.append(Condition("transfer", "net", recipe, seed, None, None, None, id, variant))
    return conditions


def transfer_results(folder: Path, outcomes: dict, study, *, source=0.9, profile="quick", recipes=("adam128",), **more):
    """`outcomes`: variant -> test accuracy or Outcome, or a list of them, one a seed."""
    listed = {variant: found if isinstance(found, list) else [found] for variant, found in outcomes.items()}
    seeds = range(max(map(len, listed.values())))
    conditions, records = transfer_conditions(listed, seeds, recipes), {}
    for condition in conditions:
        if condition.role == "source":
            options = {"data": SOURCE_DATA, "epochs": 8, "train_flops": SOURCE_FLOPS}
            records[condition.id] = trained(folder, condition, source, **options)
        else:
            begun = {} if condition.variant == "scratch" else {"weights": {"from": "source", "fresh": "fc"}}
            outcome = listed[condition.variant][condition.seed]
            records[condition.id] = trained(folder, condition, outcome, config=begun, train_flops=TRANSFER_FLOPS)
    return Results(study, conditions, records, profile, **more)


def distilled_results(
    folder: Path, students: dict, study: SimpleNamespace, *, data=DATASET, profile="quick", epochs=4
) -> Results:
    """`students`: model -> accuracy of its one distilled setting; a teacher of 0.8 stands before them."""
    conditions = [Condition("teacher", "big", "teacher", 0, None, None, None, "teacher")]
    conditions += [Condition("student", model, "adam128", 0, 2.0, 0.5, 0.5, f"kd-{model}") for model in students]
    records = {"teacher": trained(folder, conditions[0], 0.8, data=data, train_flops=TEACHER_FLOPS)}
    for condition in conditions[1:]:
        options = {"config": {"teacher": "teacher"}, "epochs": epochs, "train_flops": STUDENT_FLOPS}
        records[condition.id] = trained(folder, condition, students[condition.model], data=data, **options)
    return Results(study, conditions, records, profile)
