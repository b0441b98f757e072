"""The teacher: frozen, left as it came, asked once where nothing is augmented."""

import dataclasses

import pytest
import torch
from small import Pixels, assert_same, batchnorm, dropout, linear, mlp, trained_statistics
from torch import nn

from kdlib import models
from kdlib.data import Augmentation
from kdlib.losses import weighted_kl
from kdlib.training import Job, Recipe, distill, teacher, train
from kdlib.training.teacher import fused
from kdlib.training.world import ALONE, World

RECIPE = Recipe(lr=0.01, batch_size=16, epochs=2)
# Active, but it changes no pixel: the amount is far below one grey level.
NULL = Augmentation(brightness=1e-9)
LOSS = weighted_kl(2, 0.9)


def students(recipe: Recipe, count: int = 2) -> list[Job]:
    return [Job(mlp, recipe, seed=seed, loss=LOSS) for seed in range(count)]


def with_epochs(recipe: Recipe, epochs: int, augmentation: Augmentation) -> Recipe:
    return dataclasses.replace(recipe, epochs=epochs, augmentation=augmentation)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True)], ids=["cached", "augmented"])
@pytest.mark.parametrize("training", [True, False])
def test_the_callers_teacher_is_left_as_it_was(tiny, augmentation, training):
    teacher = trained_statistics().train(training)
    teacher[1].eval()  # a mode of its own inside, as fine-tuners set it
    teacher[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    modes = [module.training for module in teacher.modules()]
    frozen = [p.requires_grad for p in teacher.parameters()]
    distill(teacher, students(with_epochs(RECIPE, 2, augmentation)), tiny)
    assert list(before) == list(teacher.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert [module.training for module in teacher.modules()] == modes
    assert [p.requires_grad for p in teacher.parameters()] == frozen
    assert all(p.grad is None for p in teacher.parameters())
    assert all(not module._forward_hooks for module in teacher.modules())


@pytest.mark.parametrize("build", [batchnorm, dropout])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True)], ids=["cached", "augmented"])
def test_a_teacher_handed_over_in_train_mode_teaches_in_eval_mode(tiny, build, augmentation):
    jobs = students(with_epochs(RECIPE, 2, augmentation), 1)
    outcomes = [
        distill(trained_statistics(build).train(training), jobs, tiny, precision="fp32")[0]
        for training in (True, False)
    ]
    assert_same(*outcomes)


@pytest.mark.parametrize("epochs", [1, 4])
def test_without_augmentation_the_teacher_sees_each_image_once(tiny, epochs):
    teacher = Pixels()
    Pixels.images = 0
    distill(teacher, students(with_epochs(RECIPE, epochs, Augmentation())), tiny, precision="fp32")
    # one image more to check its classes
    assert Pixels.images == 48 + 1


@pytest.mark.parametrize("count", [1, 3])
def test_with_augmentation_it_answers_each_epoch_once_for_all_students_in_large_batches(tiny, count):
    teacher = Pixels()
    Pixels.forwards = Pixels.images = 0
    recipe = with_epochs(RECIPE, 2, Augmentation(flip=True))
    distill(teacher, students(recipe, count), tiny, precision="fp32")
    assert Pixels.forwards == 1 + 2
    assert Pixels.images == 1 + 2 * 48


def test_cached_logits_are_addressed_by_sample(tiny):
    # the same pixels either way: once from the cache, once from a forward pass of the shuffled batch
    cached = distill(Pixels(), students(RECIPE), tiny, precision="fp32")
    fresh = distill(Pixels(), students(with_epochs(RECIPE, 2, NULL)), tiny, precision="fp32")
    for a, b in zip(cached, fresh, strict=True):
        assert_same(a, b)


def test_each_sample_is_taught_its_own_logits(tiny, monkeypatch):
    from kdlib.training import learner

    pairs = []
    monkeypatch.setattr(learner.Learner, "step", lambda self, x, y, z: pairs.append((x.clone(), z.logits.clone())))
    distill(Pixels(), students(RECIPE, 1), tiny, precision="fp32")
    assert len(pairs) == 6
    for images, logits in pairs:
        assert torch.equal(images[:, 0].flatten(1)[:, :4], logits)


def test_with_augmentation_the_teacher_sees_what_the_student_sees(tiny, monkeypatch):
    from kdlib.training import learner

    pairs = []
    monkeypatch.setattr(learner.Learner, "step", lambda self, x, y, z: pairs.append((x.clone(), z.logits.clone())))
    distill(Pixels(), students(with_epochs(RECIPE, 1, Augmentation(pad=3, flip=True)), 1), tiny)
    for images, logits in pairs:
        assert torch.equal(images[:, 0].flatten(1)[:, :4], logits)


def test_a_group_of_baselines_never_asks_the_teacher(tiny):
    Pixels.forwards = 0
    distill(Pixels(), [Job(mlp, RECIPE)], tiny, precision="fp32")
    assert Pixels.forwards == 1  # its classes were checked


def test_a_baseline_among_students_learns_from_the_labels_alone(tiny):
    alone = train([Job(mlp, RECIPE)], tiny, precision="fp32")[0]
    beside = distill(Pixels(), [*students(RECIPE), Job(mlp, RECIPE)], tiny, precision="fp32")[2]
    assert_same(alone, beside)


def test_a_student_of_alpha_zero_is_a_baseline(tiny):
    baseline, student = distill(
        Pixels(), [Job(mlp, RECIPE), Job(mlp, RECIPE, loss=weighted_kl(4, 0))], tiny, precision="fp32"
    )
    assert_same(baseline, student)


def test_distillation_takes_the_student_to_its_teacher(tiny):
    class Fixed(nn.Module):
        """Says the class after the true one: labels alone would never teach that."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            rows = x.mean(dim=(1, 3))[:, :4]
            return 20 * nn.functional.one_hot((rows.argmax(dim=1) + 1) % 4, 4).float()

    recipe = Recipe(lr=0.01, batch_size=16, epochs=20)
    wrong = distill(Fixed(), [Job(linear, recipe, loss=weighted_kl(1, 1, 0))], tiny, precision="fp32")[0]
    agree = (wrong.logits.argmax(dim=1) == (wrong.labels + 1) % 4).float().mean()
    assert agree == 1
    assert wrong.metrics["test_accuracy"] == 0


# Fused for the CPU


def batch(count: int = 32, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet18_light", "conv3", "cnn2", "mobilenetv2_fc"])
def test_a_fused_teacher_says_the_same(name):
    torch.manual_seed(0)
    model = models.build(name, 10).eval().requires_grad_(False)
    images = batch(77)
    quick = fused(model, images[:32])
    assert quick is not None
    with torch.no_grad():
        assert torch.allclose(quick(images), model(images), rtol=1e-3, atol=1e-4)
        assert torch.equal(quick(images), quick(images))


class Moody(nn.Module):
    """Does one thing with bright images and another with dark ones: a trace would know one of them."""

    def __init__(self):
        super().__init__()
        self.net = models.build("cnn2", 10)

    def forward(self, x):
        return self.net(x) if x.mean() > 0 else -self.net(x)


class Counting(nn.Module):
    """Answers by how many images there are."""

    def __init__(self):
        super().__init__()
        self.net = models.build("cnn2", 10)

    def forward(self, x):
        return self.net(x) * len(x)


@pytest.mark.parametrize("build", [Moody, Counting])
def test_what_cannot_be_traced_stays_as_it_is(build):
    assert fused(build().eval(), batch()) is None


def test_many_images_are_answered_fused_and_the_bits_do_not_depend_on_the_store(make_tiny, tmp_path, monkeypatch):
    dataset = make_tiny(train=1000)
    recipe = with_epochs(RECIPE, 1, Augmentation(flip=True))
    calls = []
    monkeypatch.setattr(teacher, "fused", lambda *words: (calls.append(1), fused(*words))[1])
    asked = [Job(mlp, dataclasses.replace(recipe, batch_size=100), loss=LOSS)]
    store = teacher.TeacherStore(tmp_path, "t", 10**9)
    plain, empty, full = (
        distill(trained_statistics(), asked, dataset, precision="fp32", teacher_store=s)[0]
        for s in (None, store, store)
    )
    assert len(calls) == 2  # with a full store there is nothing to answer
    assert_same(plain, empty)
    assert_same(plain, full)


class First(World):
    """The first of two processes, of which the other one sends nothing."""

    def agree(self, say):
        return say()

    def merge(self, done):
        return done


@pytest.mark.parametrize("change", ["world", "weights", "precision", None])
def test_an_answer_that_was_begun_is_gone_on_with_as_it_was_begun(tiny, monkeypatch, change):
    monkeypatch.setattr(teacher, "batch_of", lambda *_: 8)  # six batches

    def made(**other) -> teacher.Teacher:
        torch.manual_seed(3 if change == "weights" and other else 2)
        precision = "bf16" if change == "precision" and other else "fp32"
        world = First(0, 2) if change == "world" and other else ALONE
        return teacher.Teacher(models.build("resnet3", 4), tiny, torch.device("cpu"), precision, world=world)

    def stop():
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt

    asked, first, other = [], made(), made(other=True)
    with pytest.raises(KeyboardInterrupt):
        first.epoch_logits(Augmentation(), 0, 0, between=stop)
    assert len(first.begun["rows"]) == 3
    other.begun = first.begun
    asked.clear()
    found = other.epoch_logits(Augmentation(), 0, 0, between=lambda: asked.append(1))
    assert torch.equal(found, made(other=True).epoch_logits(Augmentation(), 0, 0))
    assert len(asked) == (3 if change in (None, "world") else 6)
