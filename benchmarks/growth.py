"""How time and memory grow with the number of students and of images."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import grid, setting, timing
from benchmarks.setting import Asked, Setting
from kdlib.progress import Progress

TITLE = "Growth with students and images"
NOTES = [
    "Each row is a process of its own that reads the images, trains once on a few to have what is done once behind it, "
    "and then trains the sweep for one epoch; with several rounds, the fastest.",
    "Peak memory is what the process grows by during the sweep; the images themselves, there before, are a column of "
    "their own. On CUDA it is that of torch's allocator.",
    "A folder with fewer images than a row asks for is replaced by generated ones.",
]


@dataclass(frozen=True)
class Size:
    """How large the bench is: the numbers of students at ``base`` images, and of images for ``few`` students."""

    students: tuple[int, ...] = (1, 5, 15, 45)
    images: tuple[int, ...] = (1000, 2000, 5000, 10000, 20000, 50000)
    base: int = 2000
    few: int = 5
    test: int = 500
    teacher: str = "resnet18_kd"
    student: str = "cnn2"
    rounds: int = 1


QUICK = Size(students=(1, 5), images=(250, 500), base=250, few=1, test=100)


def run(asked: Asked, size: Size | None = None) -> dict:
    """Run every size in a process of its own and return the result: a row for each."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    if asked.root is not None:
        setting.check_root(asked.root)
    cells = [*((n, size.base) for n in size.students), *((size.few, n) for n in size.images)]
    cells = list(dict.fromkeys(cells))
    rows = []
    with Progress(sum(100 + n * (10 + s) / 100 for s, n in cells), "growth") as bar:
        for students, images in cells:
            found = [
                timing.peak_of(prepared, asked.root, students, images, size, device, torch.get_num_threads())
                for _ in range(rounds)
            ]
            seconds = min(answer[0] for answer, _ in found)
            peaks = [peak for _, peak in found if peak is not None]
            rows.append(_row(students, images, seconds, found[0][0], max(peaks, default=None)))
            bar.advance(100 + images * (10 + students) / 100)
    return {
        "title": TITLE,
        "setting": {
            "teacher": size.teacher,
            "student": size.student,
            "epochs": 1,
            "batch size": 128,
            "device": str(device),
            "rounds": rounds,
        },
        "rows": rows,
        "ratios": [],
        "notes": NOTES,
        "left_out": [],
    }


def prepared(
    root: Path | None, students: int, images: int, size: Size, device: torch.device, threads: int
) -> Callable[[], tuple[float, int, float, str]]:
    """Read the images and warm up; return a function that trains the sweep once.

    It returns seconds, training images, their MB in memory, and the data set's name.
    """
    torch.set_num_threads(threads)
    dataset = setting.images(root, images, size.test)
    teacher = setting.teacher(size.teacher, dataset, device, epochs=0)
    what = Setting(dataset, teacher, setting.student(size.student, dataset), device, optimizer="sgd", lr=0.1)
    setting.distill(setting.warmed(what), grid.GRID[:1])
    megabytes = sum(split.images.nbytes for split in (dataset.train, dataset.val, dataset.test)) / 1e6

    def sweep() -> tuple[float, int, float, str]:
        start = time.perf_counter()
        setting.distill(what, grid.GRID[:students])
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, len(dataset.train), megabytes, dataset.name

    return sweep


def _row(students: int, images: int, seconds: float, answer: tuple, peak: float | None) -> dict:
    _, trained, megabytes, name = answer
    return {
        "students": students,
        "images": images,
        "data": name,
        "seconds": seconds,
        "ms a student and image": 1e3 * seconds / students / trained,
        "peak memory, MB": peak,
        "images in memory, MB": megabytes,
    }
