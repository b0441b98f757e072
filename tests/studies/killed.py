"""Run the small study in child processes that never finish: ``killed.py TESTS FOLDER SCENARIO...``.

Each child writes its process id to FOLDER/SCENARIO/pid, and a file ``ready`` beside it once it stands where it is to
be killed. One import of torch serves all of them.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from small_study import small_plan

from kdlib.studies import runner
from kdlib.training import Checkpoints, Recipe, learner


def stand_still(folder: Path) -> None:
    (folder / "ready").touch()
    time.sleep(600)


def in_mid_write(folder: Path) -> None:
    """Stand still while the third record is written: the teacher and a student are there."""
    inner, calls = np.savez_compressed, []

    def save(*words, **arrays):
        calls.append(1)
        if len(calls) == 3:
            stand_still(folder)
        inner(*words, **arrays)

    np.savez_compressed = save


def in_mid_group(folder: Path) -> None:
    """Stand still while the students are in their second epoch: the teacher is there."""
    inner = learner.Learner.close_epoch

    def close_epoch(self, *numbers):
        if self.job.loss and self.history:
            stand_still(folder)
        inner(self, *numbers)

    learner.Learner.close_epoch = close_epoch


def after_an_epoch(folder: Path) -> None:
    """Stand still in the students' second epoch, of which two are trained, after a checkpoint of the first."""
    inner, calls = learner.Learner.step, []

    def step(self, *batch):
        calls.append(self.steps_taken)
        if self.job.loss and calls.count(4) == 2:  # the second student is about to take its fifth step of six
            stand_still(folder)
        inner(self, *batch)

    learner.Learner.step = step


def between_epochs(folder: Path) -> None:
    """Stand still where the first epoch's checkpoint has just been written."""
    inner = Checkpoints.save

    def save(self, ids, state):
        inner(self, ids, state)
        if len(ids) > 1:
            stand_still(folder)

    Checkpoints.save = save


def at_any_time(folder: Path) -> None:
    """Go on: the parent kills it when it sees the first record."""
    (folder / "ready").touch()


def main(tests: str, folder: Path, names: list[str]) -> None:
    sys.path.insert(0, tests)
    from conftest import make_dataset

    plan = small_plan(make_dataset())
    # What torch imports when it first counts and when it first steps, once for all children.
    next(iter(plan.runs.values())).train_flops()
    Recipe().optimiser([torch.nn.Parameter(torch.zeros(1))])
    for name in names:
        place = folder / name
        place.mkdir()
        child = os.fork()
        if not child:
            globals()[name](place)
            runner.execute(plan, place / "runs", "cpu", runner.Options(checkpoint_every=0))
            os._exit(0)
        (place / "pid").write_text(str(child))
    for _ in names:
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
