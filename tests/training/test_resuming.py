"""A training that is stopped between any two batches goes on from there and ends the same, to the bit."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from small import assert_same, batchnorm, cnn2, dropout, mlp
from torch import nn

from kdlib import losses, models
from kdlib.data import Augmentation
from kdlib.losses import convex_kl, convex_soft_ce, weighted_kl
from kdlib.training import Checkpoints, Job, Recipe, Stop, Stopped, evaluation, train

ACTIVE = Augmentation(pad=2, flip=True, rotate=10.0, brightness=0.1)
EPOCHS, BATCHES = 3, 3  # 48 images in batches of 16
# Before each batch of 16, each batch of the teacher (one an epoch), of validation (one an epoch) and of the test.
PAUSES = EPOCHS * (1 + BATCHES + 1) + 1


def recipe(**values) -> Recipe:
    return Recipe(**{"batch_size": 16, "epochs": EPOCHS, "lr": 0.01, "augmentation": ACTIVE, **values})


def resnet3() -> nn.Module:
    return models.build("resnet3", 4)


class Buffered(nn.Module):
    """Keeps a running mean that is no part of its state dict."""

    def __init__(self):
        super().__init__()
        self.net = batchnorm()
        self.register_buffer("mean", torch.zeros(1), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean())
        return self.net(x) + self.mean


def group() -> list[Job]:
    """Jobs of all kinds: dropout, batch norm, momentum, best epoch kept, an adapter, a hidden buffer, a wild one."""
    sgd = recipe(optimizer="sgd", lr=0.1, momentum=0.9, nesterov=True)
    best = recipe(schedule="cosine", warmup=0.25, weight_decay=0.01, select="best")
    jobs = [
        Job(batchnorm, recipe(), seed=0, loss=weighted_kl(2, 0.5)),
        Job(dropout, sgd, seed=0, loss=convex_soft_ce(20, 0.9)),
        Job(cnn2, best, seed=3, loss=convex_kl(4, 0.1)),
        Job(dropout, recipe(), seed=1),
        Job(resnet3, recipe(), seed=1, loss=losses.preset("fitnets", None, 1.0, 1.0)),
        Job(Buffered, sgd, seed=2),
        Job(mlp, recipe(optimizer="sgd", lr=1e9), seed=2),
    ]
    return [dataclasses.replace(job, id=f"run{i}") for i, job in enumerate(jobs)]


def teacher() -> nn.Module:
    torch.manual_seed(11)
    return models.build("resnet4", 4)


class After(Stop):
    """Requested at the n-th time that it is asked about."""

    def __init__(self, n: int):
        super().__init__()
        self.left = n

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


def go(jobs, tiny, folder, stop=None, every=1e9, **options):
    checkpoints = Checkpoints(folder / "training", every)
    return train(jobs, tiny, teacher(), precision="fp32", checkpoints=checkpoints, stop=stop, **options)


def left(folder) -> list[str]:
    return sorted(path.name for path in (folder / "training").glob("*"))


@pytest.fixture(scope="module")
def undisturbed(tiny):
    return train(group(), tiny, teacher(), precision="fp32")


@pytest.mark.parametrize("pause", range(0, PAUSES, 2))
def test_stopped_anywhere_a_group_ends_as_if_undisturbed(tiny, tmp_path, undisturbed, pause):
    with pytest.raises(Stopped, match=r"stopped in epoch [123] of 3"):
        go(group(), tiny, tmp_path, After(pause))
    assert len(left(tmp_path)) == 1
    for ours, theirs in zip(go(group(), tiny, tmp_path), undisturbed, strict=True):
        assert_same(ours, theirs)
        assert ours.seconds > 0
    assert left(tmp_path) == []


def test_the_last_pause_is_the_last(tiny, tmp_path):
    stop = After(10**6)
    go(group(), tiny, tmp_path, stop)
    assert 10**6 - stop.left == PAUSES


def test_stopped_again_and_again_it_ends_the_same(tiny, tmp_path, undisturbed):
    for _ in range(100):
        try:
            outcomes = go(group(), tiny, tmp_path, After(3))
            break
        except Stopped:
            pass
    for ours, theirs in zip(outcomes, undisturbed, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("i", [1, 2, 4])
def test_alone_too(tiny, tmp_path, undisturbed, i):
    with pytest.raises(Stopped):
        go(group()[i : i + 1], tiny, tmp_path, After(7))
    assert_same(go(group()[i : i + 1], tiny, tmp_path)[0], undisturbed[i])


def test_without_augmentation_too(tiny, tmp_path):
    jobs = [
        dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, augmentation=Augmentation())) for job in group()
    ]
    whole = train(jobs, tiny, teacher(), precision="fp32")
    with pytest.raises(Stopped):
        go(jobs, tiny, tmp_path, After(6))
    for ours, theirs in zip(go(jobs, tiny, tmp_path), whole, strict=True):
        assert_same(ours, theirs)


def test_the_progress_is_whole_either_way(tiny, tmp_path):
    class Bar:
        done = 0.0

        def advance(self, amount):
            self.done += amount

        skip = advance

        def say(self, text):
            pass

    first, second = Bar(), Bar()
    with pytest.raises(Stopped):
        go(group(), tiny, tmp_path, After(8), progress=first, weight=6.0)
    go(group(), tiny, tmp_path, progress=second, weight=6.0)
    assert 0 < first.done < 6
    assert second.done == pytest.approx(6.0)


def test_part_of_a_group_goes_on_alone_and_the_rest_later(tiny, tmp_path, undisturbed):
    jobs = group()
    with pytest.raises(Stopped):
        go(jobs, tiny, tmp_path, After(9))
    asked = []
    part = go(jobs[1:3], tiny, tmp_path, finished=lambda i, outcome: asked.append((i, len(left(tmp_path)))))
    assert asked == [(0, 1), (1, 1)]
    assert len(left(tmp_path)) == 1  # the others' state is still there
    rest = go([jobs[0], *jobs[3:]], tiny, tmp_path)
    for i, ours in zip((1, 2, 0, 3, 4, 5, 6), [*part, *rest], strict=True):
        assert_same(ours, undisturbed[i])
    Checkpoints(tmp_path / "training").sweep(lambda id: True)
    assert left(tmp_path) == []


def test_new_jobs_begin_beside_those_that_go_on(tiny, tmp_path, undisturbed):
    jobs = group()
    with pytest.raises(Stopped):
        go(jobs[:3], tiny, tmp_path, After(9))
    outcomes = go(jobs, tiny, tmp_path)
    assert [outcome.group_size for outcome in outcomes] == [3, 3, 3, 4, 4, 4, 4]
    for ours, theirs in zip(outcomes, undisturbed, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize(("every", "count"), [(0, EPOCHS), (1e-9, PAUSES), (1e9, 0)])
def test_how_often_it_is_written(tiny, tmp_path, monkeypatch, every, count):
    written = []
    inner = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, ids, state: (written.append(state["epoch"]), inner(self, ids, state))
    )
    go(group(), tiny, tmp_path, every=every)
    assert len(written) == count
    assert every != 0 or written == [1, 2, 3]


def test_jobs_without_an_id_write_nothing(tiny, tmp_path):
    with pytest.raises(Stopped):
        go([dataclasses.replace(job, id="") for job in group()], tiny, tmp_path, After(5), every=0)
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize("damage", ["cut", "bit", "foreign", "other"])
def test_a_damaged_checkpoint_is_set_aside_with_one_line(tiny, tmp_path, undisturbed, capsys, damage):
    with pytest.raises(Stopped):
        go(group(), tiny, tmp_path, After(9))
    (path,) = (tmp_path / "training").glob("*.pt")
    whole = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "bit":
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    elif damage == "foreign":
        path.write_text("a text")
    else:
        torch.save({"format": "of another time"}, path)
    capsys.readouterr()
    for ours, theirs in zip(go(group(), tiny, tmp_path), undisturbed, strict=True):
        assert_same(ours, theirs)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kdlib: ")]
    assert len(lines) == 1
    assert "a checkpoint is damaged" in lines[0]
    assert left(tmp_path) == [path.with_suffix(".damaged").name]


def test_a_checkpoint_is_loaded_without_unpickling(tiny, tmp_path):
    with pytest.raises(Stopped):
        go(group(), tiny, tmp_path, After(9))
    (path,) = (tmp_path / "training").glob("*.pt")
    state = torch.load(path, weights_only=True)
    assert state["runs"] == [f"run{i}" for i in range(7)]
    assert (state["epoch"], state["batch"]) == (1, 3)


def test_a_full_disk_leaves_the_checkpoint_before_and_the_training_goes_on(
    tiny, tmp_path, monkeypatch, capsys, undisturbed
):
    with pytest.raises(Stopped):
        go(group()[:2], tiny, tmp_path, After(5))
    (path,) = (tmp_path / "training").glob("*.pt")
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Stopped):
            go(group()[:2], tiny, tmp_path, After(3))
        assert path.read_bytes() == before
        assert left(tmp_path) == [path.name]
        assert "kdlib: no checkpoint could be written (no space left on device)" in capsys.readouterr().err
        for ours, theirs in zip(go(group()[:2], tiny, tmp_path, every=1e-9), undisturbed, strict=False):
            assert_same(ours, theirs)


def test_a_teacher_that_is_stopped_again_and_again_gets_there(make_tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "_BATCH", {"cpu": 4})  # twelve batches an epoch
    dataset = make_tiny()
    jobs = group()[:2]
    whole = train(jobs, dataset, teacher(), precision="fp32")
    stopped = 0
    while True:
        try:
            outcomes = go(jobs, dataset, tmp_path, After(5))  # fewer than the teacher has batches
            break
        except Stopped:
            stopped += 1
    assert stopped > 3
    for ours, theirs in zip(outcomes, whole, strict=True):
        assert_same(ours, theirs)


# Stop


def test_a_time_that_is_over():
    assert not Stop().requested
    assert not Stop(1000).requested
    assert Stop(0).requested


SCRIPT = """
import signal, sys, time
from kdlib.training import Stop
stop = Stop()
with stop.on_signals():
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("asked", stop.signal, flush=True)
    time.sleep(30)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_asks_and_a_second_one_ends_at_once(number):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"asked {int(number)}\n"
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(20) != 0
    assert time.monotonic() - start < 20


def test_signals_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Stop().on_signals():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
