"""What is frozen does not move, in weights or statistics; and classes that weigh more."""

import pytest
import torch
import torch.nn.functional as F
from small import assert_same, batchnorm, linear
from torch import nn
from torchvision.ops import StochasticDepth

from kdlib.data import Augmentation, Dataset, Split, fingerprint
from kdlib.errors import UserError
from kdlib.losses import weighted_kl
from kdlib.models import open_only
from kdlib.training import Job, Recipe, distill, fit, train
from kdlib.training.learner import frozen_modules

RECIPE = Recipe(optimizer="adam", lr=0.01, batch_size=16, epochs=2)


def opened(*prefixes):
    def build():
        model = batchnorm()
        open_only(model, prefixes)
        return model

    return build


def initial(build=batchnorm):
    from kdlib.training import derive

    torch.manual_seed(derive(0, "student", "init"))
    return build().state_dict()


def test_frozen_weights_and_statistics_stay_to_the_bit(tiny):
    before, after = initial(), fit(Job(opened("5", "6", "7"), RECIPE), tiny, precision="fp32").state
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved == (name.split(".")[0] in ("5", "6", "7")), name


class Body(nn.Sequential):
    """A frozen body with norms that have no weights of their own, and a dropout; an open head."""

    def __init__(self):
        norms = [nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4, track_running_stats=True)]
        body = nn.Sequential(nn.Conv2d(3, 4, 3), norms[0], nn.Conv2d(4, 4, 3), norms[1], nn.Dropout(0.5))
        super().__init__(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 4))
        open_only(self, ["4"])


def test_frozen_is_the_block_and_all_in_it(tiny):
    before, after = initial(Body), fit(Job(Body, RECIPE), tiny, precision="fp32").state
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"4.weight", "4.bias"}
    body = Body()
    assert frozen_modules(body) == [body[0], *body[0]]


class Dropping(nn.Module):
    """Drops paths by a module without weights, and more by its own mode."""

    def __init__(self):
        super().__init__()
        self.layer, self.path = nn.Conv2d(3, 4, 3), StochasticDepth(0.5, "row")

    def forward(self, x):
        return self.path(F.dropout(self.layer(x), 0.5, self.training))


def test_whatever_moves_in_a_frozen_body_stands_still(tiny):
    modes = []

    class Look:
        def on_step(self, state):
            modes.append((state.model[0].training, state.model[0].path.training, state.model[3].training))

    def build():
        model = nn.Sequential(Dropping(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
        open_only(model, ["3"])
        return model

    fit(Job(build, RECIPE), tiny, precision="fp32", callbacks=[Look()])
    assert set(modes) == {(False, False, True)}


def test_nothing_stands_still_where_all_is_trained():
    assert frozen_modules(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Dropout())) == []


def test_open_batch_norm_keeps_learning_its_statistics(tiny):
    after = fit(Job(opened("1", "7"), RECIPE), tiny, precision="fp32").state
    assert after["1.num_batches_tracked"] == 6  # 3 batches of 16, 2 epochs
    assert after["6.num_batches_tracked"] == 0


def test_metrics_count_what_was_trained(tiny):
    metrics = fit(Job(opened("7"), RECIPE), tiny, precision="fp32").metrics
    assert metrics["trainable_params"] == 8 * 4 + 4
    assert metrics["params"] == sum(p.numel() for p in batchnorm().parameters())


def test_a_frozen_model_in_a_group_ends_as_alone(tiny):
    jobs = [Job(batchnorm, RECIPE), Job(opened("5", "6", "7"), RECIPE), Job(opened("7"), RECIPE, seed=1)]
    together = train(jobs, tiny, precision="fp32")
    for job, outcome in zip(jobs, together, strict=True):
        assert_same(outcome, fit(job, tiny, precision="fp32"))


def test_a_student_may_be_frozen_in_part(tiny):
    job = Job(opened("7"), RECIPE, loss=weighted_kl(2, 0.5))
    state = distill(batchnorm(), [job], tiny, precision="fp32")[0].state
    assert torch.equal(state["0.weight"], initial()["0.weight"])
    assert not torch.equal(state["7.weight"], initial()["7.weight"])


def uneven() -> Dataset:
    """Six images of class 0 and two of class 1, 3×8×8; validation and test the same images."""
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (8, 3, 8, 8), generator=chance).to(torch.uint8)
    split = Split(images, torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]))
    splits = {"train": split, "val": split, "test": split}
    names = ("common", "rare")
    return Dataset("uneven", names, **splits, fingerprint=fingerprint(names, splits), mean=(0.5,) * 3, std=(0.3,) * 3)


def test_balanced_weights_by_hand():
    # One step of plain SGD from zero on the whole set: the bias moves by lr times the weighted mean of (1/2 - hit).
    # Weights are 8 / (2·6) = 2/3 and 8 / (2·2) = 2: each class then holds half of the weight, and the bias stays.
    recipe = Recipe(optimizer="sgd", lr=1.0, batch_size=8, epochs=1)
    plain = fit(Job(lambda: linear(2), recipe), uneven(), precision="fp32")
    assert plain.state["1.bias"].tolist() == pytest.approx([0.25, -0.25])
    recipe = Recipe(optimizer="sgd", lr=1.0, batch_size=8, epochs=1, class_weights="balanced")
    balanced = fit(Job(lambda: linear(2), recipe), uneven(), precision="fp32")
    assert balanced.state["1.bias"].tolist() == pytest.approx([0.0, 0.0], abs=1e-7)


@pytest.mark.parametrize("loss", [None, weighted_kl(2, 0, 1)])
def test_label_smoothing_by_hand(loss):
    # As above, from zero: six labels of eight are class 0. Smoothed by 0.2 a label is 0.9 and 0.1, and the bias moves
    # by the mean of (label - 1/2): 6/8 · 0.4 - 2/8 · 0.4 = 0.2. The test loss knows no smoothing.
    recipe = Recipe(optimizer="sgd", lr=1.0, batch_size=8, epochs=1, label_smoothing=0.2)
    job = Job(lambda: linear(2), recipe, loss=loss)
    found = distill(linear(2), [job], uneven(), precision="fp32")[0] if loss else fit(job, uneven(), precision="fp32")
    assert found.state["1.bias"].tolist() == pytest.approx([0.2, -0.2])
    expected = F.cross_entropy(found.logits.double(), found.labels).item()
    assert found.metrics["test_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_validation_loss_weighs_as_the_training_does_and_the_test_loss_does_not():
    recipe = Recipe(optimizer="sgd", lr=0.01, batch_size=8, epochs=1, class_weights="balanced")
    outcome = fit(Job(lambda: linear(2), recipe), uneven(), precision="fp32")
    logits, labels = outcome.logits.double(), outcome.labels
    weights = torch.tensor([2 / 3, 2.0], dtype=torch.float64)
    assert outcome.history[0]["val_loss"] == pytest.approx(F.cross_entropy(logits, labels, weights).item(), rel=1e-6)
    assert outcome.metrics["test_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


def test_the_soft_term_is_not_weighed():
    loss = weighted_kl(2, 1, 0)
    student, teacher = torch.randn(5, 2), torch.randn(5, 2)
    labels, weights = torch.tensor([0, 1, 1, 0, 0]), torch.tensor([0.3, 5.0])
    soft, hard = loss.terms(student, teacher, labels, weights)
    assert torch.equal(soft, loss.terms(student, teacher, labels)[0])
    assert torch.equal(hard, F.cross_entropy(student, labels, weights))


def test_groups_come_out_with_the_test_labels(tiny):
    from dataclasses import replace

    patients = torch.arange(len(tiny.test)) // 2
    grouped = replace(tiny, test=replace(tiny.test, groups=patients))
    assert torch.equal(fit(Job(batchnorm, RECIPE), grouped, precision="fp32").groups, patients)
    assert fit(Job(batchnorm, RECIPE), tiny, precision="fp32").groups is None


def test_unknown_class_weights():
    with pytest.raises(UserError, match="class_weights must be one of none, balanced"):
        Recipe(class_weights="inverse")
    with pytest.raises(UserError, match="label_smoothing must be from 0 to below 1, got 1"):
        Recipe(label_smoothing=1)


def test_radiograph_augmentation_does_not_mirror():
    from kdlib.studies.schema import load
    from kdlib.studies.study import recipe

    final = load("radiology_final").recipes["sgd"]
    assert recipe(final).augmentation == Augmentation(rotate=10, scale=0.1, brightness=0.1, contrast=0.1)
