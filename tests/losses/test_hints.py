"""FitNets: the value by hand, the regressor, sizes that differ."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import build, maps, soft
from torch import nn

from kdlib.losses import FitNets


def test_value_where_the_maps_agree():
    student, teacher = maps((6, 3, 4, 4)), maps((6, 3, 4, 4), seed=1)
    expected = 100 * ((student.numpy() - teacher.numpy()) ** 2).mean()
    assert soft(build("fitnets"), [student], [teacher]) == pytest.approx(expected, rel=1e-12)
    assert soft(FitNets(beta=2), [student], [teacher]) == pytest.approx(expected / 50, rel=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(4, 4), (4, 2), (2, 4), (8, 2)])
def test_value_through_the_regressor(ours, theirs):
    student, teacher = maps((6, 3, ours, ours)), maps((6, 5, theirs, theirs), seed=1)
    adapter = build("fitnets").adapter([(3, ours, ours)], [(5, theirs, theirs)]).double()

    def shrunk(x, size):
        block = x.shape[2] // size
        return x.reshape(*x.shape[:2], size, block, size, block).mean(axis=(3, 5))

    size = min(ours, theirs)
    weight, bias = adapter.weight.detach().numpy()[:, :, 0, 0], adapter.bias.detach().numpy()
    carried = np.einsum("oc,bchw->bohw", weight, student.numpy()) + bias[:, None, None]
    expected = 100 * ((shrunk(carried, size) - shrunk(teacher.numpy(), size)) ** 2).mean()
    assert soft(build("fitnets"), [student], [teacher], adapter) == pytest.approx(expected, rel=1e-10)


def test_the_regressor_is_one_1x1_convolution():
    adapter = build("fitnets").adapter([(3, 8, 8)], [(5, 4, 4)])
    assert isinstance(adapter, nn.Conv2d)
    assert adapter.weight.shape == (5, 3, 1, 1)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 20


def test_a_regressor_that_carries_the_features_over_leaves_nothing():
    student = maps((6, 3, 4, 4))
    adapter = build("fitnets").adapter([(3, 4, 4)], [(5, 4, 4)]).double()
    with torch.no_grad():
        teacher = F.conv2d(student, adapter.weight, adapter.bias)
    assert soft(build("fitnets"), [student], [teacher], adapter) == pytest.approx(0, abs=1e-25)


def test_other_channels_need_the_regressor():
    with pytest.raises(ValueError, match="maps of 3 and 5 channels need the loss's adapter"):
        soft(build("fitnets"), [maps((6, 3, 4, 4))], [maps((6, 5, 4, 4))])
