"""Groups that fit into memory: sizes by hand, and where they are cut."""

from types import SimpleNamespace

import pytest
import torch
from small import batchnorm, linear
from torch import nn

from kdlib.training import Job, Recipe, device, workers


@pytest.mark.parametrize(
    ("recipe", "copies"),
    [
        (Recipe(optimizer="sgd"), 2),  # weights, gradients
        (Recipe(optimizer="sgd", momentum=0.9), 3),  # velocity
        (Recipe(optimizer="adam"), 4),  # two moments
        (Recipe(optimizer="adam", select="best"), 5),  # the best epoch's copy
    ],
)
def test_held_bytes_by_hand(recipe, copies):
    # 192·4 + 4 weights of 4 bytes
    assert workers.held_bytes(Job(linear, recipe), linear()) == copies * 772 * 4


def test_activations_by_hand():
    # ReLU keeps its output for the way back, the second layer its input: one tensor of 16·50; the first layer keeps
    # its input of 16·192
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 50), nn.ReLU(), nn.Linear(50, 4))
    assert workers.activation_bytes(model, (3, 8, 8), 16) == 16 * (192 + 50) * 4


def test_activations_grow_with_the_batch():
    small, large = (workers.activation_bytes(batchnorm(), (3, 8, 8), size) for size in (8, 80))
    assert large == pytest.approx(10 * small, rel=0.01)


def test_measuring_leaves_the_model_as_it_was():
    model = batchnorm()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    workers.activation_bytes(model, (3, 8, 8), 16)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("held", "activations", "limit", "cuts"),
    [
        ([10, 10, 10, 10], [0, 0, 0, 0], 40, [(0, 4)]),
        ([10, 10, 10, 10], [0, 0, 0, 0], 39, [(0, 3), (3, 4)]),
        ([10, 10, 10, 10], [0, 0, 0, 0], 20, [(0, 2), (2, 4)]),
        # activations count once, the largest: 10 + 10 + 5, and 30 more do not fit
        ([10, 10, 10], [5, 5, 30], 30, [(0, 2), (2, 3)]),
        ([10, 10, 10], [5, 5, 5], 35, [(0, 3)]),
        # a new group begins without the activations of the one before
        ([10, 10, 10], [30, 5, 5], 40, [(0, 1), (1, 3)]),
        # what fits nowhere still trains, alone
        ([100, 1, 1], [0, 0, 0], 10, [(0, 1), (1, 3)]),
        ([1, 100, 1], [0, 0, 0], 10, [(0, 1), (1, 2), (2, 3)]),
        ([1, 1], [1, 1], 1, [(0, 1), (1, 2)]),
        ([5], [5], 100, [(0, 1)]),
    ],
)
def test_where_groups_are_cut(monkeypatch, held, activations, limit, cuts):
    monkeypatch.setattr(workers, "held_bytes", lambda job, model: held[model])
    monkeypatch.setattr(workers, "activation_bytes", lambda model, shape, batch: activations[model])
    job = Job(linear, Recipe())
    learners = [SimpleNamespace(job=job, model=i, precision="fp32", small=False) for i in range(len(held))]
    found = workers.groups_that_fit(learners, (3, 8, 8), limit, torch.device("cpu"))
    assert [(r.start, r.stop) for r in found] == cuts


def test_available_memory_is_some_and_not_all_of_it():
    free = device.available(torch.device("cpu"))
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    assert 0 < free < total


def test_a_machine_without_proc_still_has_memory(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert device.available(torch.device("cpu")) > 0
