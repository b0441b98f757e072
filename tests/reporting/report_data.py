"""Synthetic runs on disk, in the record format, with accuracies of the tests' choosing."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from kdlib.studies import schema
from kdlib.studies.records import Condition, Record

DATASET = {
    "name": "cifar10",
    "classes": [f"class{k}" for k in range(10)],
    "sizes": {"train": 40000, "val": 10000, "test": 10000},
    "shape": [3, 32, 32],
    "fingerprint": "0123456789abcdef",
}


@dataclass
class Outcome:
    """What a synthetic run came to; `val` is the test accuracy when not given."""

    test: float
    val: float | None = None
    diverged: dict | None = None


def record(folder: Path, id: str, outcome: Outcome, *, seed=0, epochs=5, test_size=10000, dataset=DATASET) -> Record:
    """Write one record folder and read it back."""
    path = folder / id
    path.mkdir(parents=True, exist_ok=True)
    val = outcome.test if outcome.val is None else outcome.val
    loss = -np.log(max(val, 0.05))
    metrics = {"test_accuracy": outcome.test, "test_loss": loss, "val_accuracy": val, "val_loss": loss}
    metrics |= {"train_accuracy": val, "train_loss": loss, "epoch": epochs, "params": 1234}
    run = {
        "id": id,
        "config": {"recipe": {"epochs": epochs}, "seed": seed},
        "metrics": metrics,
        "diverged": outcome.diverged,
        "dataset": {**dataset, "sizes": {**dataset["sizes"], "test": test_size}},
    }
    (path / "run.json").write_text(json.dumps(run))
    _history(path / "history.csv", val, epochs, outcome.diverged, seed)
    _predictions(path / "predictions.npz", outcome.test, test_size)
    return Record(id, path, run)


def _history(path: Path, val: float, epochs: int, diverged: dict | None, seed: int) -> None:
    random = np.random.default_rng(seed + int(1e4 * val))
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        columns = [
            "epoch",
            "train_objective",
            "train_loss",
            "train_accuracy",
            "val_loss",
            "val_accuracy",
            "lr",
        ]
        out.writerow([*columns, "seconds"])
        for epoch in range(1, epochs + 1):
            grown = 1 - np.exp(-4 * epoch / epochs)
            accuracy = 0.1 + (val - 0.1) * grown + random.normal(0, 0.004)
            train = 0.1 + (min(val * 1.08, 0.999) - 0.1) * grown + random.normal(0, 0.002)
            row = [
                epoch,
                -np.log(train) * 1.5,
                -np.log(train),
                train,
                -np.log(accuracy),
                accuracy,
                0.001,
                1.0,
            ]
            if diverged and epoch >= diverged["epoch"]:
                row[1:6] = [float("nan")] * 5
            out.writerow(row)


def _predictions(path: Path, accuracy: float, n: int) -> None:
    """The first `accuracy` share of the examples are right."""
    labels = np.arange(n) % 10
    top = np.where(np.arange(n) < round(accuracy * n), labels, (labels + 1) % 10)
    np.savez(path, logits=np.eye(10, dtype=np.float32)[top], labels=labels.astype(np.int64))


def conditions_of(study, *, recipes=None, students=None, seeds=(0,), teacher_recipe=None) -> list[Condition]:
    """The conditions that a study's plan has, in its order."""
    out = []
    for seed in seeds:
        for recipe in recipes or list(study.recipes):
            out.append(_condition("teacher", study.teacher, teacher_recipe or recipe, seed))
            chosen = students or study.students
            out += [_condition("baseline", model, recipe, seed) for model in chosen]
            for point in study.points:
                for model in chosen:
                    if point.students and model not in point.students:
                        continue
                    for T, alpha, lam in point.settings():
                        out.append(
                            _condition("student", model, recipe, seed, T, alpha, 1 - alpha if lam is None else lam)
                        )
    return list(dict.fromkeys(out))


def _condition(role, model, recipe, seed, T=None, alpha=None, lam=None) -> Condition:
    # Alone is alone: a teacher and a baseline of one recipe are one run.
    asked = [model, recipe, seed, T, alpha, lam]
    return Condition(role, model, recipe, seed, T, alpha, lam, hashlib.sha256(repr(asked).encode()).hexdigest()[:16])


def records_of(
    conditions: list[Condition], folder: Path, outcome: Callable[[Condition], Outcome | float | None], **options
) -> dict:
    """Write a record for each condition; None leaves a run out, a float is a test accuracy."""
    out = {}
    for condition in conditions:
        found = outcome(condition)
        if found is not None and condition.id not in out:
            found = found if isinstance(found, Outcome) else Outcome(found)
            out[condition.id] = record(folder, condition.id, found, seed=condition.seed, **options)
    return out


def condition(role: str, model: str, *, recipe="r", seed=0, T=None, alpha=None, lam=None, id=None) -> Condition:
    """One condition; a convex weight on the labels unless told otherwise."""
    lam = 1 - alpha if lam is None and alpha is not None else lam
    found = _condition(role, model, recipe, seed, T, alpha, lam)
    return found if id is None else replace(found, id=id)


def study_of(tables=(), figures=(), **more) -> SimpleNamespace:
    """A study that says only what reporting reads."""
    said = {"name": "made_up", "title": {"en": "Made up", "tr": "Uydurma"}, "source": {"en": "Nobody", "tr": "Kimse"}}
    said |= {"labels": {}, "loss": "convex_kl", "recipes": {}, "profiles": {}, "report": True, "beside": []}
    said |= dict.fromkeys(("transfer", "pruning", "clinical", "costs"))
    return SimpleNamespace(**{**said, "tables": list(tables), "figures": list(figures), **more})


def table_of(rows, columns=({"label": "Accuracy"},), head=("Model",), **more):
    """A table of the schema; `rows` as in a YAML."""
    return schema.Table.model_validate(
        {"id": "t", "title": {"en": "Title", "tr": "Başlık"}, "head": head, "columns": columns, "rows": rows, **more}
    )
