"""A whole grid of students: kdlib trains them in lockstep, the others one after another."""

from dataclasses import dataclass, field
from itertools import product

from benchmarks import kd_step, setting, timing
from benchmarks.kd_step import OURS, PEERS
from benchmarks.setting import Asked, Setting
from kdlib.progress import Progress

TITLE = "A grid of students of one teacher: students × images a second"
# The points of the alpha × T grid report: 45.
GRID = tuple(product((1, 2.5, 5, 7.5, 10, 20, 30, 40, 50), (0.1, 0.25, 0.5, 0.75, 0.9)))
NOTES = [
    "kdlib trains all students over one pass of the images, which are augmented once for all and shown to the teacher "
    "once for all. The others have a whole run for each student; a few are timed, and stand for all of them.",
    "The loss of all sides is alpha · T² · KL + (1 - alpha) · cross-entropy, the rate is constant: what a step costs "
    "does not depend on T, alpha or the rate.",
    *kd_step.NOTES[:2],
]


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``timed``: students of the others that are timed and stand for all."""

    images: int = 2500
    test: int = 1000
    epochs: int = 1
    rounds: int = 3
    timed: int = 2
    points: tuple = GRID
    teacher: str = "resnet18_kd"
    student: str = "cnn2"
    options: dict = field(default_factory=lambda: {"optimizer": "sgd", "lr": 0.1})  # of Setting


QUICK = Size(images=320, test=100, rounds=2, timed=1)


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time all sides in turns and return the result: settings, a row for each side, ratios, notes."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    dataset = setting.images(asked.root, size.images, size.test)
    # What a teacher knows changes no time.
    teacher = setting.teacher(size.teacher, dataset, device, epochs=0)
    what = Setting(dataset, teacher, setting.student(size.student, dataset), device, epochs=size.epochs, **size.options)
    names, count = kd_step.sides(), len(size.points)
    seen = len(dataset.train) * size.epochs

    def turn(name: str, what: Setting, points: tuple, timed: int) -> int:
        if name == OURS:
            setting.distill(what, points)
            return len(points) * seen
        for seed in range(timed):
            PEERS[name](what, seed)
        return timed * seen

    with Progress((rounds + 1) * len(names), "grid") as bar:
        for name in names:
            turn(name, setting.warmed(what), size.points[:2], 1)
            bar.advance(1)
        contenders = {name: lambda name=name: turn(name, what, size.points, size.timed) for name in names}
        found = timing.alternate(contenders, rounds, after=lambda: bar.advance(1))
    return {
        "title": TITLE,
        "setting": what.described()
        | {"teacher": size.teacher, "student": size.student, "students": count, "rounds": rounds},
        "rows": [_row(name, found, count * seen, count if name == OURS else size.timed) for name in names],
        "ratios": [
            {"label": f"{count} students, against {peer}", **timing.ratio(found, OURS, peer)} for peer in names[1:]
        ],
        "notes": NOTES,
        "left_out": kd_step.left_out(),
    }


def _row(name: str, found: list[timing.Round], work: int, timed: int) -> dict:
    rate = timing.rates(found, name)
    return {
        "side": name,
        "students × images/s": rate["median"],
        "lowest": rate["min"],
        "highest": rate["max"],
        "students timed": timed,
        "seconds for the grid": work / rate["median"],
    }
