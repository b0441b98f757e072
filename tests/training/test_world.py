"""One model in two processes: what one process has at equal batches, to the float's accuracy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import DATA, RECIPE
from small import mlp

from kdlib.losses import METHODS
from kdlib.training import Checkpoints, Job, fit
from kdlib.training.world import ALONE

SCRIPT = Path(__file__).with_name("processes.py")
EXACT = ["labels", "balanced", "unused", "resumed", "weighted_kl", *METHODS]
TERMS = ("train_objective", "train_loss", "val_loss")
# Sums of 16 images are rounded in another order than two of eight, and losses on correlations divide by small spreads.
TOLERANCE = 2e-6


def trained(folder, *launcher):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher, SCRIPT, folder], check=True, env=environment, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("two"), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def told(folder, rank=0) -> dict:
    return json.loads((folder / f"{rank}.json").read_text())


def state(folder, name, rank=0):
    return torch.load(folder / f"{name}.{rank}.pt")


def curves(folder, name, keys=TERMS) -> np.ndarray:
    return np.array([[row[key] for key in keys] for row in told(folder)[name]["history"]])


def assert_close(a, b):
    (weights, logits), (others, their_logits) = a, b
    for tensor, other in zip(weights.values(), others.values(), strict=True):
        torch.testing.assert_close(tensor, other, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, their_logits, atol=10 * TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", EXACT)
def test_without_batch_norm_the_curve_is_one_processs(one, two, name):
    assert curves(one, name).shape == (4, len(TERMS))
    np.testing.assert_allclose(curves(two, name), curves(one, name), atol=TOLERANCE, rtol=0)
    accuracies = ("train_accuracy", "val_accuracy", "lr", "epoch")
    assert np.array_equal(curves(two, name, accuracies), curves(one, name, accuracies))
    assert_close(state(one, name), state(two, name))


def test_batch_norm_on_cpus_takes_each_processs_share_by_itself(one, two):
    np.testing.assert_allclose(curves(two, "batchnorm"), curves(one, "apart"), atol=TOLERANCE, rtol=0)
    assert_close(state(one, "apart"), state(two, "batchnorm"))
    # and that is another network than batch norm of whole batches
    assert np.abs(curves(two, "batchnorm") - curves(one, "batchnorm")).max() > 1e-3


@pytest.mark.parametrize("name", [*EXACT, "batchnorm"])
def test_all_processes_end_with_the_same_outcome_to_the_bit(two, name):
    (weights, logits), (others, their_logits) = (state(two, name, rank) for rank in (0, 1))
    assert all(torch.equal(tensor, others[key]) for key, tensor in weights.items())
    assert torch.equal(logits, their_logits)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in told(two, r)[name]["history"]] for r in (0, 1)]
    assert rows[0] == rows[1]


def test_the_first_alone_calls_back_and_writes(one, two):
    assert told(two)["calls"] == told(one)["calls"] == [32, 8]
    assert told(two, 1)["calls"] == [0, 0]
    stored = [{path.name.split(".")[0] for path in (folder / "store").rglob("*.npy")} for folder in (one, two)]
    assert stored[0] == stored[1] == {"0", "1", "2", "3"}


def test_the_teachers_logits_are_one_processs_to_the_bit(one, two):
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npy")) for folder in (one, two)]
    assert names[0] == names[1]  # a name holds its content's checksum
    assert len(names[0]) == 16


def test_a_request_to_one_stops_all_at_the_same_batch(two):
    assert [told(two, rank)["stopped"] for rank in (0, 1)] == ["stopped in epoch 2 of 4"] * 2


def test_one_process_goes_on_from_what_two_began(one, two):
    (left,) = (two / "stopped").glob("*.pt")  # what was resumed has none any more
    assert torch.load(left)["epoch"] == 1
    checkpoints = Checkpoints(two / "stopped")
    outcome = fit(Job(mlp, RECIPE, id="left"), DATA, device="cpu", precision="fp32", checkpoints=checkpoints)
    assert_close(state(one, "labels"), (outcome.state, outcome.logits))
    assert [row["train_loss"] for row in outcome.history[:1]] == [told(two)["labels"]["history"][0]["train_loss"]]


def test_what_several_processes_cannot_is_said_before_training(two):
    for rank in (0, 1):
        assert told(two, rank)["two"] == "2 processes train one model at a time, not 2; ask for one by one"
        assert told(two, rank)["small"] == (
            "a batch of 2 images is too small for 2 processes, which need two each; take another batch_size than 3 for "
            "47 training images"
        )


def test_one_process_sends_nothing():
    rows = torch.randn(5, 3)
    assert ALONE.gather(rows, 5) is rows
    assert torch.equal(ALONE.share(rows), rows)
    assert list(ALONE.turns(range(3))) == [0, 1, 2]
    assert ALONE.merge([3, 1]) == [3, 1]
    assert ALONE.agree(lambda: 7) == 7
    assert ALONE.any(True)
    assert not ALONE.any(False)
