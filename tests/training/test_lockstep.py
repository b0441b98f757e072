"""A model ends in a group exactly as it ends alone, to the bit in fp32."""

import dataclasses

import pytest
import torch
from small import assert_same, batchnorm, cnn2, differ, dropout, linear, mlp, trained_statistics

from kdlib.data import Augmentation, Split
from kdlib.errors import UserError
from kdlib.losses import convex_kl, convex_soft_ce, weighted_kl
from kdlib.training import Job, Recipe, distill, fit, learner, train

PLAIN = Augmentation()
ACTIVE = Augmentation(pad=2, flip=True, rotate=10.0, brightness=0.1)


def recipe(**values) -> Recipe:
    return Recipe(**{"batch_size": 16, "epochs": 2, "lr": 0.01, **values})


def neighbours(augmentation: Augmentation) -> list[Job]:
    """Jobs that differ in all that may differ within a group."""
    adam = recipe(augmentation=augmentation)
    sgd = recipe(augmentation=augmentation, optimizer="sgd", lr=0.1, momentum=0.9, nesterov=True)
    best = recipe(augmentation=augmentation, schedule="cosine", warmup=0.25, weight_decay=0.01, select="best")
    return [
        Job(batchnorm, adam, seed=0, loss=weighted_kl(2, 0.5)),
        Job(dropout, sgd, seed=0, loss=convex_soft_ce(20, 0.9)),
        Job(cnn2, best, seed=3, loss=convex_kl(4, 0.1)),
        Job(dropout, adam, seed=1, loss=weighted_kl(1.5, 0.7, 0.3)),
        Job(batchnorm, sgd, seed=2),
    ]


@pytest.fixture(scope="module")
def solo(tiny):
    """Each job of ``neighbours`` trained alone, by augmentation."""

    def alone(job: Job):
        return train([job], tiny, trained_statistics() if job.loss else None, precision="fp32")[0]

    return {augmentation: [alone(job) for job in neighbours(augmentation)] for augmentation in (PLAIN, ACTIVE)}


@pytest.mark.parametrize("augmentation", [PLAIN, ACTIVE], ids=["plain", "augmented"])
@pytest.mark.parametrize("limit", [None, 1], ids=["one group", "split"])
def test_a_student_in_a_group_ends_as_it_does_alone(tiny, solo, augmentation, limit):
    jobs = neighbours(augmentation)
    together = distill(trained_statistics(), jobs, tiny, precision="fp32", memory_limit=limit)
    assert [outcome.group_size for outcome in together] == [1 if limit else 5] * 5
    for ours, alone in zip(together, solo[augmentation], strict=True):
        assert alone.group_size == 1
        assert_same(ours, alone)


def test_the_order_of_the_group_does_not_matter(tiny, solo):
    jobs = neighbours(ACTIVE)
    backwards = distill(trained_statistics(), jobs[::-1], tiny, precision="fp32")
    for ours, alone in zip(backwards[::-1], solo[ACTIVE], strict=True):
        assert_same(ours, alone)


def test_the_same_with_two_threads(tiny):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        jobs = neighbours(ACTIVE)[:3]
        together = distill(trained_statistics(), jobs, tiny, precision="fp32")
        alone = distill(trained_statistics(), jobs[:1], tiny, precision="fp32")[0]
    finally:
        torch.set_num_threads(threads)
    assert_same(together[0], alone)


def test_same_seed_same_bits(tiny, solo):
    for job, first in zip(neighbours(ACTIVE), solo[ACTIVE], strict=True):
        again = train([job], tiny, trained_statistics() if job.loss else None, precision="fp32")[0]
        assert_same(again, first)


@pytest.mark.parametrize("build", [batchnorm, dropout, cnn2])
def test_other_seed_other_initialisation(tiny, build):
    outcomes = [fit(Job(build, recipe(), seed=seed), tiny, precision="fp32") for seed in (0, 1)]
    assert differ(*outcomes)


def test_other_seed_other_dropout(tiny):
    def fixed_start():
        torch.manual_seed(99)
        return dropout()

    outcomes = [fit(Job(fixed_start, recipe(), seed=seed), tiny, precision="fp32") for seed in (0, 1)]
    assert differ(*outcomes)


def test_order_seed_decides_the_batches_and_nothing_else_does(tiny):
    # one zero start, no dropout: only batch order and augmentation can tell two runs apart
    jobs = [Job(linear, recipe(augmentation=ACTIVE), seed=seed) for seed in (0, 1)]
    a, b = train(jobs, tiny, precision="fp32", order_seed=0)
    assert_same(a, b)
    assert differ(a, fit(jobs[0], tiny, precision="fp32", order_seed=1))


@pytest.fixture
def batches(monkeypatch):
    """Every batch (images, labels) that a model is stepped on; it learns nothing."""
    seen = []
    monkeypatch.setattr(learner.Learner, "step", lambda self, x, y, z: seen.append((x.clone(), y.clone())))
    return seen


def test_each_epoch_has_its_own_order(tiny, batches):
    fit(Job(mlp, recipe(batch_size=48)), tiny, precision="fp32")
    first, second = (images for images, _ in batches)
    assert not torch.equal(first, second)
    # the same images, each once
    assert torch.equal(first.flatten(1).sum(1).sort().values, second.flatten(1).sum(1).sort().values)


def test_each_epoch_has_its_own_augmentation(tiny, batches):
    # one image 48 times over: in whatever order it comes, only the augmentation can tell two epochs apart
    images = tiny.train.images[:1].expand(48, -1, -1, -1).contiguous()
    alike = dataclasses.replace(tiny, train=Split(images, tiny.train.labels))
    fit(Job(mlp, recipe(batch_size=48, augmentation=ACTIVE)), alike, precision="fp32")
    first, second = (images for images, _ in batches)
    assert not torch.equal(first, second)
    # nor are the images of a batch augmented alike
    assert len(first.unique(dim=0)) > 24


def test_the_order_of_the_batches_is_independent_of_the_seed_of_initialisation(tiny, batches):
    for seed in (0, 1):
        fit(Job(mlp, recipe(epochs=1), seed=seed), tiny, precision="fp32")
    labels = [labels for _, labels in batches]
    first, second = torch.cat(labels[:3]), torch.cat(labels[3:])
    assert torch.equal(first, second)
    # an epoch shows every image once
    assert torch.equal(first.bincount(), tiny.train.labels.bincount())
    assert not torch.equal(first, tiny.train.labels)


def test_jobs_of_a_group_share_batches(tiny):
    jobs = [Job(mlp, recipe()), Job(mlp, recipe(batch_size=8))]
    with pytest.raises(UserError, match="must agree in batch size, epochs and augmentation"):
        train(jobs, tiny)


# Divergence


@pytest.mark.parametrize("select", ["last", "best"])
def test_divergence_is_recorded_and_leaves_the_neighbours_alone(tiny, solo, select):
    wild = Job(mlp, recipe(optimizer="sgd", lr=1e9, select=select), loss=weighted_kl(2, 0.5))
    jobs = neighbours(PLAIN)
    outcomes = distill(trained_statistics(), [*jobs[:2], wild, *jobs[2:]], tiny, precision="fp32")
    gone = outcomes.pop(2)
    assert gone.diverged == {"reason": "the loss or the logits became NaN or infinite", "epoch": 1}
    # it is dropped at once
    assert len(gone.history) == 1
    for ours, alone in zip(outcomes, solo[PLAIN], strict=True):
        assert ours.diverged is None
        assert_same(ours, alone)


def test_the_epoch_of_divergence_is_named(tiny):
    # an optimiser that goes wild in the third epoch
    class Late(Recipe):
        def lr_at(self, step, steps):
            return 1e30 if step >= 6 else 0.01

    late = Late(optimizer="sgd", batch_size=16, epochs=5)
    outcome = fit(Job(mlp, late), tiny, precision="fp32")
    assert outcome.diverged["epoch"] == 3
    assert len(outcome.history) == 3


def test_a_diverged_run_that_keeps_the_best_epoch_keeps_a_sound_one(tiny):
    class Late(Recipe):
        def lr_at(self, step, steps):
            return 1e30 if step >= 6 else 0.01

    outcome = fit(Job(mlp, Late(optimizer="sgd", batch_size=16, epochs=5, select="best")), tiny)
    assert outcome.diverged["epoch"] == 3
    assert outcome.metrics["epoch"] in (1, 2)
    assert all(torch.isfinite(tensor).all() for tensor in outcome.state.values())


def test_when_all_diverge_training_ends(tiny):
    class Bar:
        done = 0.0

        def advance(self, amount):
            self.done += amount

        skip = advance

        def say(self, text):
            pass

    bar = Bar()
    wild = recipe(optimizer="sgd", lr=1e9, epochs=50)
    outcomes = train([Job(mlp, wild, seed=s) for s in (0, 1)], tiny, progress=bar, weight=3.0)
    assert [len(outcome.history) for outcome in outcomes] == [1, 1]
    assert bar.done == pytest.approx(3.0)
