"""Callbacks see each run of a training, and change none of its numbers."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import assert_same, batchnorm, cnn2, dropout, mlp

from kdlib.errors import UserError
from kdlib.losses import weighted_kl
from kdlib.training import Checkpoints, Job, Recipe, Stop, Stopped, TensorBoard, distill, fit

RECIPE = Recipe(lr=0.01, batch_size=16, epochs=3)  # 48 training images: three steps an epoch
LOSS = weighted_kl(2, 0.5)


def jobs() -> list[Job]:
    builds = enumerate((mlp, batchnorm, dropout))
    named = [Job(build, RECIPE, seed=i, loss=LOSS, name=build.__name__) for i, build in builds]
    return [*named, Job(cnn2, RECIPE, seed=3, loss=LOSS)]


class Steps:
    def __init__(self):
        self.states = []

    def on_step(self, state):
        self.states.append(state)


def test_a_function_sees_every_run_at_the_end_of_every_epoch(tiny):
    seen = []
    asked = jobs()
    outcomes = distill(mlp(), asked, tiny, precision="fp32", callbacks=[seen.append])
    assert [(state.epoch, state.index) for state in seen] == [(epoch, i) for epoch in (1, 2, 3) for i in range(4)]
    for state in seen:
        assert state.job is asked[state.index]
        assert state.metrics == outcomes[state.index].history[state.epoch - 1]
        assert (state.epochs, state.step, state.steps) == (3, 3 * state.epoch, 9)
    assert [state.name for state in seen[:4]] == ["mlp", "batchnorm", "dropout", "TwoLayerCNN"]
    last = seen[-4].model.state_dict()
    assert all(torch.equal(tensor, outcomes[0].state[name]) for name, tensor in last.items())


def test_groups_that_memory_splits_keep_their_places(tiny):
    seen = []
    distill(mlp(), jobs(), tiny, memory_limit=1, callbacks=[seen.append])
    assert [state.index for state in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_step_shows_the_terms_that_were_weighed_and_its_gradients(tiny):
    steps = Steps()
    outcome = distill(mlp(), [Job(mlp, RECIPE, loss=LOSS)], tiny, precision="fp32", callbacks=[steps])[0]
    assert [(state.epoch, state.step) for state in steps.states] == [((i + 2) // 3, i) for i in range(1, 10)]
    for state in steps.states:
        terms = state.losses
        assert terms["objective"] == LOSS.combine(terms["soft"], terms["cross_entropy"])
        assert not terms["objective"].requires_grad
        assert state.metrics == {}
        assert state.teacher is not None
        assert not any(p.requires_grad for p in state.teacher.parameters())
        assert all(p.grad is not None for p in state.model.parameters())
    mean = torch.stack([state.losses["objective"] for state in steps.states[:3]]).double().mean()
    assert outcome.history[0]["train_objective"] == pytest.approx(mean.item(), abs=1e-7)


def test_without_a_teacher_the_objective_is_the_cross_entropy(tiny):
    steps = Steps()
    fit(Job(mlp, RECIPE), tiny, callbacks=[steps])
    assert all(list(state.losses) == ["objective", "cross_entropy"] for state in steps.states)
    assert all(state.teacher is None for state in steps.states)


class Unruly:
    """Does all that a callback may: draws, runs both models, changes modes, sums up gradients, opens and closes."""

    def look(self, state):
        torch.manual_seed(random.randrange(99))
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.rand(3)
        for model in (state.model, state.teacher):
            model.eval()
            model.train()(torch.randn(8, 3, 8, 8)).sum().backward() if model is state.model else model.train()
            model(torch.randn(8, 3, 8, 8))
            model.requires_grad_(model is state.teacher)

    on_step = on_epoch = look


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_they_change_no_number(tiny, precision):
    torch.manual_seed(3)
    teacher = batchnorm()
    plain = distill(teacher, jobs(), tiny, precision=precision)
    for a, b in zip(plain, distill(teacher, jobs(), tiny, precision=precision, callbacks=[Unruly()]), strict=True):
        assert_same(a, b)


def test_their_time_is_not_the_trainings(tiny, monkeypatch):
    from kdlib.training import group

    now = [0.0]

    def tick() -> float:
        now[0] += 1e-3
        return now[0]

    def slow(state):
        now[0] += 1000

    monkeypatch.setattr(group.time, "perf_counter", tick)
    outcome = fit(Job(mlp, RECIPE), tiny, callbacks=[slow])
    assert all(0 < row["seconds"] < 1 for row in outcome.history)
    assert 0 < outcome.seconds < 3


def test_a_failing_one_is_named_in_one_line(tiny):
    def draw(state):
        raise ValueError("no axes\nand more")

    says = r"^callback draw failed at step 3 \(epoch 1\) of mlp, job 0: ValueError: no axes$"
    with pytest.raises(UserError, match=says) as raised:
        distill(mlp(), jobs(), tiny, callbacks=[draw])
    assert isinstance(raised.value.__cause__, ValueError)


@torch.no_grad()
def clip(state):
    for p in state.model.parameters():
        p.clamp_(-0.01, 0.01)


def scale_data(state):
    for p in state.model.parameters():
        p.data.mul_(0.5)


def replace_data(state):
    for p in state.model.parameters():
        p.data = torch.zeros_like(p)


def move_teacher(state):
    next(state.teacher.parameters()).data.add_(1)


@pytest.mark.parametrize("change", [clip, scale_data, replace_data, move_teacher])
def test_one_that_changes_weights_is_refused(tiny, change):
    says = rf"^callback {change.__name__} changes weights at step 3 \(epoch 1\) of mlp, job 0; let it"
    with pytest.raises(UserError, match=says):
        distill(mlp(), jobs(), tiny, callbacks=[change])


@pytest.mark.parametrize("what", [3, "print", [print]])
def test_what_cannot_be_called_is_refused_before_training(tiny, what):
    with pytest.raises(UserError, match=r"^callback \w+ is no function and has neither on_epoch nor on_step$"):
        fit(Job(lambda: pytest.fail("built"), RECIPE), tiny, callbacks=[what])


def test_a_resumed_training_shows_the_rest(tiny, tmp_path):
    stop, seen = Stop(), []

    def end(state):
        seen.append(state.epoch)
        if state.epoch == 1:
            stop.signal = 15

    options = {"checkpoints": Checkpoints(tmp_path, 0), "stop": stop, "callbacks": [end]}
    with pytest.raises(Stopped):
        fit(Job(mlp, RECIPE, id="one"), tiny, **options)
    stop.signal, words = None, []
    bar = SimpleNamespace(advance=lambda amount: None, skip=lambda amount: None, say=words.append)
    fit(Job(mlp, RECIPE, id="one"), tiny, progress=bar, **options)
    assert seen == [1, 2, 3]
    assert [said.split(",")[0] for said in words] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]  # the first is on record


def test_without_tensorboard_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"^logging needs tensorboard, which is not installed; install kdlib\[log\]$"):
        TensorBoard(tmp_path)


def test_tensorboard_gets_a_file_a_run_with_every_epoch(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked = [Job(mlp, RECIPE, id="abc", name="my net"), Job(mlp, RECIPE, seed=1)]
    outcomes = distill(mlp(), asked, tiny, callbacks=[TensorBoard(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Sequential-1", "my_net-abc"]
    for folder, outcome in zip(("my_net-abc", "Sequential-1"), outcomes, strict=True):
        assert len(list((tmp_path / folder).iterdir())) == 1
        found = EventAccumulator(str(tmp_path / folder)).Reload()
        rows = [(event.step, event.value) for event in found.Scalars("val_accuracy")]
        assert rows == [(row["epoch"], pytest.approx(row["val_accuracy"])) for row in outcome.history]
