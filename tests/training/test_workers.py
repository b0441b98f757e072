"""Learners that step several at a time: the same every time, and none that must not."""

import threading
from types import SimpleNamespace

import pytest
import torch
from small import assert_same, batchnorm, cnn2, dropout, mlp
from torch import nn

from kdlib.losses import weighted_kl
from kdlib.training import Job, Recipe, distill, learner, loop
from kdlib.training.workers import Workers, at_once

CPU = torch.device("cpu")
RECIPE = Recipe(lr=0.01, batch_size=16, epochs=2)


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch):
    """(build, step, name of the thread) of every step."""
    steps, plain = [], learner.Learner.step

    def step(self, *batch):
        steps.append((self.job.build, self.steps_taken, threading.current_thread().name, torch.get_num_threads()))
        plain(self, *batch)

    monkeypatch.setattr(learner.Learner, "step", step)
    return steps


def jobs(*builds) -> list[Job]:
    return [Job(build, RECIPE, seed=seed, loss=weighted_kl(2, 0.5)) for seed, build in enumerate(builds)]


@pytest.fixture
def none_small(monkeypatch):
    monkeypatch.setattr(loop, "SMALL", 0)


def test_how_many_step_at_a_time():
    large, small = SimpleNamespace(precision="fp32", small=False), SimpleNamespace(precision="fp32", small=True)
    half = SimpleNamespace(precision="bf16", small=False)
    assert at_once([half] * 9, CPU) == 2
    assert at_once([small] * 9, CPU) == 2
    assert at_once([half, large], CPU) == 1
    assert at_once([large] * 9, CPU) == 1
    assert at_once([half, small] * 9, torch.device("cuda")) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("builds", [(mlp,), (mlp, cnn2, batchnorm)])
def test_small_ones_step_on_one_thread_each_alone_too(tiny, seen, precision, builds):
    distill(mlp(), jobs(*builds), tiny, precision=precision)
    assert {(thread.startswith("learner"), threads) for _, _, thread, threads in seen} == {(True, 1)}
    assert len({thread for _, _, thread, _ in seen}) == min(2, len(builds))
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("none_small")
def test_large_ones_step_on_one_thread_each_in_bf16_and_one_after_another_in_fp32(tiny, seen):
    for precision, threads in (("bf16", 1), ("fp32", 2)):
        seen.clear()
        distill(mlp(), jobs(mlp, cnn2, batchnorm), tiny, precision=precision)
        assert {found for _, _, _, found in seen} == {threads}
        assert {thread.startswith("learner") for _, _, thread, _ in seen} == {threads == 1}
    seen.clear()
    distill(mlp(), jobs(mlp), tiny, precision="bf16")
    assert {found for _, _, _, found in seen} == {2}


class Late(nn.Module):
    """Drops out from its fifth training pass on, by a function that no list of modules shows."""

    def __init__(self):
        super().__init__()
        self.net, self.passes = mlp(), 0

    def forward(self, x):
        self.passes += self.training
        return self.net(nn.functional.dropout(x, 0.5, self.training and self.passes > 4))


@pytest.mark.parametrize("build", [dropout, Late])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("small", [True, False])
def test_one_that_draws_random_numbers_steps_while_no_other_does(tiny, monkeypatch, build, precision, small):
    inside, overlaps, plain = [], [], learner.Learner.step

    def step(self, *batch):
        inside.append(self.job.build)
        plain(self, *batch)
        overlaps.append(build in inside and len(inside) > 1)
        inside.remove(self.job.build)

    monkeypatch.setattr(learner.Learner, "step", step)
    monkeypatch.setattr(loop, "SMALL", 5_000_000 if small else 0)
    teacher = mlp()
    together = distill(teacher, jobs(mlp, cnn2, build), tiny, precision=precision)
    assert not any(overlaps)
    alone = distill(teacher, jobs(mlp, cnn2, build)[2:], tiny, precision=precision)[0]
    assert_same(together[2], alone)


@pytest.mark.usefixtures("none_small")
def test_in_bf16_they_end_the_same_every_time_and_in_any_order(tiny):
    torch.manual_seed(7)
    teacher, asked = mlp(), jobs(mlp, cnn2, batchnorm, mlp, cnn2)
    first, again = (distill(teacher, asked, tiny, precision="bf16") for _ in range(2))
    back = distill(teacher, asked[::-1], tiny, precision="bf16")[::-1]
    for one, other, turned in zip(first, again, back, strict=True):
        assert_same(one, other)
        assert_same(one, turned)


def test_what_one_raises_is_raised_and_the_threads_are_as_before():
    class Some:
        precision, independent, small = "bf16", True, False

        def __init__(self, number):
            self.number = number

    learners = [Some(number) for number in range(4)]
    with Workers(learners, CPU) as workers:
        assert workers.each(learners, lambda one: one.number) == [0, 1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            workers.each(learners, lambda one: 1 / one.number)
    assert torch.get_num_threads() == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("learner")]
