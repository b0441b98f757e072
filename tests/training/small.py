"""Networks of a few lines for 3×8×8 images and 4 classes, and what the tests compare."""

import functools

import numpy as np
import torch
from torch import nn

from kdlib import models
from kdlib.training import Outcome


def linear(classes: int = 4, inputs: int = 192) -> nn.Module:
    """A linear classifier that starts at zero, so that its first steps can be worked out by hand."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model


def mlp(classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, classes))


def batchnorm(classes: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, classes),
    )


def dropout(classes: int = 4) -> nn.Module:
    layers = (nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, classes))
    return nn.Sequential(*layers)


cnn2 = functools.partial(models.build, "cnn2", 4)


class Pixels(nn.Module):
    """A teacher whose logits are the first pixels of an image: the same to the bit in any batch."""

    forwards = 0
    images = 0

    def __init__(self, classes: int = 4):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Pixels.forwards += 1
        Pixels.images += len(x)
        return x[:, 0].flatten(1)[:, : self.classes] * 1.0


def trained_statistics(build=batchnorm) -> nn.Module:
    """A teacher with batch norm whose running statistics are not those it was born with."""
    torch.manual_seed(5)
    model = build()
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 8, 8))
    return model


def assert_same(a: Outcome, b: Outcome) -> None:
    """Two outcomes agree to the bit, in all but how long they took."""
    assert list(a.state) == list(b.state)
    for name, tensor in a.state.items():
        assert torch.equal(tensor, b.state[name]), name
    np.testing.assert_array_equal(a.logits, b.logits)  # NaN, of what diverged, is the same as NaN
    assert torch.equal(a.labels, b.labels)
    assert _untimed(a.history) == _untimed(b.history)
    assert repr(a.metrics) == repr(b.metrics)
    assert a.diverged == b.diverged
    assert a.precision == b.precision


def differ(a: Outcome, b: Outcome) -> bool:
    return any(not torch.equal(tensor, b.state[name]) for name, tensor in a.state.items())


def _untimed(history: list[dict]) -> str:
    # repr, because NaN is not equal to itself
    return repr([{key: value for key, value in row.items() if key != "seconds"} for row in history])
