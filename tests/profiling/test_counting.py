"""Parameters and multiply-accumulates: worked out by hand, and nothing of it stays on the model."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.profiling import count_parameters, forward_macs, layer_macs, macs_thop
from kdlib.profiling.counts import by_torch


def test_count_parameters_leaves_buffers_out_and_frozen_weights_in():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    model[0].weight.requires_grad_(False)
    assert count_parameters(model) == 5 * 4 + 4 + 2 * 4


@pytest.mark.parametrize(
    ("name", "size", "macs"),
    [
        # 32·32·16·27 + 16·16·32·144 + 2048·10
        ("cnn2", 32, 165_888 + 221_184 + 10_240),
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
    assert forward_macs(model, (3, 32, 32)) == 397_312


@pytest.mark.parametrize("name", models.names())
def test_the_quick_count_is_torchs_own(name):
    model = models.build(name, 10)
    assert forward_macs(model, (3, 64, 64)) == by_torch(model, (3, 64, 64)) > 0


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(4), nn.Flatten(), nn.Linear(4 * 8 * 8, 5)),
    ],
)
def test_every_kind_of_layer_counts_as_torch_has_it(layer):
    assert forward_macs(layer, (4, 8, 8)) == by_torch(layer, (4, 8, 8)) > 0


class Odd(nn.Module):
    """A weight that belongs to no layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 5))

    def forward(self, x):
        return x @ self.weight


def test_a_weight_outside_of_layers_counts_too():
    assert forward_macs(Odd(), (3, 4, 8)) == 3 * 4 * 8 * 5


def test_a_layer_that_is_called_twice_counts_twice():
    layer = nn.Conv2d(3, 3, 1)
    assert forward_macs(nn.Sequential(layer, layer), (3, 4, 4)) == 2 * 9 * 16


def test_layers_add_up_and_are_called_by_name():
    model = models.build("cnn2", 10)
    assert layer_macs(model, (3, 32, 32)) == {"conv1": 165_888, "conv2": 221_184, "fc": 10_240}


def test_counting_for_planning_does_without_torchs_compiler():
    code = (
        "import sys; from kdlib import models; from kdlib.profiling import forward_macs; "
        "forward_macs(models.build('resnet18_kd', 10), (3, 32, 32)); "
        "print(sorted({'torch._dynamo', 'torchinfo', 'thop', 'fvcore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Shifted(nn.Module):
    """Holds a tensor that is no buffer, and so stays where it is when the model moves."""

    def __init__(self):
        super().__init__()
        self.layer, self.mean = nn.Conv2d(3, 4, 1, bias=False), torch.zeros(3, 1, 1)

    def forward(self, x):
        return self.layer(x - self.mean)


def test_thop_counts_a_model_that_cannot_do_without_data():
    assert macs_thop(Shifted(), (3, 8, 8)) == 8 * 8 * 3 * 4
