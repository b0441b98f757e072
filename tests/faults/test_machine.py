"""What a machine refuses (room on its disk, a folder to write to, memory) is one line and costs nothing done before."""

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from small_study import assert_complete, assert_same_record, shown, small_plan
from torch import nn

from kdlib import models
from kdlib.cli import main
from kdlib.studies import notebook, records, runner
from kdlib.training import Job, Recipe, fit, learner, train

VALUES = {"teacher": "conv3", "students": "cnn2", "T": "1"}


@pytest.fixture(autouse=True)
def no_notebooks(monkeypatch):
    monkeypatch.setattr(notebook, "execute_all", lambda experiments: (0.0 for _ in experiments))


def run(out: Path, **values) -> int:
    values = [word for key, value in {**VALUES, **values}.items() for word in ("--set", f"{key}={value}")]
    place = ["--output-dir", str(out), "--device", "cpu", "--checkpoint-every", "0"]
    return main(["run", "cnn_grid", "--profile", "smoke", *place, *values])


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a file system in memory, of a size, at a folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mine = []

    def mount(*options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)]
        if not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system needs root")
        mine.append(folder)
        return folder

    yield mount
    for place in mine:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_costs_what_was_being_written_alone(mounted, tmp_path, capsys):
    disk = mounted("size=4m")
    assert run(disk / "out", alpha="0.1") == 0
    capsys.readouterr()
    runs = disk / "out" / "smoke" / "runs"
    before = {path: path.read_bytes() for name in shown(runs) for path in (runs / name).iterdir()}
    with open(disk / "filler", "wb", buffering=0) as filler:
        for spare in (0, 8192, 40960, 81920):  # so much is free when the second call begins
            room = shutil.disk_usage(disk).free - spare
            filler.seek(0, os.SEEK_END)
            if room > 0:
                filler.write(bytes(room))
            else:
                filler.truncate(filler.tell() + room)
            assert run(disk / "out", alpha="0.1,0.9") == 2
            assert capsys.readouterr().err.splitlines()[-1].startswith("kdlib: No space left on device")
            assert_complete(runs)
            assert {path: path.read_bytes() for path in before} == before
    (disk / "filler").unlink()
    assert run(disk / "out", alpha="0.1,0.9") == 0
    assert run(tmp_path / "undisturbed", alpha="0.1,0.9") == 0
    theirs = tmp_path / "undisturbed" / "smoke" / "runs"
    assert shown(runs) == shown(theirs)
    for id in shown(theirs):
        assert_same_record(records.read(runs, id), records.read(theirs, id))


def test_a_full_disk_is_one_line(mounted, one_line):
    disk = mounted("size=4k")
    assert run(disk / "out", alpha="0.1") == 2
    assert one_line().startswith("kdlib: No space left on device; what is finished is kept; go on from there with:")


def test_a_read_only_folder_is_refused_before_anything_is_trained(mounted, one_line, monkeypatch):
    disk = mounted("size=1m", "ro")
    monkeypatch.setattr(runner, "execute", lambda *_: pytest.fail("something was trained"))
    assert run(disk / "out", alpha="0.1") == 2
    assert one_line() == f"kdlib: output_dir: {disk} cannot be written to; name another folder"


def test_what_is_there_can_be_looked_at_read_only(mounted):
    disk = mounted("size=1m", "ro")
    assert main(["run", "cnn_grid", "--profile", "smoke", "--dry-run", "--output-dir", str(disk)]) == 0


# Memory


class Hungry(nn.Sequential):
    """A network that finds no memory from its so-manieth forward pass in training on."""

    error: Exception
    left: int

    def forward(self, x):
        if self.training:
            Hungry.left -= 1
            if Hungry.left < 0:
                raise Hungry.error
        return super().forward(x)


def hungry(num_classes: int, in_channels: int) -> nn.Module:
    return Hungry(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(in_channels * 16, num_classes))


@pytest.mark.parametrize("after", [0, 20])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory: you tried to"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1 GiB free"),
    ],
    ids=["python", "linux", "windows", "cuda"],
)
def test_no_memory_is_one_line_and_the_teacher_is_kept(tmp_path, monkeypatch, one_line, error, after):
    monkeypatch.setattr(models.registry, "_BUILDERS", {**models.registry._BUILDERS, "hungry": hungry})
    Hungry.error, Hungry.left = error, after
    assert run(tmp_path / "out", students="hungry", alpha="0.1") == 2
    assert "memory" in one_line().casefold()
    runs = tmp_path / "out" / "smoke" / "runs"
    assert_complete(runs)
    assert len(shown(runs)) == (after > 0)


# Numbers that are none


class Drowning(nn.Linear):
    """A network whose logits are NaN from a training step on."""

    def forward(self, x):
        Drowning.left -= self.training
        return super().forward(x.flatten(1)) * (float("nan") if Drowning.left < 0 else 1.0)


def test_a_loss_that_is_not_a_number_ends_that_run_alone_and_is_marked(tiny):
    Drowning.left = 4
    recipe = Recipe(epochs=3, batch_size=16)
    jobs = [Job(build, recipe) for build in (lambda: Drowning(192, 4), partial(models.build, "cnn2", 4))]
    lost, sound = train(jobs, tiny, device="cpu", precision="fp32")
    assert lost.diverged
    assert sound.diverged is None
    alone = fit(jobs[1], tiny, device="cpu", precision="fp32")
    assert torch.equal(sound.logits, alone.logits)


# Threads


def test_a_thread_that_dies_is_raised_and_what_was_finished_stays(tiny, tmp_path, monkeypatch):
    plan = small_plan(tiny)
    step = learner.Learner.step

    def dies(self, *batch):
        if self.job.loss and self.steps_taken == 3:
            raise SystemError("the thread is gone")
        step(self, *batch)

    torch.set_num_threads(2)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(learner.Learner, "step", dies)
            with pytest.raises(SystemError, match="the thread is gone"):
                runner.execute(plan, tmp_path / "runs", "cpu", runner.Options(checkpoint_every=0))
        assert torch.get_num_threads() == 2
        assert_complete(tmp_path / "runs")
        assert len(shown(tmp_path / "runs")) == 1
        runner.execute(plan, tmp_path / "runs", "cpu")
    finally:
        torch.set_num_threads(1)
    assert shown(tmp_path / "runs") == set(plan.runs)
    assert_complete(tmp_path / "runs")
