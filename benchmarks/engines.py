"""What several workers gain, and what Ray costs: one sweep in this process, in processes of their own, and on Ray."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import timing
from benchmarks.setting import Asked
from kdlib.progress import Progress
from kdlib.studies import runner
from kdlib.studies.experiment import Experiment, prepare
from kdlib.studies.plan import Plan

TITLE = "Workers: the same sweep by one and by two"
ALONE, PROCESSES, RAY = "one process, one thread", "two processes", "Ray, two workers"
WIDE, RAY_WIDE = "one process, two threads", "Ray, one worker of two threads"
SIDES = {
    ALONE: {"threads": 1},
    PROCESSES: {"jobs": 2, "threads": 1},
    RAY: {"engine": "ray", "threads": 1},
    WIDE: {"threads": 2},
    RAY_WIDE: {"engine": "ray", "threads": 2},
}
NOTES = [
    "Students of one trained teacher and themselves alone, over three seeds, in fp32 on the CPU. The start of worker "
    "processes is timed, that of the Ray cluster (two CPUs of this machine) is not.",
]


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``asked``: parameters of study tr_kd."""

    rounds: int = 3
    sides: tuple[str, ...] = tuple(SIDES)
    asked: tuple = (("train_size", 1000), ("epochs", 2), ("T", "1,2,3,4"), ("alpha", "0.5"))


QUICK = Size(rounds=1, asked=(("train_size", 160), ("epochs", 1), ("T", "1,2"), ("alpha", "0.5")))


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time the sides in turns and return the result: settings, rows, ratios, notes."""
    size, rounds, _ = asked.sized(size, Size(), QUICK)
    there = bool(find_spec("ray"))
    sides = [name for name in size.sides if there or "engine" not in SIDES[name]]
    with (
        tempfile.TemporaryDirectory() as folder,
        _cluster(any("engine" in SIDES[name] for name in sides)),
        Progress(rounds * len(sides), "engines") as bar,
    ):
        first = _experiment(asked, size, Path(folder) / "teacher")
        plan, same = first.plan, {}
        teachers = {id: run for id, run in plan.runs.items() if run.role == "teacher"}
        runner.execute(Plan([], teachers), first.runs_folder, "cpu", runner.Options(teacher_store=0))

        def trained(name: str) -> int:
            experiment = _experiment(asked, size, Path(folder) / "sweep")
            shutil.rmtree(experiment.parameters.root, ignore_errors=True)
            shutil.copytree(first.runs_folder, experiment.runs_folder)
            found = runner.execute(experiment.plan, experiment.runs_folder, "cpu", runner.Options(**SIDES[name]))
            same[name] = {id: record.run["files"]["model.safetensors"] for id, record in found.items()}
            return len(found) - len(teachers)

        contenders = {name: lambda name=name: trained(name) for name in sides}
        found = timing.alternate(contenders, rounds, after=lambda: bar.advance(1))
    twin = {PROCESSES: ALONE, RAY: ALONE, RAY_WIDE: WIDE}
    pairs = [(name, other) for name, other in twin.items() if {name, other} <= set(sides)]
    equal = {name: same[name] == same[other] for name, other in pairs}
    return {
        "title": TITLE,
        "setting": {"study": "tr_kd", **dict(size.asked), "runs": len(plan.runs) - len(teachers), "rounds": rounds},
        "rows": [
            {
                "side": name,
                "seconds": timing.seconds(found, name)["median"],
                "weights": {None: "-", True: "equal to the bit", False: "other"}[equal.get(name)],
            }
            for name in sides
        ],
        "ratios": [{"label": f"{name}, against {other}", **timing.ratio(found, name, other)} for name, other in pairs],
        "notes": NOTES,
        "left_out": [] if there else ["Ray is not installed: pip install 'kdlib[scale]'."],
    }


def _experiment(asked: Asked, size: Size, folder: Path) -> Experiment:
    said = {"data_root": str(asked.root), "profile": "reduced"} if asked.root else {"profile": "quick"}
    said |= {"study": "tr_kd", "students": "resnet18_light", "seeds": "0,1,2", "teacher_epochs": 1, "test_size": 200}
    return prepare({**said, **dict(size.asked), "precision": "fp32", "device": "cpu", "output_dir": str(folder)})


@contextmanager
def _cluster(wanted: bool) -> Iterator[None]:
    """A Ray cluster of two CPUs of this machine, where one is wanted."""
    if not wanted:
        yield
        return
    import ray

    ray.init(num_cpus=2, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()
