"""A study of several ways of distilling one student, on disk, with accuracies and durations of the tests' choosing."""

import json
from dataclasses import replace
from pathlib import Path

from report_data import Outcome, condition, record, study_of

from kdlib.reporting.core.results import Results

# Method -> (T, alpha, lam); None is plain distillation.
SETTINGS = {None: (4.0, 0.9, 0.1), "dkd": (4.0, 1.0, 1.0), "at": (None, 1.0, 1.0), "sp": (None, 1.0, 1.0)}
FEATURES = ("at", "sp", "fitnets", "rkd")
HARDWARE = {"processor": "p", "cores": 2, "threads": 2, "gpu": None}
LABELS = {"net": {"en": "Net", "tr": "Ağ"}}


def methods_results(
    folder: Path, alone, distilled: dict, *, seconds=None, layers=None, groups=None, study=None, **more
) -> Results:
    """`alone` and the values of `distilled` (method -> ...) are accuracies or outcomes, a list has one a seed.

    A step of the student alone takes 10 ms (50 steps of 5 epochs in 2.5 s); `seconds`: method -> those of its runs.
    `layers`: method -> the places it was told to look at; `groups`: method -> the group it trained in.
    """
    conditions, records = [], {}
    for method, found in {"alone": alone, **distilled}.items():
        for seed, outcome in enumerate(found if isinstance(found, list) else [found]):
            made = _condition(method, seed)
            conditions.append(made)
            loss = {"alpha": made.alpha, "lam": made.lam}
            if method in FEATURES:
                loss["layers"] = (layers or {}).get(method)
            run = {
                "seconds": (seconds or {}).get(method, 2.5),
                "group": (groups or {}).get(method, {"size": 9, "seconds": 30.0}),
                "hardware": HARDWARE,
                "device": "cpu",
                "precision": "fp32",
            }
            records[made.id] = _record(folder, made, outcome, None if method == "alone" else loss, run)
    study = study or study_of(labels=LABELS, loss="weighted_kl", figures=more.pop("figures", ()))
    return Results(study, conditions, records, more.pop("profile", "reduced"), **more)


def _condition(method, seed: int):
    if method == "alone":
        return condition("baseline", "net", recipe="adam", seed=seed, id=f"alone-{seed}")
    T, alpha, lam = SETTINGS.get(method, (None, 1.0, 1.0))
    made = condition("student", "net", recipe="adam", seed=seed, T=T, alpha=alpha, lam=lam, id=f"{method}-{seed}")
    return replace(made, method=method)


def _record(folder: Path, made, outcome, loss, run: dict):
    outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
    found = record(folder, made.id, outcome, seed=made.seed, epochs=5, test_size=1000)
    found.run["config"] |= {"recipe": {"epochs": 5, "batch_size": 128}, "loss": loss, "teacher": "teacher"}
    found.run["dataset"]["sizes"] = {"train": 6400, "val": 1600, "test": 1000}
    found.run.update(run)
    (found.path / "run.json").write_text(json.dumps(found.run))
    return found
