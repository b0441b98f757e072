"""SIGKILL at any moment of a study: what was finished is kept, nothing half is shown, and the next call ends the same.

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


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    script, how = Path(__file__).with_name("killed_anywhere.py"), "whole" if KILLS else "training"
    quiet = {"KDLIB_TEXT_PROGRESS": "1000", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, str(script), str(folder), str(KILLS or 3), how]
    subprocess.run(command, env={**os.environ, **quiet}, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.mark.parametrize("kill", range(KILLS or 3))
def test_a_killed_study_goes_on_and_ends_the_same(killed, kill):
    left, runs = killed / str(kill) / "left", killed / str(kill) / "out" / "smoke" / "runs"
    undisturbed = killed / "undisturbed" / "smoke" / "runs"
    assert_complete(left)
    assert shown(left) <= shown(undisturbed)
    assert (killed / str(kill) / "code").read_text() == "0"
    kept = [path.relative_to(left) for name in shown(left) for path in (left / name).iterdir()]
    assert all((runs / path).stat().st_mtime_ns == (left / path).stat().st_mtime_ns for path in kept)
    assert {path.name for path in runs.iterdir()} == {*shown(undisturbed), ".teachers"}
    for id in shown(undisturbed):
        assert_same_record(records.read(runs, id), records.read(undisturbed, id))
    study = runs.parent / "cnn_grid"
    theirs = undisturbed.parent / "cnn_grid"
    assert records.read_conditions(study)[0] == records.read_conditions(theirs)[0]
    half = {path.name for path in study.iterdir() if path.name[0] == "."}
    assert all(re.fullmatch(r"\.notebook\.en\.\d+\.half\.ipynb|\.[\w.]+\.\d+", name) for name in half)
    assert {path.name for path in study.iterdir()} - half == {path.name for path in theirs.iterdir()}
