"""Kill a smoke study with SIGKILL at seeded moments over its wall time, and call it again:
``killed_anywhere.py FOLDER KILLS whole|training``.

FOLDER/undisturbed is a call that nobody kills; FOLDER/K holds ``out``, what the second call made of what the kill
left, ``left``, a copy of the records as it left them, and ``code``, the second call's exit code. ``whole`` runs the
command with its notebook, ``training`` its runs alone. One import of torch serves all of them.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from kdlib.cli import main
from kdlib.studies import notebook, prepare, runner
from kdlib.training import Recipe

VALUES = {"teacher": "conv3", "T": "1,10", "alpha": "0.1,0.9", "epochs": "4"}
ASKED = {"study": "cnn_grid", "profile": "smoke", "device": "cpu", **VALUES}


def call(out: Path, whole: bool) -> int:
    if not whole:
        prepare({**ASKED, "output_dir": str(out)}).run(runner.Options(checkpoint_every=0))
        return 0
    values = [word for key, value in VALUES.items() for word in ("--set", f"{key}={value}")]
    place = ["--output-dir", str(out), "--device", "cpu", "--checkpoint-every", "0"]
    return main(["run", "cnn_grid", "--profile", "smoke", *place, *values])


def begun(out: Path, whole: bool) -> int:
    child = os.fork()
    if not child:
        os._exit(call(out, whole))
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_all(folder: Path, kills: int, whole: bool) -> None:
    experiment = prepare({**ASKED, "output_dir": str(folder / "undisturbed")})
    next(iter(experiment.plan.runs.values())).train_flops()
    Recipe().optimiser([torch.nn.Parameter(torch.zeros(1))])  # what torch imports at its first step
    start = time.monotonic()
    assert ended(begun(folder / "undisturbed", whole)) == 0
    wall = time.monotonic() - start
    chance = random.Random(20)
    for k in range(kills):
        place = folder / str(k)
        place.mkdir()
        child = begun(place / "out", whole)
        time.sleep(wall * (k + chance.random()) / kills)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        runs = place / "out" / "smoke" / "runs"
        shutil.copytree(runs, place / "left") if runs.is_dir() else (place / "left").mkdir()
        (place / "code").write_text(str(ended(begun(place / "out", whole))))


if __name__ == "__main__":
    torch.set_num_threads(1)
    notebook.find("01_kd_sweep")
    kill_all(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "whole")
