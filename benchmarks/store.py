"""What the store of the teacher's logits gains: a student trained without it, with it empty, and with it full."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import setting, timing
from benchmarks.setting import Asked, Setting
from kdlib import training
from kdlib.progress import Progress

TITLE = "The teacher's logits kept: a student added later"
WITHOUT, EMPTY, FULL = "no store", "store empty", "store full"
NOTES = [
    "A student distilled on augmented images without a store, with an empty one, which it fills, and with a full one, "
    "as a second column, another temperature or loss, or a student added later finds it. All three end alike, in fp32 "
    "to the bit.",
]


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``students``: name, optimiser, rate."""

    images: int = 5000
    test: int = 1000
    epochs: int = 2
    rounds: int = 3
    teacher: str = "resnet18_kd"
    students: tuple = (("resnet18_light", "adam", 0.001), ("cnn2", "sgd", 0.1))
    options: Mapping = field(default_factory=dict)  # of Setting


QUICK = Size(images=320, test=100, epochs=1, rounds=1, students=(("cnn2", "sgd", 0.1),))


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time the three in turns for each student and return the result: settings, rows, ratios, notes."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    dataset = setting.images(asked.root, size.images, size.test)
    teacher = setting.teacher(size.teacher, dataset, device, epochs=0)
    rows, ratios = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(3 * rounds * len(size.students), "store") as bar,
    ):
        for name, optimizer, lr in size.students:
            student, options = setting.student(name, dataset), {"epochs": size.epochs, **size.options}
            what = Setting(dataset, teacher, student, device, optimizer, lr, **options)
            setting.distill(setting.warmed(what), [(what.T, what.alpha)])
            found = timing.alternate(_sides(what, Path(folder)), rounds, after=lambda: bar.advance(1))
            rows += [
                {"student": name, "store": side, "seconds": timing.seconds(found, side)["median"]} for side in found[0]
            ]
            ratios += [
                {"label": f"{name}, {side} against {WITHOUT}", **timing.ratio(found, side, WITHOUT)}
                for side in (EMPTY, FULL)
            ]
    return {
        "title": TITLE,
        "setting": {**what.described(), "teacher": size.teacher, "rounds": rounds, "optimizer": "adam; cnn2: sgd"},
        "rows": rows,
        "ratios": ratios,
        "notes": NOTES,
        "left_out": [],
    }


def _sides(what: Setting, folder: Path) -> dict:
    """Each side trains one student; the full store is filled here, before the clock runs."""

    def store(name: str) -> training.TeacherStore:
        return training.TeacherStore(folder, name, 10**9)

    def trained(store: training.TeacherStore | None) -> int:
        setting.distill(what, [(what.T, what.alpha)], teacher_store=store)
        return len(what.dataset.train) * what.epochs

    def empty() -> int:
        shutil.rmtree(folder / "empty", ignore_errors=True)
        return trained(store("empty"))

    trained(store("full"))
    return {WITHOUT: lambda: trained(None), EMPTY: empty, FULL: lambda: trained(store("full"))}
