"""A study killed at the worst moments goes on from there, and ends as if nothing had happened."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_study import assert_complete, assert_same_record, shown, small_plan

from kdlib.studies import records, runner
from kdlib.training import learner

SCENARIOS = ("in_mid_write", "in_mid_group", "after_an_epoch", "between_epochs", "at_any_time")


def _wait_for(condition, process) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the child ended before it could be killed"
        assert time.monotonic() < end, "the child never came to where it is to be killed"
        time.sleep(0.002)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A folder with one folder a scenario, as SIGKILL left it."""
    folder = tmp_path_factory.mktemp("killed")
    here = Path(__file__)
    command = [sys.executable, str(here.with_name("killed.py")), str(here.parents[1]), str(folder), *SCENARIOS]
    process = subprocess.Popen(command, env={**os.environ, "KDLIB_TEXT_PROGRESS": "1000"})
    try:
        for name in reversed(SCENARIOS):
            place = folder / name
            _wait_for(lambda: (place / "ready").exists() and _text(place / "pid"), process)  # noqa: B023
            if name == "at_any_time":
                _wait_for(lambda: shown(place / "runs"), process)  # noqa: B023
            with contextlib.suppress(ProcessLookupError):  # at any time, also when it has just ended
                os.kill(int(_text(place / "pid")), signal.SIGKILL)
        # it ends when it has seen the end of all of its children
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    return folder


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed") / "runs"
    runner.execute(small_plan(tiny), runs, "cpu")
    return runs


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_half_looks_finished(killed, scenario):
    runs = killed / scenario / "runs"
    assert_complete(runs)
    half = {path.name for path in runs.iterdir()} - shown(runs)
    assert all(name.startswith((".half-", ".training", ".teachers")) for name in half)
    assert {record.id for record in records.read_all(runs)} == shown(runs)


def test_the_scenarios_are_what_they_say(killed, tiny):
    teacher = next(condition.id for condition in small_plan(tiny).conditions if condition.role == "teacher")
    for name in ("in_mid_group", "after_an_epoch", "between_epochs"):
        assert shown(killed / name / "runs") == {teacher}
        (checkpoint,) = (killed / name / "runs" / ".training").glob("*.pt")
        state = torch.load(checkpoint, weights_only=True)
        assert (state["epoch"], state["batch"]) == (1, 0)
        assert len(state["runs"]) == 5
    runs = killed / "in_mid_write" / "runs"
    assert len(shown(runs)) == 2
    (half,) = {path for path in runs.iterdir() if path.name.startswith(".half-")}
    assert (half / "model.safetensors").exists()
    assert not (half / "run.json").exists()
    assert shown(killed / "at_any_time" / "runs") >= {teacher}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_next_call_goes_on_and_ends_the_same(killed, undisturbed, tiny, scenario, monkeypatch):
    runs = killed / scenario / "runs"
    kept = {path: path.stat().st_mtime_ns for name in shown(runs) for path in (runs / name).iterdir()}
    trained = []
    inner = runner.train

    def spy(jobs, *words, **options):
        trained.extend(jobs)
        return inner(jobs, *words, **options)

    monkeypatch.setattr(runner, "train", spy)
    found = small_plan(tiny)
    there = shown(runs)
    began = {}
    step = learner.Learner.step

    def first_step(self, *batch):
        began.setdefault(self.job.id, self.steps_taken)
        step(self, *batch)

    monkeypatch.setattr(learner.Learner, "step", first_step)
    runner.execute(found, runs, "cpu")
    # only what was missing, from the checkpoint, and what was left half is swept away
    assert len(trained) == len(found.runs) - len(there)
    assert {path.name for path in runs.iterdir()} == {*found.runs, ".teachers"}
    if scenario in ("in_mid_group", "after_an_epoch", "between_epochs"):
        assert set(began.values()) == {3}
    assert_complete(runs)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    for id in found.runs:
        assert_same_record(records.read(runs, id), records.read(undisturbed, id))
