"""Losses on feature maps in training: taps, adapters, and the group they train in."""

import threading

import pytest
import torch
from small import assert_same, cnn2, linear
from torch import nn

from kdlib import losses, models
from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.training import Job, Recipe, distill
from kdlib.training.check import check_model
from kdlib.training.learner import Learner
from kdlib.training.teacher import Teacher, feature_pairs

PLAIN, ACTIVE = Augmentation(), Augmentation(pad=1, flip=True)
T = {"dkd": 4, "dist": 4, "kd_std": 2}


def resnet3(classes: int = 4) -> nn.Module:
    return models.build("resnet3", classes)


def teacher() -> nn.Module:
    torch.manual_seed(11)
    return models.build("resnet4", 4)


def job(name: str, augmentation: Augmentation = PLAIN, build=resnet3, epochs: int = 1, layers=None) -> Job:
    recipe = Recipe(lr=0.01, batch_size=16, epochs=epochs, augmentation=augmentation)
    return Job(build, recipe, seed=3, loss=losses.preset(name, T.get(name), 1.0, 1.0, layers))


@pytest.fixture(scope="module")
def groups(tiny):
    """Every method in one group, by augmentation."""
    return {
        augmentation: dict(
            zip(
                losses.METHODS,
                distill(teacher(), [job(name, augmentation) for name in losses.METHODS], tiny, precision="fp32"),
                strict=True,
            )
        )
        for augmentation in (PLAIN, ACTIVE)
    }


@pytest.mark.parametrize("augmentation", [PLAIN, ACTIVE], ids=["plain", "augmented"])
@pytest.mark.parametrize("name", losses.METHODS)
def test_a_method_in_a_group_ends_as_it_does_alone(tiny, groups, name, augmentation):
    alone = distill(teacher(), [job(name, augmentation)], tiny, precision="fp32")[0]
    assert_same(groups[augmentation][name], alone)
    assert groups[augmentation][name].group_size == len(losses.METHODS)


def test_every_method_leads_somewhere_else(groups):
    weights = {name: outcome.state["fc.weight"] for name, outcome in groups[PLAIN].items()}
    assert len({tuple(weight.flatten().tolist()) for weight in weights.values()}) == len(losses.METHODS)


def test_the_state_and_the_parameter_count_are_those_of_the_student_alone(groups):
    plain = resnet3()
    for outcome in groups[PLAIN].values():
        assert list(outcome.state) == list(plain.state_dict())
        assert outcome.metrics["params"] == sum(p.numel() for p in plain.parameters())
        assert outcome.metrics["trainable_params"] == outcome.metrics["params"]


def test_an_outcome_says_what_was_compared(groups):
    pairs = {name: outcome.taps for name, outcome in groups[PLAIN].items()}
    assert pairs["sp"] == pairs["rkd"] == (("layer1", "layer1"),)
    assert pairs["dkd"] == pairs["dist"] == pairs["kd_std"] == ()
    assert pairs["at"][-1] == ("layer1", "layer1")


def test_an_adapter_is_trained_with_the_student(tiny):
    theirs = losses.stages(teacher(), tiny.shape)
    begun = feature_pairs(job("fitnets"), resnet3(), theirs, tiny.shape).adapter.weight.detach().clone()
    again = feature_pairs(job("fitnets"), resnet3(), theirs, tiny.shape)
    assert torch.equal(begun, again.adapter.weight)  # the seed decides, not what was drawn in between
    torch.manual_seed(0)
    student = resnet3()
    cpu = torch.device("cpu")
    learner = Learner(job("fitnets"), student, cpu, "fp32", 4, check_model(student, tiny, "student"), None, again)
    learner.begin()
    output = Teacher(teacher(), tiny, cpu, "fp32").answer(torch.randn(8, *tiny.shape), again.teacher)
    learner.step(torch.randn(8, *tiny.shape), torch.zeros(8, dtype=torch.int64), output)
    assert not torch.equal(begun, again.adapter.weight)


def test_no_hook_stays_on_student_or_teacher(tiny):
    guide, built = teacher(), []

    def build(classes: int = 4) -> nn.Module:
        built.append(resnet3(classes))
        return built[-1]

    distill(guide, [job("at", ACTIVE, build)], tiny)
    modules = [*guide.modules(), *(module for model in built for module in model.modules())]
    assert len(built) == 1
    assert not any(module._forward_hooks for module in modules)


def test_layers_can_be_named(tiny):
    outcome = distill(teacher(), [job("sp", layers=("conv2:layer1",), build=cnn2)], tiny, precision="fp32")[0]
    assert outcome.taps == (("conv2", "layer1"),)


def test_a_student_that_cannot_be_copied_learns_from_features(tiny):
    def locked() -> nn.Module:
        model = cnn2()
        model.lock = threading.Lock()
        return model

    outcome = distill(teacher(), [job("sp", layers=("conv2:layer1",), build=locked)], tiny, precision="fp32")[0]
    assert outcome.taps == (("conv2", "layer1"),)


@pytest.mark.parametrize(
    ("layers", "build", "says"),
    [
        (("layer9",), resnet3, "the student has no stage 'layer9'"),
        (("layer1:conv9",), resnet3, "the teacher has no stage 'conv9'"),
        (None, linear, "the student has none"),
    ],
)
def test_layers_that_are_not_there_are_refused_before_training(tiny, layers, build, says):
    with pytest.raises(UserError, match=says):
        distill(teacher(), [job("sp", layers=layers, build=build)], tiny)


def test_a_cached_teacher_still_gives_its_maps(tiny):
    # The same pixels either way: logits from the cache and maps from a forward pass, or both from one.
    null = Augmentation(brightness=1e-9)
    outcomes = [distill(teacher(), [job("sp", kind, epochs=2)], tiny, precision="fp32")[0] for kind in (PLAIN, null)]
    assert_same(*outcomes)
