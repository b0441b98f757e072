"""SIGKILL, Ctrl-C and SIGTERM at any moment of a study, and two calls at once: what was finished is kept, nothing half
is shown, and the next call ends as if nothing had happened.

Three kills over the training here; KDLIB_KILLS=20 spreads twenty over the whole command, notebook and all.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_study import assert_complete, assert_same_record, shown

from kdlib.studies import records

KILLS = int(os.environ.get("KDLIB_KILLS", "0"))
# Ctrl-C and SIGTERM end at a checkpoint; the second one ends the process, SIGTERM by the system's own hand.
CODES = {"int-1": {130}, "int-2": {130}, "term-1": {143}, "term-2": {143, -15}}


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("disturbed")
    script, how = Path(__file__).with_name("killed_anywhere.py"), "whole" if KILLS else "training"
    quiet = {"KDLIB_TEXT_PROGRESS": "1000", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, str(script), str(folder), str(KILLS or 3), how]
    subprocess.run(command, env={**os.environ, **quiet}, check=True, stdout=subprocess.DEVNULL)
    return folder


def assert_as_undisturbed(out: Path, undisturbed: Path) -> None:
    runs, theirs = (folder / "smoke" / "runs" for folder in (out, undisturbed))
    assert {path.name for path in runs.iterdir()} - {".training"} == {*shown(theirs), ".teachers"}
    # A checkpoint that a kill left half written goes an hour later.
    assert all(re.fullmatch(r"\.\w+\.pt\.[0-9a-f]{8}", path.name) for path in (runs / ".training").glob("*"))
    assert_complete(runs)
    for id in shown(theirs):
        assert_same_record(records.read(runs, id), records.read(theirs, id))
    study, whole = runs.parent / "cnn_grid", theirs.parent / "cnn_grid"
    assert records.read_conditions(study)[0] == records.read_conditions(whole)[0]
    half = {path.name for path in study.iterdir() if path.name[0] == "."}
    assert all(re.fullmatch(r"\.notebook\.en\.\d+\.half\.ipynb|\.[\w.]+\.[0-9a-f]{8}", name) for name in half)
    assert {path.name for path in study.iterdir()} - half == {path.name for path in whole.iterdir()}


def assert_nothing_half(left: Path, out: Path) -> None:
    assert_complete(left)
    kept = [path.relative_to(left) for name in shown(left) for path in (left / name).iterdir()]
    runs = out / "smoke" / "runs"
    assert all((runs / path).stat().st_mtime_ns == (left / path).stat().st_mtime_ns for path in kept)


@pytest.mark.parametrize("kill", range(KILLS or 3))
def test_a_killed_study_goes_on_and_ends_the_same(disturbed, kill):
    place = disturbed / f"kill-{kill}"
    assert (place / "codes").read_text() in ("-9 0", "0 0")
    assert_nothing_half(place / "left", place / "out")
    assert_as_undisturbed(place / "out", disturbed / "undisturbed")


@pytest.mark.parametrize("name", CODES)
def test_a_signal_once_or_twice_ends_the_command_and_loses_nothing(disturbed, name):
    place = disturbed / name
    first, second = map(int, (place / "codes").read_text().split())
    assert first in CODES[name]
    assert second == 0
    said = (place / "out.log").read_text()
    assert "Traceback" not in said
    assert (
        first == -15 or len(re.findall(r"^kdlib: (?:stopped|interrupted).*; go on from there with:", said, re.M)) == 1
    )
    assert_nothing_half(place / "left", place / "out")
    assert_as_undisturbed(place / "out", disturbed / "undisturbed")


def test_two_calls_at_once_in_one_folder_both_end_well(disturbed):
    assert (disturbed / "codes").read_text() == "0 0"
    assert "Traceback" not in (disturbed / "two.log").read_text()
    assert_as_undisturbed(disturbed / "two", disturbed / "undisturbed")
