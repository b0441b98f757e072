"""The models on torchvision's backbones: their counts, their layers, the sizes they take."""

import math

import pytest
import torch
from torch import nn
from torchvision.models import densenet121, mobilenet_v2, resnet18

from kdlib import models
from kdlib.models.resnet import tapered_head
from kdlib.profiling import count_parameters, state_bytes

XRAY = ("densenet121_fc", "mobilenetv2_fc", "densenet121_xray", "mobilenetv2_xray", "mobilenetv2_xray_dropout")


def test_transfer_model_is_resnet18_with_the_tapered_head():
    model = models.build("resnet18_transfer", 10)
    features = {name: p for name, p in resnet18().named_parameters() if not name.startswith("fc.")}
    own = dict(model.named_parameters())
    assert all(own[name].shape == p.shape for name, p in features.items())
    assert count_parameters(model.fc) == count_parameters(tapered_head(512, 10))
    assert count_parameters(model) == 11_342_794


def test_the_radiology_heads_layer_by_layer():
    features = count_parameters(densenet121().features)
    teacher = models.build("densenet121_xray", 2)
    # conv 1024 -> 512 of 3×3 with bias, 512-64, 64-2
    assert count_parameters(teacher) == features + 1024 * 512 * 9 + 512 + 512 * 64 + 64 + 64 * 2 + 2
    assert (teacher.dropout.p, teacher.conv.kernel_size, teacher.conv.padding) == (0.5, (3, 3), (1, 1))
    assert count_parameters(models.build("densenet121_fc", 2)) == features + 1024 * 2 + 2
    features = count_parameters(mobilenet_v2().features)
    assert count_parameters(models.build("mobilenetv2_xray", 2)) == features + 1280 * 512 + 512 + 512 * 2 + 2
    assert count_parameters(models.build("mobilenetv2_fc", 2)) == features + 1280 * 2 + 2


def test_dropout_is_all_that_the_final_student_adds():
    plain, final = models.build("mobilenetv2_xray", 2), models.build("mobilenetv2_xray_dropout", 2)
    assert (plain.dropout.p, final.dropout.p) == (0.0, 0.5)
    assert list(plain.state_dict()) == list(final.state_dict())


def test_the_adaptive_pool_is_the_reports_at_its_size_and_defined_below():
    pool = models.build("densenet121_xray", 2).pool
    maps = torch.randn(2, 512, 7, 7)
    assert torch.equal(pool(maps), nn.MaxPool2d(7, stride=1)(maps))
    assert pool(maps[..., :1, :1]).shape == (2, 512, 1, 1)


@pytest.mark.parametrize(("name", "parameters"), [("resnet50", 23_714_981), ("efficientnet_b4", 17_729_709)])
def test_the_pruning_reports_models_at_101_classes(name, parameters):
    model = models.build(name, 101)
    assert count_parameters(model) == parameters
    if name == "efficientnet_b4":  # the report's size: parameters and buffers in MiB
        assert round(state_bytes(model) / 2**20, 2) == 68.11


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b4"])
def test_their_residual_branches_start_at_zero(name):
    model = models.build(name, 101).eval()
    kinds = {"Bottleneck": lambda block: block.bn3, "MBConv": lambda block: block.block[-1][1]}
    blocks = [m for m in model.modules() if type(m).__name__ in kinds]
    # ResNet50's projected branches start at zero too; in an EfficientNet only a block with a shortcut has a branch
    branches = [b for b in blocks if getattr(b, "use_res_connect", True)]
    assert len(branches) == {"resnet50": 16, "efficientnet_b4": 25}[name]
    assert all(not kinds[type(block).__name__](block).weight.any() for block in branches)


def test_a_new_efficientnet_is_near_guessing():
    torch.manual_seed(0)
    model = models.build("efficientnet_b4", 101).eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.arange(4))
    assert loss.item() == pytest.approx(math.log(101), abs=0.1)


@pytest.mark.parametrize("name", [*XRAY, "resnet50", "efficientnet_b4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_they_take_grey_and_colour_of_small_and_odd_sizes(name, channels):
    model = models.build(name, 2, in_channels=channels).eval()
    with torch.no_grad():
        for size in ((32, 32), (64, 48)):
            assert model(torch.zeros(1, channels, *size)).shape == (1, 2)


@pytest.mark.parametrize("name", ["resnet18_transfer", *XRAY, "resnet50", "efficientnet_b4"])
def test_channels_change_the_first_convolution_alone(name):
    grey, colour = (dict(models.build(name, 2, in_channels=c).named_parameters()) for c in (1, 3))
    different = [n for n in colour if grey[n].shape != colour[n].shape]
    assert len(different) == 1
    assert colour[different[0]].shape[1] == 3
    assert grey[different[0]].shape[1] == 1
