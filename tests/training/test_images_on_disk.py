"""Images on disk change no number: not of a training, a teacher, an evaluation, nor of what is pruned."""

import numpy as np
import pytest
import torch
from PIL import Image
from small import assert_same, batchnorm, linear, trained_statistics

from kdlib import losses, pruning
from kdlib.data import Augmentation, load
from kdlib.pruning.prune import calibration
from kdlib.training import Job, Recipe, distill, evaluate

CPU = torch.device("cpu")


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The same 60 + 20 images of 8×8 pixels and four classes in memory and on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chance = np.random.default_rng(0)
    for part, count in (("train", 15), ("test", 5)):
        for name in "abcd":
            (folder := tmp_path / "data" / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    both = [load("folder", data_root=tmp_path / "data", storage=storage) for storage in ("memory", "disk")]
    assert [one.storage for one in both] == ["memory", "disk"]
    return both


def test_training_is_the_same_to_the_bit(stored):
    recipe = Recipe(lr=0.01, batch_size=16, epochs=2, augmentation=Augmentation(pad=2, flip=True, rotate=10.0))
    jobs = [
        Job(linear, recipe, seed=1),
        Job(batchnorm, recipe, seed=2, loss=losses.weighted_kl(4.0, 0.7)),
        Job(batchnorm, recipe, seed=3, loss=losses.preset("at", 4.0, 1.0)),
    ]
    memory, disk = (distill(trained_statistics(), jobs, one, precision="fp32", device="cpu") for one in stored)
    for one, other in zip(memory, disk, strict=True):
        assert_same(one, other)


def test_evaluation_and_calibration_are_the_same_to_the_bit(stored):
    torch.manual_seed(0)
    model = batchnorm()
    memory, disk = (evaluate(model, one, CPU) for one in stored)
    assert torch.equal(memory.logits, disk.logits)
    assert memory.metrics == disk.metrics
    spec = pruning.Spec("taylor", 0.3, calibration_batches=2, batch_size=16)
    memory, disk = (pruning.score(model, calibration(one, spec), spec) for one in stored)
    assert all(torch.equal(memory[layer], disk[layer]) for layer in memory)
