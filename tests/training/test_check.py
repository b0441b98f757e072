"""What is checked is what is run: memory format, training mode, precision, and models that write into their images."""

import dataclasses
import random
from typing import NamedTuple

import numpy as np
import pytest
import torch
from small import assert_same, batchnorm, cnn2, linear, mlp, trained_statistics
from torch import nn

from kdlib import losses, models
from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.losses import ResponseLoss, weighted_kl
from kdlib.training import Job, Recipe, check_model, distill, evaluate, fit, loop, train

CPU = torch.device("cpu")
RECIPE = Recipe(lr=0.01, batch_size=16, epochs=2)
ACTIVE = Augmentation(pad=2, flip=True)


# Models that write into their images


class InPlace(nn.Module):
    """Normalises its input in place, as people do."""

    def __init__(self, build=batchnorm):
        super().__init__()
        self.net = build()

    def forward(self, x):
        return self.net(x.sub_(0.3).div_(0.5))


def relu_first() -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), batchnorm())


class InTraining(InPlace):
    """Writes in training mode alone."""

    def forward(self, x):
        return super().forward(x) if self.training else self.net((x - 0.3) / 0.5)


class FromTheThirdPass(InPlace):
    """Writes from the third training pass on: no check before training sees it."""

    passes = 0

    def forward(self, x):
        self.passes += self.training
        return super().forward(x) if self.passes > 3 else self.net((x - 0.3) / 0.5)


@pytest.mark.parametrize("build", [InPlace, relu_first, InTraining])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("small", [True, False])
def test_a_student_that_writes_into_its_images_leaves_its_neighbours_alone(tiny, monkeypatch, build, precision, small):
    monkeypatch.setattr(loop, "SMALL", 5_000_000 if small else 0)
    before = [getattr(tiny, part).images.clone() for part in ("train", "val", "test")]
    neighbours = [Job(mlp, RECIPE, seed=1), Job(cnn2, RECIPE, seed=2, loss=weighted_kl(4, 0.5))]
    teacher = trained_statistics()
    plain = distill(teacher, neighbours, tiny, precision=precision)
    beside = distill(teacher, [Job(build, RECIPE), *neighbours, Job(build, RECIPE, seed=3)], tiny, precision=precision)
    for ours, alone in zip(beside[1:3], plain, strict=True):
        assert_same(ours, alone)
    if precision == "fp32":
        assert_same(beside[0], distill(teacher, [Job(build, RECIPE)], tiny, precision="fp32")[0])
    after = [getattr(tiny, part).images for part in ("train", "val", "test")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("augmentation", [Augmentation(), ACTIVE], ids=["plain", "augmented"])
@pytest.mark.parametrize("loss", ["weighted_kl", "sp"])
def test_a_teacher_that_writes_into_its_images_changes_nothing(tiny, augmentation, loss):
    class Careful(InPlace):
        def forward(self, x):
            return self.net((x - 0.3) / 0.5)

    recipe = dataclasses.replace(RECIPE, augmentation=augmentation)
    taught = losses.preset(loss, 2.0, 0.5, 0.5, ["2:net.2"] if loss == "sp" else None)
    jobs = [Job(batchnorm, recipe, loss=taught), Job(mlp, recipe, seed=1)]
    outcomes = []
    for build in (InPlace, Careful):
        torch.manual_seed(5)
        outcomes.append(distill(build(), jobs, tiny, precision="fp32"))
    for ours, theirs in zip(*outcomes, strict=True):
        assert_same(ours, theirs)


def test_one_that_begins_to_write_later_is_refused_by_name(tiny):
    with pytest.raises(UserError, match="my net writes into its images, which others see too"):
        train([Job(FromTheThirdPass, RECIPE, name="my net"), Job(mlp, RECIPE)], tiny)


class InEvaluationLater(InPlace):
    """Writes in eval mode, from the second evaluation on."""

    evaluations = 0

    def forward(self, x):
        self.evaluations += not self.training
        return super().forward(x) if self.evaluations > 2 else self.net((x - 0.3) / 0.5)


def test_one_that_begins_to_write_in_evaluation_is_refused_too(tiny):
    with pytest.raises(UserError, match="my net writes into its images"):
        train([Job(InEvaluationLater, RECIPE, name="my net"), Job(mlp, RECIPE)], tiny)


# Shared weights


def test_one_module_for_two_jobs_is_refused(tiny):
    one = mlp()
    with pytest.raises(UserError, match=r"job 2 \(b\) shares weights with job 1 \(a\); let its build make a model"):
        train([Job(lambda: one, RECIPE, name="a"), Job(lambda: one, RECIPE, name="b")], tiny)


def test_the_teacher_as_student_is_refused_and_left_as_it_was(tiny):
    teacher = mlp()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    with pytest.raises(UserError, match=r"job 1 \(Sequential\) shares weights with the teacher"):
        distill(teacher, [Job(lambda: teacher, RECIPE, loss=weighted_kl(2, 0.5))], tiny)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_shared_part_is_refused_too(tiny):
    body = nn.Linear(192, 8)

    def build():
        return nn.Sequential(nn.Flatten(), body, nn.Linear(8, 4))

    with pytest.raises(UserError, match="job 2"):
        train([Job(build, RECIPE), Job(build, RECIPE, seed=1)], tiny)


def test_shared_storage_and_shared_buffers_are_refused(tiny):
    teacher, norm = mlp(), nn.BatchNorm2d(3, affine=False)

    def view():
        model = mlp()
        model[1].weight.data = teacher[1].weight.data
        return model

    with pytest.raises(UserError, match="shares weights with the teacher"):
        distill(teacher, [Job(view, RECIPE, loss=weighted_kl(2, 0.5))], tiny)
    with pytest.raises(UserError, match="job 2"):
        train([Job(lambda: nn.Sequential(norm, mlp()), RECIPE, seed=s) for s in (0, 1)], tiny)


# Memory format


class Viewed(nn.Module):
    """LeNet as tutorials have it: ``view`` of a map, which channels_last memory does not allow."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 16, 4)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv(x).relu(), 2)
        return self.fc(x.view(x.size(0), -1))


class ViewedInTraining(Viewed):
    """Takes channels_last in eval mode, and not in training."""

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv(x).relu(), 2)
        return self.fc(x.view(x.size(0), -1) if self.training else x.flatten(1))


@pytest.mark.parametrize("build", [Viewed, ViewedInTraining])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_model_that_wants_contiguous_memory_gets_it(tiny, build, precision):
    torch.manual_seed(0)
    student = fit(Job(build, RECIPE), tiny, precision=precision)
    assert student.diverged is None
    taught = distill(build(), [Job(build, RECIPE, loss=weighted_kl(2, 0.5)), Job(cnn2, RECIPE)], tiny)
    assert len(taught) == 2
    model = build()
    model.load_state_dict(student.state)
    assert torch.allclose(evaluate(model, tiny, CPU).logits, student.logits, atol=1e-6)


def test_one_that_takes_channels_last_gets_channels_last(tiny):
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = batchnorm()

        def forward(self, x):
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return self.net(x)

    fit(Job(Spy, RECIPE), tiny)
    assert sum(not last for last in seen) <= 2  # counting its arithmetic and its memory takes what comes


# Training mode


class Outputs(NamedTuple):
    """As torchvision's networks name what they give."""

    aux_logits: torch.Tensor
    logits: torch.Tensor


class Auxiliary(nn.Module):
    """Gives more than logits in training, as GoogLeNet and Inception do."""

    give = staticmethod(lambda main, more: (main, more))

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.give(self.net(x), self.net(x) + 1) if self.training else self.net(x)


@pytest.mark.parametrize("give", [lambda main, more: (main, more), lambda main, more: Outputs(more, main)])
def test_of_outputs_in_training_the_main_logits_are_trained(tiny, give, capsys, monkeypatch):
    monkeypatch.setattr(Auxiliary, "give", staticmethod(give))
    monkeypatch.setattr("kdlib.progress._said", set())
    found, alone = fit(Job(Auxiliary, RECIPE, name="my net"), tiny), fit(Job(mlp, RECIPE), tiny)
    for name, tensor in alone.state.items():
        assert torch.equal(found.state[f"net.{name}"], tensor)
    assert torch.equal(found.logits, alone.logits)
    assert capsys.readouterr().err.count("my net gives auxiliary outputs in training") == 1
    # as a teacher it stays in eval mode
    assert distill(Auxiliary(), [Job(mlp, RECIPE, loss=weighted_kl(2, 0.5))], tiny)


def test_outputs_that_are_no_logits_are_refused_in_one_line(tiny, monkeypatch):
    monkeypatch.setattr(Auxiliary, "give", staticmethod(lambda main, more: {"out": main}))
    with pytest.raises(UserError, match=r"my net gives outputs in training of shape \('dict',\)"):
        fit(Job(Auxiliary, RECIPE, name="my net"), tiny)
    monkeypatch.setattr(Auxiliary, "give", staticmethod(lambda main, more: (main.sum(), more)))
    with pytest.raises(UserError, match="gives outputs in training of shape"):
        check_model(Auxiliary(), tiny, "my net")


def test_a_failure_in_training_mode_alone_is_told_before_training(tiny):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            if self.training:
                raise KeyError("targets")
            return self.net(x)

    with pytest.raises(UserError, match=r"Fails cannot take images of 3×8×8 \(channels×height×width\): 'targets'"):
        fit(Job(Fails, RECIPE), tiny)


def test_a_check_leaves_no_trace(tiny):
    model = trained_statistics().train()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    check_model(model, tiny, "a model", 16, "bf16")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "0.weight")


def test_what_cannot_train_is_told_before_training(tiny):
    def frozen():
        return mlp().requires_grad_(False)

    class Keeps(nn.Sequential):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    with pytest.raises(UserError, match="all weights of my net are frozen"):
        fit(Job(frozen, RECIPE, name="my net"), tiny)
    with pytest.raises(UserError, match="my net keeps _extra_state in its state, a dict; only tensors can be stored"):
        fit(Job(lambda: Keeps(nn.Flatten(), nn.Linear(192, 4)), RECIPE, name="my net"), tiny)
    with pytest.raises(UserError, match="layer 1 of Sequential is lazy"):
        fit(Job(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), RECIPE), tiny)


class Squeezed(nn.Module):
    """Loses the batch of one image: the last one of a split may be that."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x).squeeze()


def test_a_model_that_squeezes_is_refused(tiny):
    with pytest.raises(UserError, match=r"Squeezed gives outputs of shape"):
        fit(Job(Squeezed, RECIPE), tiny)


class Rebinds(nn.Module):
    """Puts another tensor in the place of a buffer, and begins with one that is None."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("mean", None)

    def forward(self, x):
        if self.training:
            self.count = self.count + 1
            self.mean = x.detach().mean().reshape(1)
        return self.net(x)


def test_a_check_puts_buffers_back_by_name(tiny):
    model = Rebinds()
    check_model(model, tiny, "a model", 16)
    assert (model.count.item(), model.mean) == (0, None)


# Seeds


def test_a_student_does_not_start_where_a_teacher_of_its_seed_does(tiny):
    still = dataclasses.replace(RECIPE, lr=1e-12, epochs=1)
    student, teacher, again = (
        fit(Job(mlp, still, seed=0, role=role), tiny, precision="fp32") for role in ("student", "teacher", "teacher")
    )
    assert not torch.allclose(student.state["1.weight"], teacher.state["1.weight"], atol=1e-3)
    assert_same(teacher, again)


class Drawing(nn.Module):
    """Draws in eval mode too, as Monte Carlo dropout does."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(nn.functional.dropout(x, 0.3, training=True))


def test_what_is_drawn_in_evaluation_does_not_depend_on_the_group(tiny):
    jobs = [Job(Drawing, RECIPE, seed=0), Job(linear, RECIPE), Job(Drawing, RECIPE, seed=1)]
    for ours, job in zip(train(jobs, tiny, precision="fp32"), jobs, strict=True):
        assert_same(ours, fit(job, tiny, precision="fp32"))


@pytest.mark.parametrize("augmentation", [Augmentation(), ACTIVE], ids=["plain", "augmented"])
def test_what_a_teacher_draws_does_not_depend_on_the_group(tiny, augmentation):
    torch.manual_seed(3)
    teacher = Drawing()
    recipe = dataclasses.replace(RECIPE, augmentation=augmentation)
    jobs = [Job(mlp, recipe, seed=s, loss=weighted_kl(2, 0.5)) for s in (0, 1)]
    together = distill(teacher, jobs, tiny, precision="fp32")
    assert_same(together[1], distill(teacher, jobs[1:], tiny, precision="fp32")[0])


class Pythonic(nn.Module):
    """Draws from Python and from numpy."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x) * (1 + 0.1 * random.random() + 0.1 * np.random.rand())  # noqa: NPY002


def hooked() -> nn.Module:
    model = mlp()
    model[1].register_forward_hook(lambda module, given, out: out + 0.1 * torch.randn_like(out))
    return model


@dataclasses.dataclass(frozen=True)
class Noisy(ResponseLoss):
    """A loss of a user's own that draws."""

    def _soft(self, student, teacher, labels, adapter=None):
        return super()._soft(student, teacher, labels) * (1 + 0.1 * torch.rand(()))


@pytest.mark.parametrize("draws", ["python", "hook", "loss"])
@pytest.mark.parametrize("small", [True, False])
def test_whatever_draws_the_group_does_not_matter(tiny, monkeypatch, draws, small):
    monkeypatch.setattr(loop, "SMALL", 5_000_000 if small else 0)
    build = {"python": Pythonic, "hook": hooked, "loss": mlp}[draws]
    loss = Noisy(2.0, 0.5, 0.5) if draws == "loss" else None
    jobs = [Job(build, RECIPE, seed=0, loss=loss), Job(mlp, RECIPE, seed=5), Job(build, RECIPE, seed=1, loss=loss)]
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    teacher = trained_statistics()
    together = distill(teacher, jobs, tiny, precision="fp32")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    for job, ours in zip(jobs, together, strict=True):
        assert_same(ours, distill(teacher, [job], tiny, precision="fp32")[0])


# States


def test_states_keep_the_versions_of_their_modules(tiny):
    state = fit(Job(batchnorm, RECIPE), tiny).state
    assert state._metadata == batchnorm().state_dict()._metadata
    assert state._metadata["1"] == {"version": 2}


def test_mnasnet_which_looks_at_them_goes_round(make_tiny):
    build = lambda: models.build("torchvision.models:mnasnet0_5", 4)  # noqa: E731
    dataset = make_tiny(size=32)
    state = fit(Job(build, dataclasses.replace(RECIPE, epochs=1)), dataset).state
    build().load_state_dict(state)
    assert models.start_from(build(), state) == []
