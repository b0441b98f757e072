"""What comes out: the epoch kept, the metrics, the history, divergence to chance, and a caller left undisturbed."""

import dataclasses
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import assert_same, batchnorm, dropout, linear, mlp, trained_statistics

from kdlib.data import Split
from kdlib.losses import weighted_kl
from kdlib.training import Job, Recipe, derive, distill, fit, train
from kdlib.training.evaluation import blown_up

RECIPE = Recipe(lr=0.01, batch_size=16, epochs=2)


def evaluate(build, state: dict, dataset, split: Split) -> torch.Tensor:
    """Logits of a split by plain torch, one image at a time."""
    model = build()
    model.load_state_dict(state)
    model.eval()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (dataset.mean, dataset.std))
    with torch.no_grad():
        rows = [model(((image / 255.0 - mean) / std).float()[None])[0] for image in split.images.double()]
    return torch.stack(rows)


# The epoch kept


@pytest.fixture(scope="module")
def unruly(tiny):
    """Validation labels that nothing can learn, so that its accuracy goes up and down."""
    shuffled = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(tiny, val=Split(tiny.val.images, tiny.val.labels[shuffled]))


@pytest.fixture(scope="module")
def bumpy(unruly):
    """A run whose best epoch on validation is neither the first nor the last."""
    recipe = Recipe(optimizer="sgd", lr=0.1, momentum=0.5, batch_size=16, epochs=6, select="best")
    for seed in range(20):
        job = Job(mlp, recipe, seed=seed)
        outcome = fit(job, unruly, precision="fp32")
        if 1 < outcome.metrics["epoch"] < 6:
            return job, outcome
    raise AssertionError("no such run among 20")


def test_best_keeps_the_epoch_that_is_best_on_validation(bumpy):
    _, outcome = bumpy
    rows = outcome.history
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert outcome.metrics["epoch"] == best["epoch"]
    assert len(rows) == 6
    for name in ("val_accuracy", "val_loss", "train_accuracy", "train_loss"):
        assert outcome.metrics[name] == best[name]


def test_best_keeps_the_weights_of_that_epoch(bumpy, unruly):
    job, outcome = bumpy
    # at a constant rate a run that ends there has just these weights
    shorter = dataclasses.replace(job.recipe, epochs=outcome.metrics["epoch"], select="last")
    ended = fit(dataclasses.replace(job, recipe=shorter), unruly, precision="fp32")
    assert ended.metrics["epoch"] == outcome.metrics["epoch"]
    for name, tensor in ended.state.items():
        assert torch.equal(tensor, outcome.state[name])
    assert torch.equal(ended.logits, outcome.logits)
    assert outcome.metrics["test_accuracy"] == ended.metrics["test_accuracy"]


def test_last_keeps_the_last(bumpy, unruly):
    job, _ = bumpy
    last = fit(dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, select="last")), unruly)
    assert last.metrics["epoch"] == 6


def test_between_epochs_of_one_accuracy_the_lower_loss_is_better(tiny):
    from kdlib.training.check import check_model
    from kdlib.training.learner import Learner

    recipe, model = dataclasses.replace(RECIPE, select="best"), linear()
    learner = Learner(Job(linear, recipe), model, torch.device("cpu"), "fp32", 6, check_model(model, tiny, "linear"))
    learner.begin()
    for accuracy, loss in ((0.5, 1.0), (0.75, 0.9), (0.75, 0.8), (0.75, 0.85), (0.5, 0.1)):
        learner.close_epoch({"loss": loss, "accuracy": accuracy, "balanced_accuracy": accuracy}, 0.0)
    assert learner.keep() == 3


# Metrics and history


@pytest.mark.parametrize("build", [batchnorm, dropout, linear])
def test_metrics_by_hand(tiny, build):
    outcome = fit(Job(build, RECIPE), tiny, precision="fp32")
    for part in ("val", "test"):
        split = getattr(tiny, part)
        logits = evaluate(build, outcome.state, tiny, split).double()
        picked = logits.log_softmax(dim=1)[torch.arange(len(split)), split.labels]
        accuracy = sum(int(row.argmax()) == int(label) for row, label in zip(logits, split.labels, strict=True))
        assert outcome.metrics[f"{part}_accuracy"] == accuracy / len(split)
        assert outcome.metrics[f"{part}_loss"] == pytest.approx(-picked.mean().item(), rel=1e-5)
    assert torch.allclose(outcome.logits, evaluate(build, outcome.state, tiny, tiny.test), atol=1e-5)
    assert torch.equal(outcome.labels, tiny.test.labels)
    assert outcome.logits.dtype == torch.float32
    assert outcome.metrics["params"] == sum(p.numel() for p in build().parameters())


def test_training_rows_by_hand(tiny):
    # at a rate of nothing to speak of, every batch is seen by the same zero classifier: loss ln 4
    teacher = trained_statistics()
    job = Job(linear, dataclasses.replace(RECIPE, lr=1e-12), loss=weighted_kl(3, 0.25, 2.0))
    outcome = distill(teacher, [job], tiny, precision="fp32")[0]
    row = outcome.history[0]
    assert row["epoch"] == 1
    assert row["train_loss"] == pytest.approx(math.log(4), rel=1e-5)
    logits = evaluate(batchnorm, teacher.state_dict(), tiny, tiny.train).double()
    p = (logits / 3).softmax(dim=1)
    kl = (p * (p * 4).log()).sum(dim=1).mean().item()  # against the uniform distribution
    assert row["train_objective"] == pytest.approx(0.25 * 9 * kl + 2 * math.log(4), rel=1e-5)
    assert row["lr"] == 1e-12


def test_training_rows_weigh_a_short_last_batch_by_its_size(make_tiny):
    dataset = make_tiny(train=40)  # batches of 16, 16 and 8

    class Wrong(torch.nn.Module):
        """Right for class 0 alone, with a loss that differs between classes."""

        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.tensor([3.0, 0.0, 0.0, -3.0]))

        def forward(self, x):
            return self.bias.expand(len(x), 4) + 0 * x.mean(dim=(1, 2, 3))[:, None]

    row = fit(Job(Wrong, dataclasses.replace(RECIPE, lr=1e-12, epochs=1)), dataset, precision="fp32").history[0]
    bias = torch.tensor([3.0, 0.0, 0.0, -3.0]).expand(40, 4)
    assert row["train_accuracy"] == pytest.approx(0.25, rel=1e-6)
    assert row["train_loss"] == pytest.approx(F.cross_entropy(bias, dataset.train.labels).item(), rel=1e-5)


def test_history_has_a_row_an_epoch(tiny):
    rows = fit(Job(mlp, dataclasses.replace(RECIPE, epochs=3)), tiny).history
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    training, validation = ("train_objective", "train_loss", "train_accuracy"), ("val_loss", "val_accuracy")
    columns = ["epoch", *training, *validation, "val_balanced_accuracy", "lr", "seconds"]
    assert all(list(row) == columns for row in rows)


def test_a_model_learns(tiny):
    outcome = fit(Job(mlp, Recipe(lr=0.01, batch_size=16, epochs=15)), tiny)
    assert outcome.metrics["test_accuracy"] > 0.8  # chance is 0.25
    assert outcome.history[-1]["train_loss"] < 0.5 * outcome.history[0]["train_loss"]


def test_seconds_of_a_group_are_shared_out_whole(tiny):
    outcomes = train([Job(mlp, RECIPE, seed=s) for s in range(3)], tiny)
    assert sum(outcome.seconds for outcome in outcomes) == pytest.approx(outcomes[0].group_seconds)
    assert all(outcome.seconds > 0 for outcome in outcomes)
    assert {outcome.group_size for outcome in outcomes} == {3}


def test_states_are_plain_contiguous_copies(tiny):
    a, b = train([Job(batchnorm, RECIPE, seed=s) for s in (0, 0)], tiny, precision="fp32")
    assert list(a.state) == list(batchnorm().state_dict())
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in a.state.values())
    assert not {t.data_ptr() for t in a.state.values()} & {t.data_ptr() for t in b.state.values()}


# Batches that do not divide


@pytest.mark.parametrize(("images", "batches"), [(33, 2), (34, 3), (32, 2), (31, 2)])
def test_a_last_batch_of_one_is_left_out(make_tiny, monkeypatch, images, batches):
    from kdlib.training import learner

    sizes = []
    step = learner.Learner.step

    def spy(self, x, y, z):
        sizes.append(len(y))
        step(self, x, y, z)

    monkeypatch.setattr(learner.Learner, "step", spy)
    recipe = dataclasses.replace(RECIPE, epochs=1, schedule="cosine")
    outcome = fit(Job(batchnorm, recipe), make_tiny(train=images), precision="fp32")
    assert sizes == [16, 16, images - 32][:batches] if images >= 32 else sizes == [16, images - 16]
    assert outcome.diverged is None
    # the schedule knows how many steps there are
    assert outcome.history[0]["lr"] == pytest.approx(0.005 * (1 + math.cos(math.pi * (batches - 1) / batches)))


def test_single_images_train_a_model_without_batch_norm(make_tiny):
    outcome = fit(Job(mlp, Recipe(lr=0.01, batch_size=1, epochs=1)), make_tiny(train=8))
    assert outcome.diverged is None
    assert len(outcome.history) == 1


# Diverged with finite numbers


def _split(*counts: int) -> Split:
    labels = torch.cat([torch.full((n,), i) for i, n in enumerate(counts)])
    return Split(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels)


def _history(*recalls: float, loss: float = 1.0, train_loss: float = 1.0) -> list[dict[str, float]]:
    row = {"val_loss": loss, "train_loss": train_loss}
    return [{"val_balanced_accuracy": recall, **row} for recall in recalls]


# Guessing: cross-entropy ln 4 = 1.386, recall 0.25 with a standard error of sqrt(0.25 * 0.75 * 4 / 100) / 4 = 0.02165,
# so that 0.38 is more than six errors above, and 0.293 less than two.
EVEN = _split(100, 100, 100, 100)


@pytest.mark.parametrize(
    ("recalls", "epoch"),
    [
        ((0.30, 0.60, 0.25), 3),
        ((0.60, 0.25, 0.25, 0.25), 2),
        ((0.60, 0.26, 0.70, 0.27, 0.25), 4),
        ((0.60, 0.20), 2),
        ((0.39, 0.29), 2),
    ],
)
def test_falling_to_guessing_is_told_with_its_epoch(recalls, epoch):
    assert blown_up(_history(*recalls), EVEN, 4) == {"reason": "accuracy fell back to guessing", "epoch": epoch}


@pytest.mark.parametrize(
    "recalls",
    [
        (0.25, 0.25, 0.25),  # never left it: a poor run, not a diverged one
        (0.26, 0.37, 0.25),  # never clearly above it
        (0.60, 0.25, 0.60),  # recovered
        (0.60, 0.30),  # worse, but above guessing
        (0.25,),
    ],
)
def test_what_is_no_fall(recalls):
    assert blown_up(_history(*recalls), EVEN, 4) is None


@pytest.mark.parametrize(
    ("recall", "loss", "train_loss", "diverged"),
    [
        (0.25, 3e15, 8e13, True),
        (0.60, 14.0, 0.1, True),  # more than ten times guessing, whatever else
        (0.60, 13.0, 0.1, False),  # far too sure of itself, but it knows something
        (0.25, 2.9, 2.9, True),  # more than twice guessing, and knows nothing
        (0.25, 2.9, 1.4, False),  # as batch norm's first statistics do
        (0.25, 2.7, 2.9, False),
        (0.25, 1.386, 1.386, False),
    ],
)
def test_worse_than_guessing(recall, loss, train_loss, diverged):
    found = blown_up(_history(recall, recall, loss=loss, train_loss=train_loss), EVEN, 4)
    assert (found is not None) == diverged
    if diverged:
        assert found == {"reason": "validation cross-entropy ended far above guessing", "epoch": 2}


def test_an_imbalanced_split_is_judged_by_recall_and_by_guessing_every_class_alike():
    # Chest X-ray proportions, 776 of 1,046. Sensitivity 0.69 at specificity 0.97: accuracy 0.762, near the 0.742 of a
    # constant answer, but a sound model.
    films = _split(270, 776)
    assert blown_up(_history(0.95, 0.83), films, 2) is None
    assert blown_up(_history(0.95, 0.50), films, 2)["reason"] == "accuracy fell back to guessing"
    assert blown_up(_history(0.9, loss=10.01 * math.log(2)), films, 2) is not None
    assert blown_up(_history(0.9, loss=9.99 * math.log(2)), films, 2) is None
    # ten rare images of a thousand: their labels' entropy is 0.056, and a loss of 0.6 no catastrophe
    assert blown_up(_history(0.93, loss=0.6), _split(990, 10), 2) is None


@pytest.mark.parametrize("loss", [0.0, 0.001, 0.7])
def test_a_validation_split_of_one_class_tells_nothing(loss):
    assert blown_up(_history(1.0, loss=loss, train_loss=loss), _split(20), 2) is None
    assert blown_up(_history(1.0, 0.4, loss=loss, train_loss=loss), _split(20), 2) is None


def test_the_reasons_have_a_translation():
    from kdlib.reporting.core.i18n import say
    from kdlib.training import evaluation

    for raw in (evaluation.NOT_FINITE, evaluation.FAR_ABOVE, evaluation.FELL_BACK):
        assert say(raw, "en") == raw
        assert say(raw, "tr") not in ("", raw)


class Tiring(torch.nn.Module):
    """Gives one answer to everything once it has been trained for 18 batches (and tried and measured once each)."""

    def __init__(self):
        super().__init__()
        self.net, self.forwards = linear(), 0

    def forward(self, x):
        self.forwards += self.training
        logits = self.net(x)
        return logits if self.forwards <= 20 else logits * 0 + torch.tensor([1.0, 0, 0, 0])


def test_a_run_that_falls_to_guessing_is_marked(make_tiny):
    outcome = fit(Job(Tiring, Recipe(lr=0.01, batch_size=16, epochs=8)), make_tiny(val=64), precision="fp32")
    assert outcome.history[5]["val_accuracy"] > 0.7
    assert [row["val_accuracy"] for row in outcome.history[6:]] == [0.25, 0.25]
    assert outcome.diverged == {"reason": "accuracy fell back to guessing", "epoch": 7}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_absurd_rate_diverges(make_tiny, optimizer):
    wild = Recipe(optimizer=optimizer, lr=1e6, batch_size=16, epochs=3)
    for build in (batchnorm, mlp):
        outcome = fit(Job(build, wild), make_tiny(val=64), precision="fp32")
        assert outcome.diverged is not None


def test_test_logits_that_are_not_finite(tiny):
    class Late(torch.nn.Module):
        """Fails on the test images alone, which come without a training step before them."""

        def __init__(self):
            super().__init__()
            self.net, self.evaluations = linear(), 0

        def forward(self, x):
            self.evaluations = 0 if self.training else self.evaluations + 1
            return self.net(x) / (self.evaluations < 2)

    outcome = fit(Job(Late, RECIPE), tiny, precision="fp32")
    assert math.isfinite(outcome.history[-1]["val_loss"])
    assert outcome.diverged == {"reason": "the loss or the logits became NaN or infinite", "epoch": 2}


# The caller


def test_the_callers_random_state_and_cudnn_settings_are_untouched(tiny):
    cudnn = torch.backends.cudnn
    kept = cudnn.benchmark, cudnn.deterministic, cudnn.enabled
    cudnn.benchmark, cudnn.deterministic = True, False
    try:
        torch.manual_seed(123)
        random.seed(4)
        before = torch.get_rng_state(), random.getstate()
        teacher = trained_statistics(dropout)
        state = torch.get_rng_state()
        train([Job(dropout, RECIPE, loss=weighted_kl(2, 0.5))], tiny, teacher, precision="auto")
        assert torch.equal(torch.get_rng_state(), state)
        assert random.getstate() == before[1]
        assert (cudnn.benchmark, cudnn.deterministic, cudnn.enabled) == (True, False, kept[2])
    finally:
        cudnn.benchmark, cudnn.deterministic = kept[:2]


def test_the_callers_random_state_survives_a_failure(tiny, monkeypatch):
    from kdlib.training import learner

    def fail(*_):
        raise RuntimeError("out of paper")

    monkeypatch.setattr(learner.Learner, "step", fail)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="out of paper"):
        fit(Job(mlp, RECIPE), tiny)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_callers_random_state_does_not_matter(tiny):
    outcomes = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        outcomes.append(fit(Job(dropout, RECIPE), tiny, precision="fp32"))
    assert_same(*outcomes)


def test_the_dataset_is_left_as_it_was(tiny):
    before = [getattr(tiny, part).images.clone() for part in ("train", "val", "test")]
    fit(Job(mlp, RECIPE), tiny)
    after = [getattr(tiny, part).images for part in ("train", "val", "test")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class Bar:
    """Counts what a progress bar is told."""

    def __init__(self):
        self.done, self.words = 0.0, []

    def advance(self, amount: float) -> None:
        assert amount >= 0
        self.done += amount

    skip = advance

    def say(self, text: str) -> None:
        self.words.append(text)


@pytest.mark.parametrize("limit", [None, 1])
def test_progress_is_advanced_by_its_weight(tiny, limit):
    bar = Bar()
    train([Job(mlp, RECIPE, seed=s) for s in range(3)], tiny, progress=bar, weight=7.5, memory_limit=limit)
    assert bar.done == pytest.approx(7.5)
    assert bar.words[-1].startswith("epoch 2/2")


def test_the_last_epoch_stands_behind_the_bar_again_once_the_teacher_has_answered(tiny):
    bar = Bar()
    train([Job(mlp, RECIPE, loss=weighted_kl(2, 0.5))], tiny, mlp(), progress=bar)
    assert [words.split(" accuracy")[0] for words in bar.words] == [
        "epoch 1/2, the teacher answers",
        "",
        "epoch 1/2, val",
        "epoch 2/2, the teacher answers",
        "epoch 1/2, val",
        "epoch 2/2, val",
    ]


def test_derived_seeds_are_their_own_streams():
    seeds = [
        derive(0, "student", "init"),
        derive(0, "teacher", "init"),
        derive(1, "student", "init"),
        derive(0, "order", 0),
        derive(0, "order", 1),
        derive(0, "augment", 0),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "student", "init") == derive(0, "student", "init")
