"""A transfer-learning study and a distillation study beside it, on disk, with accuracies of the tests' choosing."""

import json
from pathlib import Path
from types import SimpleNamespace

from report_data import DATASET, Outcome, record

from kdlib.reporting.core.results import Results
from kdlib.studies.records import Arm

VARIANTS = ("head", "4", "3-4", "2-3-4", "all", "scratch")
TRAINABLE = {"head": 166_282, "4": 8_560_010, "3-4": 10_659_722, "2-3-4": 11_185_290}
ALL = 11_342_794
SOURCE_DATA = {**DATASET, "name": "outlines10", "fingerprint": "fedcba9876543210"}
SOURCE_FLOPS, TRANSFER_FLOPS, STUDENT_FLOPS, TEACHER_FLOPS = 4e12, 3e12, 2e12, 8e12


def trained(folder: Path, arm: Arm, outcome, *, data=DATASET, test_size=1000, epochs=4, config=(), **run):
    """Write an arm's record, with what transfer's sentences read beside the accuracies."""
    outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
    made = record(folder, arm.id, outcome, seed=arm.seed, epochs=epochs, test_size=test_size, dataset=data)
    counts = {"params": ALL, "trainable_params": TRAINABLE.get(arm.variant, ALL)}
    made.run["metrics"] |= counts
    made.run["config"] |= dict(config)
    made.run.update(run)
    (made.path / "run.json").write_text(json.dumps(made.run))
    return made


def transfer_arms(outcomes: dict, seeds=(0,), recipes=("adam128",)) -> list[Arm]:
    """The source's arm of each seed, sharing one run, and an arm for each variant of each column."""
    arms = []
    for seed in seeds:
        arms.append(Arm("source", "net", "source", seed, None, None, None, "source"))
        for recipe in recipes:
            for variant in outcomes:
                id = f"{recipe}-{variant}-{seed}"
                arms.append(Arm("transfer", "net", recipe, seed, None, None, None, id, variant))
    return arms


def transfer_results(folder: Path, outcomes: dict, study, *, source=0.9, profile="quick", recipes=("adam128",), **more):
    """`outcomes`: variant -> test accuracy or Outcome, or a list of them, one a seed."""
    listed = {variant: found if isinstance(found, list) else [found] for variant, found in outcomes.items()}
    seeds = range(max(map(len, listed.values())))
    arms, records = transfer_arms(listed, seeds, recipes), {}
    for arm in arms:
        if arm.role == "source":
            options = {"data": SOURCE_DATA, "epochs": 8, "train_flops": SOURCE_FLOPS}
            records[arm.id] = trained(folder, arm, source, **options)
        else:
            begun = {} if arm.variant == "scratch" else {"weights": {"from": "source", "fresh": "fc"}}
            outcome = listed[arm.variant][arm.seed]
            records[arm.id] = trained(folder, arm, outcome, config=begun, train_flops=TRANSFER_FLOPS)
    return Results(study, arms, records, profile, **more)


def distilled_results(
    folder: Path, students: dict, study: SimpleNamespace, *, data=DATASET, profile="quick"
) -> Results:
    """`students`: model -> accuracy of its one distilled setting; a teacher of 0.8 stands before them."""
    arms = [Arm("teacher", "big", "teacher", 0, None, None, None, "teacher")]
    arms += [Arm("student", model, "adam128", 0, 2.0, 0.5, 0.5, f"kd-{model}") for model in students]
    records = {"teacher": trained(folder, arms[0], 0.8, data=data, train_flops=TEACHER_FLOPS)}
    for arm in arms[1:]:
        options = {"config": {"teacher": "teacher"}, "epochs": 2, "train_flops": STUDENT_FLOPS}
        records[arm.id] = trained(folder, arm, students[arm.model], data=data, **options)
    return Results(study, arms, records, profile)
