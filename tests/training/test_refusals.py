"""What training cannot use is refused with one line, before the first step."""

import dataclasses

import pytest
import torch
from small import batchnorm, linear, mlp, trained_statistics
from torch import nn

from kdlib.data import Split
from kdlib.errors import UserError
from kdlib.losses import weighted_kl
from kdlib.training import Job, Recipe, distill, fit, learner, resolve_device, train

RECIPE = Recipe(batch_size=16, epochs=1)
LOSS = weighted_kl(2, 0.5)


@pytest.fixture(autouse=True)
def _never_a_step(monkeypatch):
    def step(*_):
        raise AssertionError("training began")

    monkeypatch.setattr(learner.Learner, "step", step)


def refused(says: str):
    return pytest.raises(UserError, match=says)


def test_a_student_of_other_classes(tiny):
    job = Job(lambda: mlp(classes=7), RECIPE, name="my net")
    with refused(r"my net gives outputs of shape \(7,\), but tiny has 4 classes"):
        fit(job, tiny)


def test_a_teacher_of_other_classes(tiny):
    with refused(r"the teacher gives outputs of shape \(10,\), but tiny has 4 classes"):
        distill(mlp(classes=10), [Job(mlp, RECIPE, loss=LOSS)], tiny)


def test_a_later_job_of_other_classes(tiny):
    with refused("Sequential gives outputs"):
        train([Job(mlp, RECIPE), Job(lambda: mlp(classes=3), RECIPE)], tiny)


def test_a_model_that_does_not_take_the_images(make_tiny):
    with refused(r"Sequential cannot take images of 1×8×8 \(channels×height×width\): "):
        fit(Job(batchnorm, RECIPE), make_tiny(channels=1))


@pytest.mark.parametrize(
    "error", [AssertionError("Wrong image height!"), ValueError("no"), TypeError("no"), KeyError()]
)
def test_a_model_that_refuses_the_images_in_its_own_way(tiny, error):
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 4)

        def forward(self, x):
            raise error

    with refused("Picky cannot take images of 3×8×8"):
        fit(Job(Picky, RECIPE), tiny)


def test_a_model_whose_output_is_no_tensor(tiny):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(192, 4)

        def forward(self, x):
            return {"logits": self.fc(x.flatten(1))}

    with refused("Wrapped gives outputs of"):
        fit(Job(Wrapped, RECIPE), tiny)


def test_a_refused_teacher_keeps_its_mode(tiny):
    teacher = batchnorm(classes=10).train()
    teacher[1].eval()
    with refused("the teacher"):
        distill(teacher, [Job(mlp, RECIPE, loss=LOSS)], tiny)
    assert teacher.training
    assert not teacher[1].training


def test_fewer_images_than_a_batch(tiny):
    with refused(r"48 training images, fewer than one batch of 49"):
        fit(Job(mlp, dataclasses.replace(RECIPE, batch_size=49)), tiny)


def test_single_images_cannot_train_batch_norm(tiny):
    with refused("has batch norm, which cannot train on single images; use batch_size 2 or more"):
        fit(Job(batchnorm, dataclasses.replace(RECIPE, batch_size=1)), tiny)


def test_no_validation_images(tiny):
    none = Split(tiny.val.images[:0], tiny.val.labels[:0])
    with refused("no validation images"):
        fit(Job(mlp, RECIPE), dataclasses.replace(tiny, val=none))


def test_a_distillation_loss_without_a_teacher(tiny):
    with refused("needs a teacher"):
        fit(Job(mlp, RECIPE, loss=LOSS), tiny)


def test_no_jobs(tiny):
    with refused("no models to train"):
        distill(trained_statistics(), [], tiny)


def test_unknown_precision_before_anything_is_built(tiny):
    with refused("precision must be"):
        fit(Job(linear, RECIPE), tiny, precision="half")


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with refused("unknown device 'gpu'; say auto, cpu or cuda"):
        resolve_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_device_that_is_not_here(name):
    with refused(f"device '{name}' is not here"):
        resolve_device(name)


def test_a_dataset_without_validation_images(tiny):
    empty = dataclasses.replace(tiny, val=Split(tiny.val.images[:0], tiny.val.labels[:0]))
    with refused("tiny has no validation images"):
        fit(Job(mlp, RECIPE), empty)
