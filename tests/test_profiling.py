"""Parameters and multiply-accumulates: worked out by hand, and nothing of it stays on the model."""

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.profiling import count_parameters, forward_macs


def test_count_parameters_leaves_buffers_out_and_frozen_weights_in():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    model[0].weight.requires_grad_(False)
    assert count_parameters(model) == 5 * 4 + 4 + 2 * 4


@pytest.mark.parametrize(
    ("name", "size", "macs"),
    [
        # 32·32·16·27 + 16·16·32·144 + 2048·10
        ("cnn2", 32, 442_368 + 1_179_648 + 20_480),
        # stem 32·32·64·27; layer1 4·(16·16·64·576); layers 2 to 4 alike: half a convolution, three, a projection;
        # head 512·256 + 256·128 + 128·10
        ("resnet18_kd", 32, 1_769_472 + 4 * 9_437_184 + 3 * (3.5 * 9_437_184 + 524_288) + 165_120),
        # stem 32·32·16·27; 16·16·32·144; projection 16·16·32·16; 32·10
        ("resnet3", 32, 442_368 + 1_179_648 + 131_072 + 320),
        ("resnet3", 64, 4 * (442_368 + 1_179_648 + 131_072) + 320),
    ],
)
def test_macs_by_hand(name, size, macs):
    assert forward_macs(models.build(name, 10), (3, size, size)) == macs


def test_macs_of_resnet18_to_the_digit():
    assert forward_macs(models.build("resnet18_kd", 10), (3, 32, 32)) == 140_346_624


def _hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def test_counting_leaves_the_model_as_it_was():
    model = models.build("resnet3", 10).train()
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    forward_macs(model, (3, 32, 32))
    assert _hooks(model) == 0
    assert [module.training for module in model.modules()] == modes
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(model.state_dict()) == list(before)


def test_counting_leaves_nothing_behind_when_the_model_fails():
    model = models.build("cnn2", 10)
    with pytest.raises(RuntimeError):
        forward_macs(model, (5, 32, 32))
    assert _hooks(model) == 0
    assert forward_macs(model, (3, 32, 32)) == 1_642_496
