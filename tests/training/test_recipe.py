"""Recipes: schedules by hand, optimiser steps by hand, and every value that makes no training."""

import math

import numpy as np
import pytest
import torch
from small import Pixels, linear, mlp

from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.losses import convex_soft_ce, weighted_kl
from kdlib.training import Job, Recipe, distill, fit

NAN, INF = float("nan"), float("inf")


# Schedules


def test_constant():
    assert [Recipe(lr=0.3).lr_at(step, 10) for step in (0, 5, 9)] == [0.3, 0.3, 0.3]


def test_cosine_by_hand():
    recipe = Recipe(lr=0.2, schedule="cosine")
    rates = [recipe.lr_at(step, 8) for step in (0, 2, 4, 6)]
    half_root = math.sqrt(0.5)
    assert rates == pytest.approx([0.2, 0.1 * (1 + half_root), 0.1, 0.1 * (1 - half_root)])
    last = recipe.lr_at(7, 8)
    assert 0 < last < 0.1 * (1 - half_root)
    # 1 + cos(7π/8), half a rate of 0.2
    assert last == pytest.approx(0.1 * (1 - 0.9238795325112867))


def test_cosine_ends_near_zero():
    assert Recipe(lr=1.0, schedule="cosine").lr_at(999, 1000) == pytest.approx(0, abs=1e-5)


def test_warmup_climbs_in_equal_steps_to_the_rate():
    recipe = Recipe(lr=1.0, warmup=0.4)
    # 4 of 10 steps climb: 1/5, 2/5, 3/5, 4/5, and the fifth has the full rate
    assert [recipe.lr_at(step, 10) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_warmup_before_cosine():
    recipe = Recipe(lr=1.0, warmup=0.2, schedule="cosine")
    # 2 of 10 steps climb, the other 8 are a whole half wave
    assert [recipe.lr_at(step, 10) for step in (0, 1, 2, 6)] == pytest.approx([1 / 3, 2 / 3, 1.0, 0.5])
    assert recipe.lr_at(9, 10) == pytest.approx(0.5 * (1 + math.cos(7 * math.pi / 8)))


def test_the_schedule_is_what_training_uses(tiny):
    recipe = Recipe(optimizer="sgd", lr=0.1, schedule="cosine", batch_size=16, epochs=4)
    rows = fit(Job(mlp, recipe), tiny, precision="fp32").history
    # 3 batches an epoch; a row shows the rate of the epoch's last step: steps 2, 5, 8, 11 of 12
    expected = [0.05 * (1 + math.cos(math.pi * step / 12)) for step in (2, 5, 8, 11)]
    assert [row["lr"] for row in rows] == pytest.approx(expected)


# Optimisers


def _walk(recipe: Recipe, gradients: list[float], start: float = 1.0) -> float:
    parameter = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimiser = recipe.optimiser([parameter])
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
    return parameter.item()


def test_sgd_by_hand():
    assert _walk(Recipe(optimizer="sgd", lr=0.1), [2.0, -1.0]) == pytest.approx(1 - 0.2 + 0.1)


def test_weight_decay_by_hand():
    # g + 0.5·w: 2.5 from 1 gives 0.75; -1 + 0.375 from there gives 0.8125
    assert _walk(Recipe(optimizer="sgd", lr=0.1, weight_decay=0.5), [2.0, -1.0]) == pytest.approx(0.8125)


def test_momentum_by_hand():
    # velocity 2, then 0.9·2 - 1 = 0.8
    assert _walk(Recipe(optimizer="sgd", lr=0.1, momentum=0.9), [2.0, -1.0]) == pytest.approx(1 - 0.2 - 0.08)


def test_nesterov_by_hand():
    # steps 2 + 0.9·2 = 3.8, then -1 + 0.9·0.8 = -0.28
    recipe = Recipe(optimizer="sgd", lr=0.1, momentum=0.9, nesterov=True)
    assert _walk(recipe, [2.0, -1.0]) == pytest.approx(1 - 0.38 + 0.028)


def test_adam_by_hand():
    # beta 0.9, 0.999, eps 1e-8: moments are corrected for their zero start, so that a first step is one rate long
    m, v, w = 0.0, 0.0, 1.0
    for t, g in enumerate([2.0, -1.0], 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert _walk(Recipe(optimizer="adam", lr=0.01), [2.0, -1.0]) == pytest.approx(w, rel=1e-9)


def test_frozen_parameters_are_left_out():
    frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    free = torch.nn.Parameter(torch.ones(1))
    groups = Recipe(weight_decay=0.5).optimiser([frozen, free]).param_groups
    assert [p for group in groups for p in group["params"]] == [free]


# A whole training step, from images to weights, in numpy


def _normalised(dataset) -> np.ndarray:
    """Images of the training split as the network sees them, float64 (N, C·H·W)."""
    images = dataset.train.images.numpy().astype(np.float64) / 255
    mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (dataset.mean, dataset.std))
    return ((images - mean) / std).reshape(len(images), -1)


def _softmax(z: np.ndarray, T: float = 1.0) -> np.ndarray:
    e = np.exp(z / T - (z / T).max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _descend(dataset, slope, steps: int, lr: float) -> tuple[np.ndarray, np.ndarray]:
    """Full-batch gradient descent on a linear classifier from zero; ``slope`` is d loss / d logits, (N, K)."""
    x = _normalised(dataset)
    weight, bias = np.zeros((4, x.shape[1])), np.zeros(4)
    for _ in range(steps):
        gradient = slope(x @ weight.T + bias)
        weight, bias = weight - lr * gradient.T @ x, bias - lr * gradient.sum(axis=0)
    return weight, bias


FULL_BATCH = Recipe(optimizer="sgd", lr=0.05, batch_size=48, epochs=3)


def test_training_on_labels_by_hand(tiny):
    onehot = np.eye(4)[tiny.train.labels.numpy()]
    weight, bias = _descend(tiny, lambda z: (_softmax(z) - onehot) / 48, 3, 0.05)
    state = fit(Job(linear, FULL_BATCH), tiny, precision="fp32").state
    assert state["1.weight"].numpy() == pytest.approx(weight, rel=1e-4, abs=1e-6)
    assert state["1.bias"].numpy() == pytest.approx(bias, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "factor", "alpha", "lam"),
    [
        # d(T²·KL)/dz = T·(softmax(z/T) - softmax(t/T)); of the soft cross-entropy without T² it is 1/T times that
        (weighted_kl(4, 0.7, 0.4), 4.0, 0.7, 0.4),
        (convex_soft_ce(4, 0.9), 0.25, 0.9, 0.1),
    ],
)
def test_distilling_by_hand(tiny, loss, factor, alpha, lam):
    onehot = np.eye(4)[tiny.train.labels.numpy()]
    target = _softmax(_normalised(tiny)[:, :4], loss.T)  # the teacher's logits are an image's first pixels

    def slope(z):
        return (alpha * factor * (_softmax(z, loss.T) - target) + lam * (_softmax(z) - onehot)) / 48

    weight, bias = _descend(tiny, slope, 3, 0.05)
    state = distill(Pixels(), [Job(linear, FULL_BATCH, loss=loss)], tiny, precision="fp32")[0].state
    assert state["1.weight"].numpy() == pytest.approx(weight, rel=1e-4, abs=1e-6)
    assert state["1.bias"].numpy() == pytest.approx(bias, rel=1e-4, abs=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"optimizer": "adamw"}, r"optimizer must be one of adam, sgd; got 'adamw'"),
        ({"schedule": "step"}, r"schedule must be one of constant, cosine; got 'step'"),
        ({"select": "first"}, r"select must be one of last, best; got 'first'"),
        ({"lr": 0.0}, r"lr must be a positive number, got 0"),
        ({"lr": -0.1}, r"lr must be"),
        ({"lr": NAN}, r"lr must be"),
        ({"lr": INF}, r"lr must be"),
        ({"lr": "1e-3"}, r"lr must be a number, got '1e-3'"),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ({"batch_size": 12.5}, r"batch_size must be a whole number, got 12\.5"),
        ({"epochs": 0}, r"epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, r"epochs must be a whole number, got 1\.5"),
        ({"optimizer": "sgd", "momentum": 1.0}, r"momentum must be from 0 to below 1"),
        ({"optimizer": "sgd", "momentum": -0.1}, r"momentum must be"),
        ({"weight_decay": -1e-4}, r"weight_decay must be zero or positive"),
        ({"weight_decay": INF}, r"weight_decay must be"),
        ({"warmup": 1.0}, r"warmup must be from 0 to below 1"),
        ({"warmup": -0.1}, r"warmup must be"),
        ({"momentum": 0.9}, r"momentum and nesterov belong to optimizer 'sgd'"),
        ({"nesterov": True}, r"momentum and nesterov belong to optimizer 'sgd'"),
        ({"optimizer": "sgd", "nesterov": True}, r"nesterov needs a momentum"),
    ],
)
def test_values_that_make_no_training(values, says):
    with pytest.raises(UserError, match=says):
        Recipe(**values)


def test_stream_is_what_two_runs_must_share():
    base = Recipe()
    assert base.stream == Recipe(optimizer="sgd", lr=0.5, select="best", schedule="cosine").stream
    for other in (Recipe(batch_size=64), Recipe(epochs=3), Recipe(augmentation=Augmentation(flip=True))):
        assert other.stream != base.stream
