"""Where feature maps are read, and that reading leaves no trace."""

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.losses import Stage, stages, tapped


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2))


# Taps


def test_taps_hold_the_latest_forward():
    model, images = small(), torch.randn(2, 3, 8, 8)
    with tapped(model, ["0", "1"]) as taps:
        assert taps == {}
        model(torch.zeros(2, 3, 8, 8))
        model(images)
        assert set(taps) == {"0", "1"}
        assert torch.equal(taps["1"], model[1](model[0](images)))
    assert hooks(model) == 0


def test_the_gradient_flows_through_a_tap():
    model = small()
    with tapped(model, ["1"]) as taps:
        model(torch.randn(2, 3, 8, 8))
    taps["1"].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
    assert model[3].weight.grad is None


def test_taps_are_gone_after_an_exception():
    model = small()
    with tapped(model, ["0", "3"]):
        assert hooks(model) == 2
    with pytest.raises(RuntimeError), tapped(model, ["0", "3"]):
        model(torch.randn(2, 3, 9, 9))
    assert hooks(model) == 0


def test_taps_of_others_stay():
    model = small()
    handle = model[0].register_forward_hook(lambda *_: None)
    with tapped(model, ["0"]), tapped(model, ["0"]):
        assert hooks(model) == 3
    assert hooks(model) == 1
    handle.remove()


def test_a_module_that_is_not_there():
    model = models.build("cnn2", 10)
    with pytest.raises(UserError, match="TwoLayerCNN has no module 'conv3' to tap; did you mean 'conv2'"):
        tapped(model, ["conv1", "conv3"]).__enter__()
    assert hooks(model) == 0


def test_no_names_no_taps():
    model = small()
    with tapped(model, []) as taps:
        model(torch.randn(1, 3, 8, 8))
    assert taps == {}


# Stages

STAGES = {
    ("resnet18_kd", 32): "relu 64x32, layer1 64x16, layer2 128x8, layer3 256x4, layer4 512x2",
    ("resnet18_kd", 64): "relu 64x64, layer1 64x32, layer2 128x16, layer3 256x8, layer4 512x4",
    ("resnet18_light", 32): "relu 32x32, layer1 32x16, layer2 64x8, layer3 128x4, layer4 256x2",
    ("resnet18_light", 64): "relu 32x64, layer1 32x32, layer2 64x16, layer3 128x8, layer4 256x4",
    ("resnet10", 32): "layer1 32x32, layer2 64x16, layer3 128x8, layer4 256x4",
    ("resnet10", 64): "layer1 32x64, layer2 64x32, layer3 128x16, layer4 256x8",
    ("cnn2", 32): "conv1 6x32, conv2 16x16, pool2 16x8",
    ("cnn2", 64): "conv1 6x64, conv2 16x32, pool2 16x8",
    ("conv3", 32): "features.1 16x32, features.3 32x16, features 32x8, pool 32x4",
    ("conv3", 64): "features.1 16x64, features.3 32x32, features 32x16, pool 32x4",
    ("conv10", 32): "features.3 32x32, features.9 64x16, features 128x8, pool 128x4",
    ("conv10", 64): "features.3 32x64, features.9 64x32, features 128x16, pool 128x4",
    ("resnet50", 64): "relu 64x32, layer1 256x16, layer2 512x8, layer3 1024x4, layer4 2048x2",
    ("efficientnet_b4", 64): "features.1 24x32, features.2 32x16, features.3 56x8, features.5 160x4, features 1792x2",
    ("torchvision.models:mobilenet_v2", 32): "features.1 16x16, features.3 24x8, features.6 32x4, features.13 96x2",
    ("torchvision.models:mobilenet_v2", 64): (
        "features.1 16x32, features.3 24x16, features.6 32x8, features.13 96x4, features 1280x2"
    ),
    ("torchvision.models:densenet121", 32): (
        "features.relu0 64x16, features.denseblock1 256x8, features.denseblock2 512x4, features.denseblock3 1024x2"
    ),
    ("torchvision.models:densenet121", 64): (
        "features.relu0 64x32, features.denseblock1 256x16, features.denseblock2 512x8, "
        "features.denseblock3 1024x4, features 1024x2"
    ),
}


@pytest.mark.parametrize(("name", "size"), STAGES)
def test_stages(name, size):
    with torch.device("meta"):  # shapes alone: no weights to draw, nothing to multiply
        found = stages(models.build(name, 10), (3, size, size))
    assert all(stage.shape[1] == stage.shape[2] for stage in found)
    assert ", ".join(f"{stage.name} {stage.shape[0]}x{stage.shape[1]}" for stage in found) == STAGES[name, size]


def test_stages_can_be_tapped():
    model = models.build("conv3", 10).eval()
    found = stages(model, (3, 32, 32))
    with tapped(model, [stage.name for stage in found]) as taps:
        model(torch.randn(2, 3, 32, 32))
    assert [tuple(taps[stage.name].shape[1:]) for stage in found] == [stage.shape for stage in found]


def test_looking_for_stages_leaves_the_model_as_it_was():
    model = models.build("resnet10", 10).train()
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    stages(model, (3, 32, 32))
    assert model.training
    assert not model.bn1.training
    assert hooks(model) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failing_forward_leaves_the_model_as_it_was():
    model = small().train()
    with pytest.raises(RuntimeError):
        stages(model, (3, 9, 9))
    assert model.training
    assert hooks(model) == 0


def test_maps_of_one_position_where_there_are_no_others():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1), nn.Flatten())
    assert stages(pooled, (3, 8, 8)) == [Stage("1", (4, 1, 1))]
    assert stages(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2)) == []


def test_modules_that_run_twice_are_passed_over():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 3, 3, padding=1)
            self.shared = nn.ReLU()
            self.second = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.shared(self.second(self.shared(self.first(x)))).mean(dim=(2, 3))

    assert stages(Twice(), (3, 8, 8)) == [Stage("second", (3, 8, 8))]


def test_sizes_that_are_not_square():
    assert stages(models.build("resnet4", 10), (3, 32, 48)) == [
        Stage("maxpool", (16, 32, 48)),
        Stage("layer1", (32, 16, 24), block=True),
    ]


class Tokens(nn.Module):
    """(B, C, H, W) to (B, H, W, C) and a layer there, as Swin's stages put it out; or back again, as ConvNeXt's do."""

    def __init__(self, back):
        super().__init__()
        self.conv, self.norm, self.back = nn.Conv2d(3, 12, 4, stride=4), nn.LayerNorm(12), back

    def forward(self, x):
        x = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x.permute(0, 3, 1, 2) if self.back else x


class Head(nn.Module):
    def forward(self, x):
        return x.mean((1, 2))[:, :2]


@pytest.mark.parametrize("image", [(3, 32, 32), (3, 30, 44)])
@pytest.mark.parametrize("back", [True, False])
def test_maps_with_channels_last_are_read_with_channels_first(image, back):
    model = nn.Sequential(Tokens(back), Head())
    (stage,) = stages(model, image)
    assert (stage.name, stage.shape) == ("0", (12, image[1] // 4, image[2] // 4))
    images = torch.randn(2, *image)
    with tapped(model, ["0"]) as taps:
        model(images)
    whole = model[0](images)
    assert torch.equal(taps["0"], whole if back else whole.permute(0, 3, 1, 2))


def test_stages_are_those_of_the_size_that_a_model_resizes_to():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    adapted = models.adapt(model, "mine", (0.5,) * 3, (0.5,) * 3, input_size=16)
    # of images 12 by 8 it makes 16 by 16: maps of 8 and 4 a side, which no 12 by 8 shrinks to
    assert [stage.shape for stage in stages(adapted, (3, 12, 8))] == [(4, 8, 8), (4, 4, 4)]
