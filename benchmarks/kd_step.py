"""One distillation, ResNet18 to Light ResNet18, on all sides: images a second, and the accuracy reached."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks import reference, setting, timing, torchdistill_box
from benchmarks.setting import Asked, Setting
from kdlib.progress import Progress

TITLE = "One student: images a second"
OURS, LOOP, BOX = "kdlib", "plain loop", "torchdistill"
PEERS: dict[str, Callable[[Setting, int], float]] = {LOOP: reference.distill, BOX: torchdistill_box.distill}
NOTES = [
    "Timed: whole runs, with building the model, validation after each epoch and one test at the end, on all sides.",
    "Not timed: reading the images into memory, training the teacher, and a first run of two batches on every side, in "
    "which kdlib also measures whether bf16 is faster than fp32 here.",
    "All sides have the same teacher in eval mode, the same first weights, the same images and as many steps; batch "
    "order and crops are drawn by each side. kdlib pads by reflection, torchvision with zeros.",
    "torchdistill leaves the teacher in the mode it comes in; here it gets one in eval mode. Its examples' logging, "
    "which reads the loss at every step, is left out.",
]


@dataclass(frozen=True)
class Size:
    """How large the bench is: ``images`` include the fifth for validation."""

    images: int = 5000
    test: int = 2000
    epochs: int = 2
    teacher_epochs: int = 4
    rounds: int = 5
    teacher: str = "resnet18_kd"
    student: str = "resnet18_light"
    options: Mapping = field(default_factory=dict)  # of Setting


QUICK = Size(images=640, test=200, epochs=1, teacher_epochs=1, rounds=2)


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time all sides in turns and return the result: settings, a row for each side, ratios, notes."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    dataset = setting.images(asked.root, size.images, size.test)
    names = sides()
    with Progress((rounds + 1) * len(names) + 1, "kd-step") as bar:
        teacher = setting.teacher(size.teacher, dataset, device, size.teacher_epochs)
        bar.advance(1)
        what = Setting(
            dataset, teacher, setting.student(size.student, dataset), device, epochs=size.epochs, **size.options
        )
        reached: dict[str, list[float]] = {name: [] for name in names}
        precisions: set[str] = set()
        for name in names:
            _turn(name, setting.warmed(what), 0, {}, set())
            bar.advance(1)
        contenders = {
            name: lambda name=name: _turn(name, what, len(reached[name]), reached, precisions) for name in names
        }
        found = timing.alternate(contenders, rounds, after=lambda: bar.advance(1))
    return {
        "title": TITLE,
        "setting": what.described()
        | {"teacher": size.teacher, "student": size.student, "rounds": rounds}
        | {"T": what.T, "alpha": what.alpha, "lam": what.lam, "kdlib's precision": ", ".join(sorted(precisions))},
        "rows": [_row(name, found, reached[name]) for name in names],
        "ratios": [{"label": f"one student, against {peer}", **timing.ratio(found, OURS, peer)} for peer in names[1:]],
        "notes": NOTES,
        "left_out": left_out(),
    }


def sides() -> list[str]:
    """Who takes part: kdlib, and the peers that are installed."""
    return [OURS, LOOP, *([BOX] if torchdistill_box.available() else [])]


def left_out() -> list[str]:
    """One line for each peer that is not installed."""
    return [] if torchdistill_box.available() else [torchdistill_box.MISSING]


def _turn(name: str, what: Setting, seed: int, reached: dict[str, list[float]], precisions: set[str]) -> float:
    """Train one student; note its test accuracy; return the number of images it was trained on."""
    if name == OURS:
        outcome = setting.distill(what, [(what.T, what.alpha)], seed)[0]
        precisions.add(outcome.precision)
        accuracy = outcome.metrics["test_accuracy"]
    else:
        accuracy = PEERS[name](what, seed)
    reached.setdefault(name, []).append(accuracy)
    return len(what.dataset.train) * what.epochs


def _row(name: str, found: list[timing.Round], reached: list[float]) -> dict:
    rate = timing.rates(found, name)
    return {
        "side": name,
        "images/s": rate["median"],
        "lowest": rate["min"],
        "highest": rate["max"],
        "seconds a run": timing.seconds(found, name)["median"],
        "test accuracy, mean": statistics.fmean(reached),
        "lowest accuracy": min(reached),
        "highest accuracy": max(reached),
    }
