"""Long runs as a user and a scheduler have them: a time limit, signals, and the same command again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kdlib.cli import main
from kdlib.studies import records, runner
from kdlib.studies.experiment import prepare

ASKED = {"study": "cnn_grid", "profile": "smoke", "teacher": "conv3", "T": "1", "alpha": "0.1", "epochs": "40"}


def command(out, **values) -> list[str]:
    flat = {"epochs": ASKED["epochs"], "teacher": "conv3", "T": "1", "alpha": "0.1", **values}
    asked = [word for key, value in flat.items() for word in ("--set", f"{key}={value}")]
    return ["run", "cnn_grid", "--profile", "smoke", "--output-dir", str(out), "--device", "cpu", *asked]


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--stop-after", "soon"), ("--checkpoint-every", "5"), ("--teacher-store", "2 potatoes"), ("--stop-after", "-5m")],
)
def test_amounts_want_a_unit(flag, value, tmp_path, capsys):
    assert main([*command(tmp_path / "out"), f"{flag}={value}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"kdlib: {flag} {value}: say a number with a unit (")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "units", "amount"),
    [("150m", "times", 9000), ("1.5h", "times", 5400), ("30s", "times", 30), ("0", "times", 0), ("2GB", "sizes", 2e9)],
)
def test_amounts(value, units, amount):
    from kdlib import cli

    assert cli._amount("x", value, cli._TIMES if units == "times" else cli._SIZES) == amount


def test_a_time_that_is_over_ends_with_75_and_says_how_to_go_on(tmp_path, capsys):
    assert main([*command(tmp_path / "out"), "--stop-after", "0s"]) == 75
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("kdlib: stopped before study cnn_grid; go on from there with: kdlib run cnn_grid --profile")
    assert error.endswith("--stop-after 0s")


def _wait_for(condition, process) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    experiment = prepare({**ASKED, "output_dir": str(tmp_path_factory.mktemp("undisturbed"))})
    return runner.execute(experiment.plan, experiment.runs_folder, "cpu")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_at_a_checkpoint_and_the_same_command_goes_on(tmp_path, undisturbed, number):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "kdlib.cli", *command(out), "--checkpoint-every", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    training = out / "smoke" / "runs" / ".training"
    _wait_for(lambda: any(training.glob("*.pt")), process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = error.strip().splitlines()[-1]
    assert last.startswith("kdlib: stopped in epoch ")
    assert last.endswith("--checkpoint-every 0")
    assert "Traceback" not in error
    assert len(list(training.glob("*.pt"))) == 1
    experiment = prepare({**ASKED, "output_dir": str(out)})
    found = runner.execute(experiment.plan, experiment.runs_folder, "cpu")
    assert not training.exists()
    for id, record in found.items():
        assert record.metrics == undisturbed[id].metrics
        assert (record.predictions()[0] == undisturbed[id].predictions()[0]).all()
        assert len(record.history()["epoch"]) == 40
    assert {record.id for record in records.read_all(experiment.runs_folder)} == set(found)


def test_sigterm_outside_of_a_training_is_ctrl_c(tmp_path, capsys, monkeypatch):
    from kdlib import studies

    def slow(parameters):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(studies, "prepare", slow, raising=False)
    assert main(command(tmp_path / "out")) == 128 + signal.SIGTERM
    assert "kdlib: interrupted; go on from there with: kdlib run" in capsys.readouterr().err
