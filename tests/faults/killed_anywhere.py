"""Kill, stop and double a smoke study's command at seeded moments over its wall time, and call it again:
``killed_anywhere.py FOLDER KILLS whole|training``.

FOLDER/undisturbed is a call that nobody disturbs. FOLDER/kill-K and FOLDER/SIGNAL-TIMES hold ``out``, what the second
call made of what the first left, ``left``, a copy of the records as it left them, and ``codes``, the exit codes of
both. FOLDER/two is made by two calls at once. ``whole`` executes the notebook, ``training`` does not. One import of
torch serves all of them.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from kdlib.cli import main
from kdlib.studies import notebook, prepare
from kdlib.training import Recipe

VALUES = {"teacher": "conv3", "T": "1,10", "alpha": "0.1", "epochs": "3"}
SIGNALS = {"int-1": (signal.SIGINT, 1), "int-2": (signal.SIGINT, 2)}
SIGNALS |= {"term-1": (signal.SIGTERM, 1), "term-2": (signal.SIGTERM, 2)}


def begun(out: Path) -> int:
    child = os.fork()
    if not child:
        values = [word for key, value in VALUES.items() for word in ("--set", f"{key}={value}")]
        place = ["--output-dir", str(out), "--device", "cpu", "--checkpoint-every", "0"]
        with open(out.with_suffix(".log"), "a") as log:
            os.dup2(log.fileno(), 2)
        os._exit(main(["run", "cnn_grid", "--profile", "smoke", *place, *values]))
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def disturbed(place: Path, when: Callable[[Path], None], number: int, times: int = 1) -> None:
    place.mkdir()
    child = begun(place / "out")
    when(place / "out" / "smoke" / "runs")
    for _ in range(times):
        os.kill(child, number)
        time.sleep(0.05)
    code, runs = ended(child), place / "out" / "smoke" / "runs"
    shutil.copytree(runs, place / "left") if runs.is_dir() else (place / "left").mkdir()
    (place / "codes").write_text(f"{code} {ended(begun(place / 'out'))}")


def in_training(runs: Path) -> None:
    """Wait for the first checkpoint."""
    while not any((runs / ".training").glob("*.pt")):
        time.sleep(0.002)


def disturb(folder: Path, kills: int) -> None:
    experiment = prepare({"study": "cnn_grid", "profile": "smoke", "output_dir": str(folder), **VALUES})
    next(iter(experiment.plan.runs.values())).train_flops()
    Recipe().optimiser([torch.nn.Parameter(torch.zeros(1))])  # what torch imports at its first step
    start = time.monotonic()
    assert ended(begun(folder / "undisturbed")) == 0
    wall = time.monotonic() - start
    chance = random.Random(20)
    for k in range(kills):
        seconds = wall * (k + chance.random()) / kills
        disturbed(folder / f"kill-{k}", lambda _, seconds=seconds: time.sleep(seconds), signal.SIGKILL)
    for name, (number, times) in SIGNALS.items():
        disturbed(folder / name, in_training, number, times)
    two = [begun(folder / "two"), begun(folder / "two")]
    (folder / "codes").write_text(" ".join(str(ended(child)) for child in two))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[3] == "training":
        notebook.execute_all = lambda experiments: (0.0 for _ in experiments)
    disturb(Path(sys.argv[1]), int(sys.argv[2]))
