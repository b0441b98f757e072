"""How near training comes to what the machine can do, and where its time goes."""

import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace

import torch

from benchmarks import grid, setting, watch
from benchmarks.setting import Asked, Setting, Silent
from kdlib import training
from kdlib.profiling import forward_macs
from kdlib.progress import Progress

TITLE = "How near to the machine's limit"
NOTES = [
    "The limit is the fastest of square matrix products of several sizes, in fp32 and in bf16; a share is of the limit "
    "of the precision that the models ran in.",
    "FLOPs are 2 for each multiply-accumulate of convolutions and matrix products, three times as many with the "
    "backward pass. Batch norm, activations, augmentation and optimiser do none by this count but take time, so "
    "100 % is out of reach; shares of small convolutions are lower than those of large ones.",
    "The parts are timed with students that step one after another; the whole is a training as it is, several students "
    "at a time. It counts the FLOPs of teacher, students and evaluation, and all the time of the call.",
]
STUDENT, WHOLE = "student step", "whole"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``sweeps``: name, student, how many students, optimiser, rate."""

    images: int = 2500
    test: int = 500
    teacher: str = "resnet18_kd"
    sweeps: tuple = (
        ("grid", "cnn2", 45, "sgd", 0.1),
        ("kd-step", "resnet18_light", 1, "adam", 0.001),
    )
    sides: tuple[int, ...] = (512, 1024, 2048)
    repeats: int = 10
    rounds: int = 3


QUICK = Size(images=320, test=100, sides=(512, 1024), repeats=3, rounds=1)
# A GPU is not busy with matrices of the sizes above.
CUDA_SIDES = (4096, 8192)


def run(asked: Asked, size: Size | None = None) -> dict:
    """Measure the limit and the trainings; return the result: a row for each training and part of it."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    dataset = setting.images(asked.root, size.images, size.test)
    teacher = setting.teacher(size.teacher, dataset, device, epochs=0)
    sides = size.sides + (CUDA_SIDES if device.type == "cuda" else ())
    rows: list[dict] = []
    with Progress(2 + len(size.sweeps) * rounds, "limit") as bar:
        peaks = {}
        for precision in DTYPES:
            peaks[precision] = matmul_peak(device, precision, sides, size.repeats)
            bar.advance(1)
        for name, model, count, optimizer, lr in size.sweeps:
            what = Setting(dataset, teacher, setting.student(model, dataset), device, optimizer=optimizer, lr=lr)
            rows += _sweep(name, what, grid.GRID[:count], peaks, rounds, bar)
    return {
        "title": TITLE,
        "setting": {
            **what.described(),
            "teacher": size.teacher,
            "rounds": rounds,
            "optimizer": "; ".join(f"{s[0]}: {s[3]}" for s in size.sweeps),
            **{f"matrix products, {p}, GFLOP/s": round(v / 1e9, 1) for p, v in peaks.items()},
        },
        "rows": rows,
        "ratios": [],
        "notes": NOTES,
        "left_out": [],
    }


def matmul_peak(device: torch.device, precision: str, sides: tuple[int, ...], repeats: int) -> float:
    """Return the highest FLOP/s of square matrix products over sizes and repeats."""
    best = 0.0
    for side in sides:
        a, b = (torch.randn(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))
        torch.matmul(a, b)
        for _ in range(repeats):
            _wait(device)
            start = time.perf_counter()
            torch.matmul(a, b)
            _wait(device)
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def _sweep(name: str, what: Setting, points: tuple, peaks: dict[str, float], rounds: int, bar: Progress) -> list[dict]:
    """Train a few times, watched; return the parts' rows of the round of median time."""
    shape = what.dataset.shape
    macs = {watch.TEACHER: forward_macs(what.teacher, shape), watch.FORWARD: forward_macs(what.student, shape)}
    macs[watch.EVALUATION] = macs[watch.FORWARD]
    seen = replace(
        what,
        teacher=watch.Watched(what.teacher, watch.TEACHER),
        student=watch.Watched(what.student, watch.FORWARD),
    )
    jobs = [replace(job, loss=watch.WatchedLoss(**vars(job.loss))) for job in setting.jobs(seen, points)]
    options = {"device": what.device.type, "progress": Silent()}
    # The choice of precision is made once in a process, and is no part of a training.
    training.distill(seen.teacher, jobs[:1], setting.warmed(seen).dataset, **options)
    found, whole = [], []
    for _ in range(rounds):
        with watch.watching(what.device) as clock:
            start = clock.now()
            training.distill(seen.teacher, jobs, what.dataset, **options)
            found.append((clock.now() - start, clock))
            start = clock.now()
        setting.distill(what, points)
        whole.append(clock.now() - start)
        bar.advance(1)
    total, clock = sorted(found, key=lambda pair: pair[0])[len(found) // 2]
    steps = (watch.FORWARD, watch.LOSS, watch.BACKWARD, watch.STEP)
    spent = {part: clock.seconds[part] for part in watch.PARTS}
    spent |= {"rest": total - sum(spent.values()), STUDENT: sum(spent[part] for part in steps)}
    work = _work(clock, macs)
    rows = [_row(name, part, seconds, total, work.get(part, {}), peaks) for part, seconds in spent.items()]
    median = statistics.median(whole)
    return [*rows, _row(name, WHOLE, median, median, work[WHOLE], peaks)]


def _work(clock: watch.Clock, macs: dict[str, int]) -> dict[str, Counter[str]]:
    """Return FLOPs by part and precision; a student's step goes forward and, at twice the cost, backward."""
    found: dict[str, Counter[str]] = {part: Counter() for part in (*macs, STUDENT, WHOLE)}
    for (part, precision), images in clock.images.items():
        flops = 2 * macs[part] * images
        found[part][precision] += flops
        if part == watch.FORWARD:
            flops *= 3
            found[STUDENT][precision] += flops
        found[WHOLE][precision] += flops
    return found


def _row(name: str, part: str, seconds: float, total: float, work: dict[str, int], peaks: dict[str, float]) -> dict:
    at_limit = sum(flops / peaks[precision] for precision, flops in work.items())
    return {
        "training": name,
        "part": part,
        "seconds": seconds,
        "share of time": seconds / total,
        "GFLOP/s": sum(work.values()) / seconds / 1e9 if work else None,
        "share of limit": at_limit / seconds if work else None,
        # Looks at single images in fp32 before a training are no part of what it ran in.
        "precision": ", ".join(sorted(p for p, flops in work.items() if flops > 0.02 * sum(work.values()))),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
