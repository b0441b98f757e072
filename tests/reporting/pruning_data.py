"""Pruning studies with made-up runs: networks, channels and accuracies of the tests' choosing, nothing trained.

`results()` builds what `kdlib.reporting` reads. Records live in memory; only `pruned.json` lies on disk.
"""

import copy
import hashlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from report_data import study_of

from kdlib.errors import UserError
from kdlib.reporting.core.results import Results
from kdlib.studies.records import Condition, Record

CRITERIA = ("coverage", "wanda", "magnitude", "taylor", "random")
MODELS = {"ts4": "resnet50", "ts5": "efficientnet_b4", "ts6": "efficientnet_b4"}
BESIDE = {"ts4": ("ts6",), "ts5": ("ts6",), "ts6": ("ts5", "ts4")}
ORIGINAL = 0.80
# Test accuracies of the report's setting after plain fine-tuning.
FINETUNED = {"coverage": 0.70, "wanda": 0.745, "magnitude": 0.76, "taylor": 0.775, "random": 0.68}
SHIFT = {"ts4": -0.05, "ts5": -0.01, "ts6": 0.0}
MACS = 0.85
SWEEP = (0.05, 0.2, 0.3)
EPOCHS = 4
DATASET = {
    "name": "food101",
    "classes": [f"class{k}" for k in range(101)],
    "sizes": {"train": 19392, "val": 4848, "test": 1000},
    "shape": [3, 64, 64],
    "fingerprint": "0123456789abcdef",
}
LABELS = {
    "efficientnet_b4": "EfficientNet-B4",
    "resnet50": "ResNet50",
    "food101": "Food-101",
    "coverage": {"en": "Coverage", "tr": "Kapsama"},
    "wanda": "Wanda",
    "magnitude": {"en": "Magnitude", "tr": "Büyüklük"},
    "taylor": "Taylor",
    "random": {"en": "Random", "tr": "Rastgele"},
}
_KEYS = ("accuracy", "loss", "size_mb", "size_change", "latency_ms", "flops_g", "flops_change")
REPORTED = {
    "ts6": {
        "original": (89.20, None, 68.11, None, 0.588, 4.61, None),
        "coverage": (80.95, -8.25, 49.45, -27.4, 5.32, 3.70, -19.7),
        "wanda": (85.93, -3.27, 59.35, -12.9, 5.32, 4.05, -12.1),
        "magnitude": (86.78, -2.42, 61.66, -9.5, 0.580, 3.91, -15.2),
        "taylor": (87.99, -1.21, 59.14, -13.2, 0.590, 4.11, -10.9),
    },
    "ts5": {
        "magnitude": (85.83, -3.38, None, -18.8, None, None, None),
        "taylor": (86.67, -2.54, None, -18.8, None, None, None),
    },
    "ts4": {"taylor": (76.83, -1.76, None, None, None, None, None)},
}

_ROOT = tempfile.TemporaryDirectory(prefix="pruning-")  # for results without a folder; gone when the process ends


class Made(Record):
    """A record that holds in memory what the real one reads from disk."""

    def history(self) -> dict[str, list[float]]:
        return self.run["made"]["history"]

    def correct(self) -> np.ndarray:
        """The first share of the test images is right, the wrong ones turned round by the run's own offset."""
        size = self.run["dataset"]["sizes"]["test"]
        return (np.arange(size) - self.run["made"]["offset"]) % size < round(self.metrics["test_accuracy"] * size)

    def predictions(self):
        if self.run["made"]["published"]:
            raise UserError(f"record {self.id} was published without its logits; run the study to have them")
        right = self.correct()
        labels = np.arange(len(right)) % len(self.run["dataset"]["classes"])
        top = np.where(right, labels, (labels + 1) % len(self.run["dataset"]["classes"]))
        return np.eye(len(self.run["dataset"]["classes"]), dtype=np.float32)[top], labels

    def groups(self):
        return None

    def scores(self) -> dict[str, np.ndarray] | None:
        made = self.run["made"]
        if made["published"] or made["role"] != "pruned":
            return None
        return scores(self.run["pruning"]["channels"], made["criterion"], made["seed"])


def layers(model: str) -> dict[str, int]:
    """Sets of coupled channels of a network in its order, named by their first layer, with their channels."""
    if model == "resnet50":
        found = {"conv1": 64}
        for stage, (depth, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
            for block in range(depth):
                found |= {f"layer{stage}.{block}.conv{k}": width for k in (1, 2)}
                if block == 0:
                    found[f"layer{stage}.0.conv3"] = 4 * width
        return found
    found, before = {"features.0.0": 48}, 48
    stages = zip((2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448), strict=True)
    for stage, (depth, width) in enumerate(stages, start=1):
        for block in range(depth):
            name, first = f"features.{stage}.{block}.block", stage == 1
            if not first:
                found[f"{name}.0.0"] = 6 * before
            found[f"{name}.{1 if first else 2}.fc1"] = max(1, before // 4)
            if block == 0:
                found[f"{name}.{2 if first else 3}.0"] = width
            before = width
    found["features.8.0"] = 1792
    return found


def scores(channels: dict, criterion: str, seed: int) -> dict[str, np.ndarray]:
    """Raw scores: a part all criteria but random share and a part of their own; coverage lies in 0..1 with both ends
    reached."""
    out = {}
    for k, (name, (before, _)) in enumerate(channels.items()):
        common = np.random.default_rng([7, k, seed]).normal(size=before)
        own = np.random.default_rng([11, k, seed, CRITERIA.index(criterion)]).normal(size=before)
        mixed = own if criterion == "random" else common + 0.7 * own
        out[name] = np.clip(0.5 + 0.4 * mixed, 0, 1) if criterion == "coverage" else np.exp(mixed)
    return out


def pruning_of(model, scope, criterion, ratio, macs, protect, seed) -> dict:
    """`run["pruning"]` of a pruned network: channels, protected layers, counts before and after."""
    random = np.random.default_rng([CRITERIA.index(criterion), round(1000 * (ratio or macs)), seed, int(protect)])
    share = ratio if ratio is not None else 1 - macs
    channels, protected = {}, {"fc" if model == "resnet50" else "classifier.1": "output"}
    for name, before in layers(model).items():
        squeeze = name.endswith(".fc1")
        if squeeze and protect:
            protected[name] = "squeeze-excite"
            channels[name] = [before, before]
            continue
        part = share if scope == "layerwise" else float(np.clip(random.normal(share, 0.6 * share), 0, 0.9))
        left = before - round(part * before)
        channels[name] = [before, max(2, left)]
    if not protect and scope == "global" and criterion != "random":
        squeezes = [name for name in channels if name.endswith(".fc1")]
        for name in squeezes[:2]:  # a bottleneck collapses to two channels
            channels[name][1] = 2
    gone, of = sum(b - a for b, a in channels.values()), sum(b for b, _ in channels.values())
    channels[next(iter(protected))] = [101, 101]
    params = 17_700_000 if model == "efficientnet_b4" else 23_700_000
    kept = macs if macs is not None else 1 - 1.2 * share - 0.01 * CRITERIA.index(criterion)
    return {
        "channels": channels,
        "protected": protected,
        "params": [params, round(params * (1 - 1.5 * gone / of))],
        "macs": [160_000_000, round(160_000_000 * kept)],
        "size_bytes": [4 * params + 500_000, round(4 * params * (1 - 1.5 * gone / of)) + 450_000],
        "removed": [gone, of],
        "calibration": {"batches": 0, "images": 0}
        if criterion in ("magnitude", "random")
        else {"batches": 20, "images": 640},
        "check": {"verdict": "equal", "kept": []},
    }


def study_named(name: str, figures=(), **pruning) -> SimpleNamespace:
    """A pruning study as reporting reads it."""
    model = MODELS[name]
    reported = {row: SimpleNamespace(**dict(zip(_KEYS, given, strict=True))) for row, given in REPORTED[name].items()}
    said = {"model": model, "scope": "layerwise" if name == "ts5" else "global", "criteria": list(CRITERIA)}
    said |= {"ratio": 0.1, "macs": MACS, "protect_se": model == "resnet50", "num_classes": 101, "image_size": 380}
    said["configuration"] = {
        "model": LABELS[model],
        "data": {"en": "Food-101 (75,750 training, 25,250 test images)", "tr": "Food-101 (75.750 eğitim, 25.250 test)"},
        "image_size": "380×380",
        "ratio": {"en": "10%", "tr": "%10"},
        "scope": {"en": "layer-wise", "tr": "katman bazında"} if name == "ts5" else {"en": "global", "tr": "küresel"},
        "steps": 1,
        "epochs": 10,
        "calibration_batches": 100,
    }
    said |= {"reported": reported, **pruning}
    told = {"name": name, "title": {"en": f"Pruning, {name}", "tr": f"Budama, {name}"}, "labels": LABELS, "loss": ""}
    return study_of(figures=figures, **told, pruning=SimpleNamespace(**said), beside=list(BESIDE[name]))


def make_condition(role, model, recipe, seed, *, kd=(None, None, None), **more):
    """A condition with an id of its own."""
    said = {
        "role": role,
        "model": model,
        "recipe": recipe,
        "seed": seed,
        **dict(zip(("T", "alpha", "lam"), kd, strict=True)),
    }
    said |= {"variant": None, "criterion": None, "ratio": None, "macs": None, "protect_se": None, **more}
    id = hashlib.sha256(repr(sorted(said.items(), key=lambda item: item[0])).encode()).hexdigest()[:16]
    return Condition(**said, id=id)


def settings_of(study) -> dict[str, dict]:
    """Which settings a study runs: the report's, the same protected, equal MACs, and the sweep's."""
    spec = study.pruning
    out = {"report": {"ratio": spec.ratio, "macs": None, "protect_se": spec.protect_se}}
    if not spec.protect_se:
        out["protected"] = {"ratio": spec.ratio, "macs": None, "protect_se": True}
    if spec.macs is not None:
        out["macs"] = {"ratio": None, "macs": spec.macs, "protect_se": spec.protect_se}
    for ratio in SWEEP:
        out[f"sweep{ratio}"] = {"ratio": ratio, "macs": None, "protect_se": spec.protect_se}
    return out


def accuracy_of(name: str, role: str, criterion: str | None, setting: str, seed: int) -> float:
    """The test accuracy of a run unless a test says otherwise."""
    shift = SHIFT[name] + 0.002 * seed
    if role == "original":
        return ORIGINAL + SHIFT[name]
    base = FINETUNED[criterion] + shift + {"protected": 0.006, "macs": -0.008}.get(setting, 0.0)
    if setting.startswith("sweep"):
        base -= 0.6 * (float(setting[5:]) - 0.1)
    if role == "pruned":
        ratio = float(setting[5:]) if setting.startswith("sweep") else 0.1
        return max(0.02, base * (1 - 4 * ratio) if criterion != "random" else 0.02)
    return base + (0.012 if role == "distilled" else 0.0) + (0.001 * seed if role == "distilled" else 0.0)


def results(
    tmp_path: Path | None = None,
    study: str = "ts6",
    seeds=(0, 1),
    given: dict | None = None,
    *,
    figures=(),
    settings: tuple[str, ...] | None = None,
    roles: tuple[str, ...] = ("pruned", "finetuned", "distilled"),
    without=(),
    pruned_json: dict | bool = True,
    published: bool = False,
    beside: bool = True,
    profile: str = "quick",
    test_size: int = 1000,
    pruning: dict | None = None,
) -> Results:
    """Results of a pruning study.

    `given` overrides test accuracies (fractions, or a list, one a seed, or None: a run that is not there, or
    {"diverged": ...}): by (role, criterion) at the report's setting, by (role, criterion, setting) elsewhere, by
    "original". `settings` keeps some of "report", "protected", "macs", "sweep"; `without` drops criteria. `pruned_json`
    False leaves that file out, a dict replaces it. `published` records have neither logits nor scores.
    """
    made = study_named(study, figures, **(pruning or {}))
    given, spec = dict(given or {}), made.pruning
    kept = {
        name: where
        for name, where in settings_of(made).items()
        if settings is None or name in settings or (name.startswith("sweep") and "sweep" in settings)
    }
    plan = [(make_condition("original", spec.model, "original", seeds[0]), "original")]
    for seed in seeds:
        for setting, where in kept.items():
            sweeping = setting.startswith("sweep")
            for criterion in (c for c in spec.criteria if c not in without):
                for role in roles:
                    if sweeping and (seed != seeds[0] or role == "distilled"):
                        continue
                    kd = (4.0, 0.5, 0.5) if role == "distilled" else (None, None, None)
                    condition = make_condition(role, spec.model, "finetune", seed, kd=kd, criterion=criterion, **where)
                    plan.append((condition, setting))
    records = {}
    for condition, setting in plan:
        if (found := _wanted(given, condition, setting, seeds)) == "absent":
            continue
        value = (
            accuracy_of(study, condition.role, condition.criterion, setting, condition.seed) if found is None else found
        )
        records[condition.id] = _record(condition, value, spec, published, test_size)
    folder = None
    if tmp_path is not None or pruned_json:
        folder = (tmp_path or Path(tempfile.mkdtemp(dir=_ROOT.name))) / study
        folder.mkdir(parents=True, exist_ok=True)
        if pruned_json:
            found = measured(made, plan, records) if pruned_json is True else pruned_json
            (folder / "pruned.json").write_text(json.dumps(found))
    out = Results(made, [condition for condition, _ in plan], records, profile, folder)
    if beside:
        for other in made.beside:
            more = {"seeds": seeds, "published": published, "beside": False, "profile": profile}
            out.beside[other] = results(tmp_path, other, test_size=test_size, **more)
    return out


def _wanted(given: dict, condition, setting: str, seeds):
    key = "original" if condition.role == "original" else (condition.role, condition.criterion)
    key = key if setting in ("original", "report") else (*key, setting)
    if key not in given:
        return None
    found = given[key]
    if isinstance(found, list):
        found = found[list(seeds).index(condition.seed)]
    return "absent" if found is None else found


def _record(condition, value, spec, published: bool, test_size: int) -> Made:
    diverged = value["diverged"] if isinstance(value, dict) else None
    value = 0.01 if diverged else value
    test = round(value * test_size) / test_size
    loss = float(-np.log(max(test, 0.01)))
    trained = condition.role != "pruned"
    metrics = {"test_accuracy": value, "val_accuracy": value + 0.003, "test_loss": loss, "val_loss": loss}
    metrics |= {"train_accuracy": value + 0.02, "train_loss": loss} if trained else {}
    metrics["epoch"] = EPOCHS if trained else 0
    offset = (
        0
        if condition.criterion is None
        else 5 * CRITERIA.index(condition.criterion) + (3 if condition.role == "distilled" else 0)
    )
    about = {"history": _history(condition, value + 0.003) if trained else {}, "published": published, "offset": offset}
    about |= {"role": condition.role, "criterion": condition.criterion, "seed": condition.seed}
    config = {"seed": condition.seed, "recipe": {"epochs": EPOCHS if trained else 0}}
    run = {"id": condition.id, "config": config, "metrics": metrics, "diverged": diverged, "made": about}
    run["dataset"] = {**copy.deepcopy(DATASET), "sizes": {**DATASET["sizes"], "test": test_size}}
    if condition.role == "original":
        config["recipe"]["epochs"] = 20
        metrics["params"] = 17_700_000 if spec.model == "efficientnet_b4" else 23_700_000
    else:
        asked = {
            "criterion": condition.criterion,
            "ratio": condition.ratio,
            "macs": condition.macs,
            "scope": spec.scope,
            "steps": 1,
        }
        asked |= {
            "round_to": 1,
            "protect_se": condition.protect_se,
            "keep": 2,
            "calibration_batches": 20,
            "batch_size": 32,
        }
        config["pruning"] = asked | {"threshold": 0.0, "norm": 2, "normalise": "mean"}
        asked = (
            spec.model,
            spec.scope,
            condition.criterion,
            condition.ratio,
            condition.macs,
            condition.protect_se,
            condition.seed,
        )
        run["pruning"] = pruning_of(*asked)
        metrics["params"] = run["pruning"]["params"][1]
    return Made(condition.id, Path("/nowhere") / condition.id, run)


def _history(condition, end: float) -> dict[str, list[float]]:
    epochs = range(1, EPOCHS + 1)
    val = [max(0.01, end - 0.1 * np.exp(-epoch) * (epoch < EPOCHS)) for epoch in epochs]
    loss = [float(-np.log(v)) for v in val]
    out = {"epoch": list(map(float, epochs)), "train_objective": loss, "train_loss": loss}
    out |= {"train_accuracy": [v + 0.02 for v in val], "val_loss": loss, "val_accuracy": list(map(float, val))}
    return out | {"lr": [0.001] * EPOCHS, "seconds": [1.0] * EPOCHS}


def measured(study, plan, records) -> dict:
    """`pruned.json`: sizes, thop MACs and latencies of the first seed's models, and the counted structure."""
    spec, first = study.pruning, plan[0][0].seed
    models = []
    for condition, _ in plan:
        if condition.role not in ("original", "pruned") or condition.seed != first or condition.id not in records:
            continue
        if condition.role == "pruned" and condition.macs is None and condition.ratio != spec.ratio:
            continue  # as kdlib.studies.compactness measures them
        pruning = records[condition.id].run.get("pruning") or {"macs": [1, 1], "size_bytes": [68.11 * 2**20] * 2}
        kept, channels = pruning["macs"][1] / pruning["macs"][0], pruning.get("channels", {})
        latency = {
            "1": {"median_ms": 20.0 + 0.1 * len(models), "q1_ms": 19.5, "q3_ms": 20.9},
            "32": {"median_ms": 300.0 * (0.2 + 0.8 * kept), "q1_ms": 298 * (0.2 + 0.8 * kept)}
            | {"q3_ms": 303 * (0.2 + 0.8 * kept)},
        }
        one = {key: getattr(condition, key) for key in ("id", "role", "criterion", "ratio", "macs", "protect_se")}
        one |= {"size_mib": pruning["size_bytes"][1] / 2**20, "latency": latency}
        one |= {"macs_thop": 1.6e8 * kept, "macs_thop_report": 4.61e9 * kept}
        models.append(one | {"odd_channels": sum(after % 2 for _, after in channels.values())})
    structure = [{"scope": None, "protect_se": None, "ratio": None, "size_mib": 68.1095, "macs_thop": 4.6078e9}]
    if spec.model == "efficientnet_b4":
        for protect, size in ((False, 55.339), (True, 56.456)):
            structure.append(
                {"scope": "layerwise", "protect_se": protect, "ratio": 0.1, "size_mib": size, "macs_thop": 3.79e9}
            )
    structure = [{**one, "params": round(one["size_mib"] * 2**18)} for one in structure]
    hardware = {"processor": "Some CPU", "cores": 2, "threads": 1, "gpu": None}
    asked = {"counted": [spec.model, spec.num_classes, 3, spec.image_size, spec.ratio]}
    said = {"asked": asked, "packages": {"torch": "2.6.0", "thop": "0.1.1"}, "hardware": hardware, "device": "cpu"}
    said |= {"image_size": 64, "report_size": spec.image_size, "repeats": 50, "warm_up": 5}
    return {**said, "models": models, "reference": structure}
