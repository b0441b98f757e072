"""Records: complete or not there, read back as they were written."""

import json
import os
import platform
import subprocess

import numpy as np
import pytest
import torch

from kdlib.errors import UserError
from kdlib.studies import records
from kdlib.studies.records import Condition
from kdlib.training import Outcome

FILES = {"history.csv", "model.safetensors", "predictions.npz", "run.json"}


def outcome(**changes) -> Outcome:
    values = {
        "state": {"w": torch.tensor([[1.5, -2.0]]), "n": torch.tensor(7)},
        "history": [{"epoch": 1, "val_loss": 0.1 + 0.2, "lr": 1e-3}, {"epoch": 2, "val_loss": 1 / 3, "lr": 1e-4}],
        "logits": torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0.0, 1.0, 0.0]]),
        "labels": torch.tensor([2, 1, 1]),
        "metrics": {"test_accuracy": 2 / 3, "epoch": 2, "params": 3},
        "diverged": None,
        "precision": "fp32",
        "seconds": 1.25,
        "group_size": 3,
        "group_seconds": 3.5,
    }
    return Outcome(**{**values, **changes})


CONFIG = {"model": "m", "seed": 4}


def write(folder, id="abc", **changes):
    return records.write(folder, id, CONFIG, outcome(**changes), {"train_flops": 99, "device": "cpu"})


def test_what_was_written_is_read_back(tmp_path):
    write(tmp_path / "runs")
    found = records.read(tmp_path / "runs", "abc")
    assert found.metrics == {"test_accuracy": 2 / 3, "epoch": 2, "params": 3}
    assert found.diverged is None
    # floats survive to the last digit
    assert found.history() == {"epoch": [1, 2], "val_loss": [0.1 + 0.2, 1 / 3], "lr": [1e-3, 1e-4]}
    logits, labels = found.predictions()
    assert (logits.dtype, labels.dtype) == (np.float32, np.int64)
    assert logits.tolist() == [[1, 2, 3], [3, 2, 1], [0, 1, 0]]
    assert labels.tolist() == [2, 1, 1]
    assert found.correct().tolist() == [True, False, True]
    weights = found.weights()
    assert torch.equal(weights["w"], torch.tensor([[1.5, -2.0]]))
    assert torch.equal(weights["n"], torch.tensor(7))


def test_run_json_says_what_made_it(tmp_path):
    write(tmp_path)
    run = json.loads((tmp_path / "abc" / "run.json").read_text())
    assert (run["id"], run["config"], run["precision"], run["seconds"]) == ("abc", CONFIG, "fp32", 1.25)
    assert (run["group"], run["train_flops"], run["device"]) == ({"size": 3, "seconds": 3.5}, 99, "cpu")
    assert torch.__version__.startswith(run["packages"]["torch"])
    assert run["hardware"]["cores"] == os.cpu_count()
    assert set(run["code"]) == {"kdlib", "commit", "changed"}


def test_a_record_is_four_files_and_nothing_else_lies_about(tmp_path):
    write(tmp_path)
    assert {path.name for path in (tmp_path / "abc").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_a_diverged_run_keeps_its_nans(tmp_path):
    gone = {"reason": "the loss became NaN or infinite", "epoch": 1}
    nan, inf = float("nan"), float("inf")
    write(
        tmp_path,
        diverged=gone,
        metrics={"test_loss": nan},
        history=[{"epoch": 1, "val_loss": nan, "train_loss": inf}],
        logits=torch.full((3, 3), nan),
    )
    found = records.read(tmp_path, "abc")
    assert found.diverged == gone
    assert np.isnan(found.metrics["test_loss"])
    assert np.isnan(found.history()["val_loss"][0])
    assert found.history()["train_loss"] == [inf]
    assert np.isnan(found.predictions()[0]).all()


def test_there_is_no_record_where_none_was_written(tmp_path):
    assert records.read(tmp_path / "runs", "abc") is None
    assert records.read_all(tmp_path / "runs") == []
    assert not (tmp_path / "runs").exists()


# Atomic


@pytest.mark.parametrize(
    "fails", ["numpy.savez_compressed", "safetensors.torch.save_file", "kdlib.studies.records.code"]
)
def test_a_write_that_fails_leaves_no_record(tmp_path, monkeypatch, fails):
    def full(*_, **__):
        raise OSError("no space left on device")

    write(tmp_path, "before")
    monkeypatch.setattr(fails, full)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path)
    assert records.read(tmp_path, "abc") is None
    assert [record.id for record in records.read_all(tmp_path)] == ["before"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["before"]
    # the next try is not in its way
    monkeypatch.undo()
    assert write(tmp_path).metrics["epoch"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"abc", "before"}


def test_run_json_is_written_last(tmp_path, monkeypatch):
    seen = []
    inner = records.write_text

    def spy(path, text):
        seen.append({file.name for file in path.parent.iterdir()})
        inner(path, text)

    monkeypatch.setattr(records, "write_text", spy)
    write(tmp_path)
    assert seen == [FILES - {"run.json"}]


def test_the_first_of_two_writers_wins(tmp_path):
    write(tmp_path)
    found = write(tmp_path, metrics={"test_accuracy": 0.0})
    assert found.metrics["test_accuracy"] == 2 / 3
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_a_folder_without_run_json_is_no_record_and_gives_way_to_one(tmp_path):
    write(tmp_path)
    (tmp_path / "abc" / "run.json").unlink()
    assert records.read(tmp_path, "abc") is None
    assert records.read_all(tmp_path) == []
    assert write(tmp_path, metrics={"epoch": 9}).metrics == {"epoch": 9}
    assert {path.name for path in (tmp_path / "abc").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_half_records_are_swept_once_their_process_is_gone(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    half, ours, theirs = (
        tmp_path / f".half-abc-{platform.node()}-{pid}" for pid in (gone.pid, os.getpid(), os.getppid())
    )
    for folder in (half, ours, theirs):
        folder.mkdir()
        (folder / "run.json").write_text('{"id": "abc"}')
    write(tmp_path, "done")
    # half ones are never read, whatever they hold
    assert [record.id for record in records.read_all(tmp_path)] == ["done"]
    records.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ours.name, theirs.name, "done"}


def test_a_record_that_another_process_finishes_meanwhile_stays(tmp_path, monkeypatch):
    """The other one comes between this one's look and its own rename."""
    inner = os.rename

    def late(source, target):
        monkeypatch.setattr(os, "rename", inner)
        inner(tmp_path / "theirs" / "abc", target)
        inner(source, target)

    write(tmp_path / "theirs")
    monkeypatch.setattr(os, "rename", late)
    assert write(tmp_path, metrics={"test_accuracy": 0.0}).metrics["test_accuracy"] == 2 / 3
    assert {path.name for path in tmp_path.iterdir()} == {"abc", "theirs"}


def test_a_rename_that_fails_is_no_other_writers_record(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError("not here")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(PermissionError, match="not here"):
        write(tmp_path)


def test_sweeping_leaves_other_hosts_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_HOST", "node1")
    for name in ("gpu-node1", "node1", "node1-2"):
        (tmp_path / f".half-abc-{name}-999999999").mkdir()
    records.sweep(tmp_path)
    assert {path.name.split("-", 2)[2] for path in tmp_path.iterdir()} == {"gpu-node1-999999999", "node1-2-999999999"}


def test_sweeping_what_is_not_there(tmp_path):
    records.sweep(tmp_path / "none")
    assert not (tmp_path / "none").exists()


# Published


def published(folder):
    """A record as git keeps it: no weights, the predicted class in place of the logits, no checksums of files."""
    run = write(folder).run
    (folder / "abc" / "run.json").write_text(json.dumps({key: run[key] for key in run if key != "files"}))
    (folder / "abc" / "model.safetensors").unlink()
    np.savez_compressed(
        folder / "abc" / "predictions.npz", top1=np.array([2, 0, 1], np.uint8), labels=np.array([2, 1, 1], np.uint8)
    )
    return records.read(folder, "abc")


def test_a_published_record_still_counts(tmp_path):
    found = published(tmp_path)
    assert found.metrics["epoch"] == 2
    assert found.correct().tolist() == [True, False, True]


def test_what_a_published_record_does_not_hold_is_said_in_one_line(tmp_path):
    found = published(tmp_path)
    with pytest.raises(UserError, match="record abc was published without its weights; run the study to have them"):
        found.weights()
    with pytest.raises(UserError, match="record abc was published without its logits; run the study to have them"):
        found.predictions()


# A study's list of runs


def test_conditions_are_read_back(tmp_path):
    conditions = [
        Condition("teacher", "resnet18_kd", "sgd", 0, None, None, None, "abc"),
        Condition("student", "cnn2", "sgd", 1, 2.5, 0.9, 0.09999999999999998, "def"),
    ]
    folder = tmp_path / "quick" / "tr_kd"
    records.write_conditions(folder, conditions, {"study": "tr_kd", "profile": "quick"})
    assert records.read_conditions(folder) == (conditions, {"study": "tr_kd", "profile": "quick"})
    assert [path.name for path in folder.iterdir()] == ["runs.json"]


def test_a_folder_without_runs_json(tmp_path):
    with pytest.raises(UserError, match=r"holds no runs\.json; run the study first"):
        records.read_conditions(tmp_path)


# What a run ran on


def test_code_of_a_tree_that_is_no_checkout(tmp_path, monkeypatch):
    package = tmp_path / "kdlib"
    package.mkdir()
    monkeypatch.setattr(records.kdlib, "__file__", str(package / "__init__.py"))
    found = records.code.__wrapped__()
    assert (found["commit"], found["changed"]) == (None, None)


def test_code_of_a_checkout_on_a_machine_without_git(tmp_path, monkeypatch):
    (tmp_path / "kdlib").mkdir()
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(records.kdlib, "__file__", str(tmp_path / "kdlib" / "__init__.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = records.code.__wrapped__()
    assert (found["commit"], found["changed"]) == (None, None)


def test_code_of_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "kdlib"
    package.mkdir()
    (package / "a.py").write_text("a = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(records.kdlib, "__file__", str(package / "__init__.py"))
    assert records.code.__wrapped__()["commit"] == head
    assert records.code.__wrapped__()["changed"] is False
    (package / "a.py").write_text("a = 2\n")
    assert records.code.__wrapped__()["changed"] is True


@pytest.mark.parametrize("text", ["", "{", None])
def test_what_a_power_cut_left_of_a_record_is_none_and_is_written_anew(tmp_path, text):
    write(tmp_path)
    file = tmp_path / "abc" / "run.json"
    file.unlink() if text is None else file.write_text(text)
    assert records.read(tmp_path, "abc") is None
    assert records.read_all(tmp_path) == []
    write(tmp_path)
    assert records.read(tmp_path, "abc").metrics["params"] == 3


def test_damaged_weights_are_one_line(tmp_path):
    write(tmp_path)
    (tmp_path / "abc" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"model.safetensors is damaged \(.*\); delete .*abc and run the study again"):
        records.read(tmp_path, "abc").weights()


def test_the_versions_of_modules_come_back(tmp_path):
    state = torch.nn.BatchNorm1d(2).state_dict()
    write(tmp_path, state=state)
    found = records.read(tmp_path, "abc").weights()
    assert found._metadata == state._metadata == {"": {"version": 2}}
