"""A made-up study of two classes: a teacher, a student alone and one with its teacher, as records on disk."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from report_data import condition, study_of

from kdlib.reporting.core.results import Results
from kdlib.studies import schema
from kdlib.studies.records import Record

CLASSES = ("NORMAL", "PNEUMONIA")
COUNTS = {"train": [1073, 3122], "val": [268, 760], "test": [234, 390]}
# Distance of the classes' mean logits, and how much surer than right a model is.
STRENGTH = {"teacher": (2.6, 1.6), "baseline": (1.4, 1.0), "student": (2.0, 1.3)}


def dataset(classes=CLASSES, groups=True, counts=COUNTS) -> dict:
    """What a record says of its data."""
    found = {
        "name": "chest_xray",
        "classes": list(classes),
        "sizes": {part: sum(line) for part, line in counts.items()},
        "shape": [3, 64, 64],
        "fingerprint": "fedcba9876543210",
        "class_counts": counts,
    }
    return found | ({"group_counts": {"train": 1500, "val": 370, "test": 326}} if groups else {})


def patients(n: int) -> np.ndarray:
    """Patients with one, two, three, one, ... images each, int64 (n,)."""
    return np.repeat(np.arange(n), 1 + np.arange(n) % 3)[:n].astype(np.int64)


def logits_of(labels: np.ndarray, strength: float, sureness: float, seed: int, classes: int = 2) -> np.ndarray:
    """Noisy logits, float32 (n, classes): `strength` parts the classes, `sureness` scales the whole."""
    chance = np.random.default_rng(seed)
    margin = np.eye(classes)[labels] * strength + chance.normal(0, 1, (len(labels), classes))
    return (sureness * margin).astype(np.float32)


def record(folder: Path, of, logits, labels, groups, *, epochs=12, rise=0.0, gap=0.2, weights=None, diverged=None):
    """Write one record and read it back; the validation loss ends `gap` above training and `rise` above its lowest."""
    path = folder / of.id
    path.mkdir(parents=True, exist_ok=True)
    accuracy = float((logits.argmax(1) == labels).mean())
    recipe = {"epochs": epochs} | ({"class_weights": weights} if weights else {})
    metrics = {"test_accuracy": accuracy, "val_accuracy": accuracy, "test_loss": 0.5, "val_loss": 0.5, "epoch": epochs}
    classes = CLASSES if logits.shape[1] == 2 else [f"class{k}" for k in range(logits.shape[1])]
    run = {"id": of.id, "config": {"recipe": recipe}, "metrics": metrics, "diverged": diverged}
    data = dataset(classes, groups is not None)
    run["dataset"] = data if logits.shape[1] == 2 else {k: v for k, v in data.items() if k != "class_counts"}
    (path / "run.json").write_text(json.dumps(run))
    named = {} if groups is None else {"groups": groups}
    np.savez(path / "predictions.npz", logits=logits, labels=labels.astype(np.int64), **named)
    _history(path / "history.csv", epochs, accuracy, rise, gap, of.seed)
    return Record(of.id, path, run)


def _history(path: Path, epochs: int, accuracy: float, rise: float, gap: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"])
        for epoch in range(1, epochs + 1):
            along = epoch / epochs
            train = 0.7 * np.exp(-2 * along) + chance.normal(0, 0.004)
            val = train + gap * along + rise * max(0.0, along - 0.4) + chance.normal(0, 0.004)
            reached = accuracy - 0.25 * np.exp(-4 * along)
            out.writerow([epoch, train, min(0.999, reached + 0.03 * along), val, reached, 0.001, 1.0])


FIGURES = ("curves", "roc", "reliability", "attention")


def clinical_study(**more) -> SimpleNamespace:
    """A study with all clinical figures; `clinical` may be given."""
    figures = [schema.Figure(kind=kind) for kind in FIGURES]
    spec = {"positive": "PNEUMONIA", "reported": {"teacher": 80.12, "student": 79.8}}
    labels = {"big": "DenseNet121", "small": "MobileNetV2"}
    labels |= {"NORMAL": {"en": "normal", "tr": "normal"}, "PNEUMONIA": {"en": "pneumonia", "tr": "zatürre"}}
    said = {"clinical": schema.Clinical(**spec), "labels": labels, "figures": figures}
    return study_of(**{**said, **more})


def conditions(seeds=(0,)):
    """Teacher, student alone, student with teacher for each seed."""
    out = []
    for seed in seeds:
        out.append(condition("teacher", "big", seed=seed))
        out.append(condition("baseline", "small", seed=seed))
        out.append(condition("student", "small", seed=seed, T=4.0, alpha=0.5))
    return out


def results(folder: Path, *, seeds=(0,), groups=True, classes=2, counts=(234, 390), study=None, **options) -> Results:
    """Results of such a study; `options` go to every record."""
    labels = np.repeat(np.arange(len(counts)), counts)
    who = patients(len(labels)) if groups else None
    found = {}
    for k, of in enumerate(conditions(seeds)):
        strength, sureness = STRENGTH[of.role]
        logits = logits_of(labels, strength, sureness, 10 * of.seed + k % 3, classes)
        found[of.id] = record(folder / "runs", of, logits, labels, who, **options)
    out = Results(study or clinical_study(), conditions(seeds), found, "quick")
    out.folder = folder
    return out
