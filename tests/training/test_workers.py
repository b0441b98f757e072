"""Learners that step several at a time: the same every time, and none that must not."""

import threading

import pytest
import torch
from small import assert_same, batchnorm, cnn2, dropout, mlp

from kdlib.losses import weighted_kl
from kdlib.training import Job, Recipe, distill, learner
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

    def step(self, *told):
        steps.append((self.job.build, self._step, threading.current_thread().name, torch.get_num_threads()))
        plain(self, *told)

    monkeypatch.setattr(learner.Learner, "step", step)
    return steps


def jobs(*builds) -> list[Job]:
    return [Job(build, RECIPE, seed=seed, loss=weighted_kl(2, 0.5)) for seed, build in enumerate(builds)]


def test_how_many_step_at_a_time():
    assert at_once(["bf16"] * 9, CPU) == 2
    assert at_once(["bf16", "fp32"], CPU) == 1
    assert at_once(["fp32"] * 9, CPU) == 1
    assert at_once(["bf16"] * 9, torch.device("cuda")) == 1


def test_in_bf16_they_step_in_threads_of_their_own_after_the_first_step(tiny, seen):
    distill(mlp(), jobs(mlp, cnn2, batchnorm), tiny, precision="bf16")
    for _, step, thread, threads in seen:
        assert thread.startswith("learner") == (step > 0)
        assert threads == (1 if step > 0 else 2)
    assert len(seen) == 3 * 6
    assert torch.get_num_threads() == 2


def test_in_fp32_they_step_one_after_another(tiny, seen):
    distill(mlp(), jobs(mlp, cnn2, batchnorm), tiny, precision="fp32")
    assert {thread for _, _, thread, _ in seen} == {threading.current_thread().name}


def test_one_that_draws_random_numbers_steps_by_itself_and_as_alone(tiny, seen):
    teacher = mlp()
    together = distill(teacher, jobs(mlp, cnn2, dropout), tiny, precision="bf16")
    assert not any(thread.startswith("learner") for build, _, thread, _ in seen if build is dropout)
    assert any(thread.startswith("learner") for build, _, thread, _ in seen if build is mlp)
    alone = distill(teacher, jobs(mlp, cnn2, dropout)[2:], tiny, precision="bf16")[0]
    assert_same(together[2], alone)


def test_they_end_the_same_every_time_and_in_any_order(tiny):
    torch.manual_seed(7)
    teacher, asked = mlp(), jobs(mlp, cnn2, batchnorm, mlp, cnn2)
    first, again = (distill(teacher, asked, tiny, precision="bf16") for _ in range(2))
    back = distill(teacher, asked[::-1], tiny, precision="bf16")[::-1]
    for one, other, turned in zip(first, again, back, strict=True):
        assert_same(one, other)
        assert_same(one, turned)


def test_what_one_raises_is_raised_and_the_threads_are_as_before():
    class Some:
        precision, independent = "bf16", True

        def __init__(self, number):
            self.number = number

    learners = [Some(number) for number in range(4)]
    with Workers(learners, CPU) as workers:
        assert workers.each(learners, lambda one: one.number) == [0, 1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            workers.each(learners, lambda one: 1 / one.number)
    assert torch.get_num_threads() == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("learner")]
