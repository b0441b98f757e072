"""Every registered architecture: parameters and layers worked out by hand, shapes, sizes, channels."""

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.profiling import count_parameters, forward_macs

LADDER = ("resnet3", "resnet4", "resnet5", "resnet6", "resnet10")
OURS = ("cnn2", "conv3", "conv10", "resnet18_kd", "resnet18_light", *LADDER)


def conv(cin: int, cout: int) -> int:
    """Weights of a 3×3 convolution without bias."""
    return 9 * cin * cout


def convbn(cin: int, cout: int) -> int:
    """The same with its batch norm (weight and bias)."""
    return conv(cin, cout) + 2 * cout


def project(cin: int, cout: int) -> int:
    """Weights of a 1×1 shortcut with its batch norm."""
    return cin * cout + 2 * cout


def linear(cin: int, cout: int) -> int:
    return cin * cout + cout


def stage(cin: int, cout: int) -> int:
    """Weights of two basic blocks of which the first is projected: 64 to 128 in ResNet18's layer2, say."""
    return convbn(cin, cout) + 3 * convbn(cout, cout) + project(cin, cout)


def tapered(c: int) -> int:
    """Weights of Linear(c, c/2) BN ReLU Linear(c/2, c/4) BN ReLU Linear(c/4, 10)."""
    return linear(c, c // 2) + c + linear(c // 2, c // 4) + c // 2 + linear(c // 4, 10)


BY_HAND = {
    # two convolutions with bias, 8×8 maps of 16 into 10 classes: 168 + 880 + 10,250
    "cnn2": conv(3, 6) + 6 + conv(6, 16) + 16 + linear(16 * 64, 10),
    # convolutions with bias, 4×4 maps into 256 nodes into 10 classes
    "conv3": conv(3, 16) + 16 + conv(16, 32) + 32 + conv(32, 32) + 32 + linear(512, 256) + linear(256, 10),
    "conv10": (conv(3, 32) + conv(32, 32) + conv(32, 64) + 2 * conv(64, 64) + conv(64, 128) + 4 * conv(128, 128))
    + (2 * 32 + 3 * 64 + 5 * 128)
    + linear(2048, 256)
    + linear(256, 10),
    # layer1 has no projection
    "resnet18_kd": convbn(3, 64)
    + 4 * convbn(64, 64)
    + stage(64, 128)
    + stage(128, 256)
    + stage(256, 512)
    + tapered(512),
    "resnet18_light": convbn(3, 32)
    + 4 * convbn(32, 32)
    + stage(32, 64)
    + stage(64, 128)
    + stage(128, 256)
    + tapered(256),
    "resnet3": convbn(3, 16) + convbn(16, 32) + project(16, 32) + linear(32, 10),
    "resnet4": convbn(3, 16) + convbn(16, 32) + convbn(32, 32) + project(16, 32) + linear(32, 10),
    "resnet5": convbn(3, 16)
    + convbn(16, 32)
    + convbn(32, 32)
    + project(16, 32)
    + convbn(32, 64)
    + project(32, 64)
    + linear(64, 10),
    "resnet6": convbn(3, 32)
    + convbn(32, 64)
    + convbn(64, 64)
    + project(32, 64)
    + convbn(64, 128)
    + convbn(128, 128)
    + project(64, 128)
    + linear(128, 10),
    "resnet10": convbn(3, 32)
    + 2 * convbn(32, 32)
    + convbn(32, 64)
    + convbn(64, 64)
    + project(32, 64)
    + convbn(64, 128)
    + convbn(128, 128)
    + project(64, 128)
    + convbn(128, 256)
    + convbn(256, 256)
    + project(128, 256)
    + linear(256, 10),
}


def test_every_registered_architecture_is_tested_here():
    assert set(OURS) <= set(models.names())
    assert set(BY_HAND) == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_parameters_by_hand(name):
    assert count_parameters(models.build(name, 10)) == BY_HAND[name]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Table 2 of the Turkish report
        ("resnet18_kd", 11_335_114),
        ("resnet18_light", 2_837_226),
        # the sums above, spelt out
        ("cnn2", 11_298),
        ("conv3", 148_234),
        ("conv10", 1_293_802),
        ("resnet3", 6_042),
        ("resnet4", 15_322),
        ("resnet5", 36_378),
        ("resnet6", 290_090),
        ("resnet10", 1_228_970),
        # small siblings of torchvision's
        ("densenet_small", 105_658),
        ("mobilenetv2_small", 30_170),
    ],
)
def test_parameters_to_the_digit(name, parameters):
    assert count_parameters(models.build(name, 10)) == parameters


@pytest.mark.parametrize("name", LADDER)
def test_ladder_counts_weighted_layers(name):
    model = models.build(name, 10)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    shortcuts = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(convs) + len(linears) == int(name.removeprefix("resnet"))
    assert len(linears) == 1
    # what is not counted is a shortcut and nothing else
    assert len(convs) + len(shortcuts) == sum(isinstance(m, nn.Conv2d) for m in model.modules())


def test_ladder_rises():
    built = [models.build(name, 10) for name in LADDER]
    for measure in (count_parameters, lambda model: forward_macs(model, (3, 32, 32))):
        values = [measure(model) for model in built]
        assert values == sorted(values)
        assert len(set(values)) == len(values)


@pytest.mark.parametrize(("name", "n"), [("conv10", 10), ("conv3", 3)])
def test_plain_networks_have_the_layers_of_the_report(name, n):
    kinds = [type(m).__name__ for m in models.build(name, 10).modules()]
    assert kinds.count("Conv2d") == n
    assert sum("Pool" in kind for kind in kinds) == 1
    linears = [m for m in models.build(name, 10).modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [256, 10]


def test_pool_of_plain_networks_is_2x2_at_32_pixels():
    model = models.build("conv10", 10)
    seen = []
    handle = model.pool.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    handle.remove()
    given, out = seen[0]
    assert torch.equal(out, nn.functional.max_pool2d(given, 2))


def test_cnn2_is_conv_relu_pool_twice():
    model = models.build("cnn2", 10)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        plain = nn.functional.max_pool2d(torch.relu(model.conv1(x)), 2)
        plain = nn.functional.max_pool2d(torch.relu(model.conv2(plain)), 2)
        assert torch.equal(model(x), model.fc(plain.flatten(1)))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(("size", "channels", "classes"), [(32, 3, 10), (64, 3, 2), (96, 1, 7), (8, 1, 3)])
def test_takes_other_sizes_channels_and_classes(name, size, channels, classes):
    model = models.build(name, classes, channels).eval()
    with torch.no_grad():
        assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", OURS)
def test_initialisation_follows_the_seed(name):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(models.build(name, 10).state_dict())
    same = [torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True)]
    other = [torch.equal(a, b) for a, b in zip(states[0].values(), states[2].values(), strict=True)]
    assert all(same)
    assert not all(other)


@pytest.mark.parametrize("name", ["resnet18_kd", "resnet18_light"])
def test_resnet18_takes_torchvisions_weights_where_shapes_agree(name):
    from torchvision.models import resnet18

    theirs = resnet18().state_dict()
    ours = models.build(name, 10).state_dict()
    backbone = [key for key in ours if not key.startswith("fc.")]
    assert set(backbone) == {key for key in theirs if not key.startswith("fc.")}
    if name == "resnet18_kd":
        assert [key for key in backbone if ours[key].shape != theirs[key].shape] == ["conv1.weight"]


def test_a_residual_block_adds_its_input():
    from kdlib.models.resnet import BasicBlock, SingleBlock

    x = torch.rand(2, 4, 5, 5)
    for block in (BasicBlock(4, 4), SingleBlock(4, 4)):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
        # nothing but the shortcut is left, and the inputs are positive
        assert torch.equal(block.eval()(x), x)
