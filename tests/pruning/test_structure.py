"""Structure: MACs without running, what is protected and why, models that cannot be followed."""

import copy

import pytest
import torch
from nets import built, chain, pruned
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.profiling import forward_macs, state_bytes
from kdlib.pruning import Spec, prune, scan

SHAPE = (3, 32, 32)


def head(width: int, classes: int = 4) -> dict[str, nn.Module]:
    return {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(width, classes)}


# MACs


@pytest.mark.parametrize("name", ["resnet18_kd", "mobilenetv2_fc", "efficientnet_b4", "densenet121_fc"])
def test_macs_are_those_of_the_profiler_before_and_after(name):
    report = pruned(name).report
    assert report["macs"] == [forward_macs(model, SHAPE) for model in (built(name), pruned(name).model)]
    assert report["macs"][1] < report["macs"][0]


@pytest.mark.parametrize("name", ["resnet18_light", "mobilenetv2_fc"])
def test_macs_are_foretold_from_what_leaves(name):
    structure = scan(built(name), SHAPE)
    before = {c.name: c.size for c in structure.sets}
    gone = {key: torch.arange(before[key] - left) for key, (_, left) in pruned(name).report["channels"].items()}
    assert structure.macs(gone) == pruned(name).report["macs"][1]


@pytest.mark.parametrize(
    "middle",
    [
        nn.Conv2d(8, 1, 3, padding=1),  # one output channel is no depthwise convolution
        nn.Conv2d(8, 12, 3, groups=2),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8),
    ],
    ids=["one", "grouped", "depthwise", "transposed", "transposed depthwise"],
)
def test_macs_of_every_convolution(middle):
    model = chain(conv=nn.Conv2d(3, 8, 3), relu=nn.ReLU(), middle=middle, **head(middle.out_channels))
    found = prune(model, Spec("magnitude", ratio=0.3), shape=(3, 8, 8))
    assert found.report["macs"] == [forward_macs(m, (3, 8, 8)) for m in (model, found.model)]
    assert found.report["removed"][0] > 0


class Twice(nn.Module):
    """One convolution called two times."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.again(torch.relu(self.again(torch.relu(self.first(x))))).mean((2, 3)))


def test_a_layer_called_twice_counts_twice_and_is_one_set():
    found = prune(Twice(), Spec("wanda", ratio=0.3), [(torch.randn(4, 3, 8, 8), torch.zeros(4).long())])
    assert found.report["macs"] == [64 * (27 * 8 + 2 * 9 * 64) + 32, 64 * (27 * 6 + 2 * 9 * 36) + 24]
    assert len(found.report["channels"]) == 2


# What is protected


def test_the_classifier_keeps_its_outputs():
    for name in ("resnet18_kd", "mobilenetv2_fc", "densenet121_fc"):
        assert "output" in pruned(name).report["protected"].values()
        with torch.no_grad():
            assert pruned(name).model(torch.zeros(1, *SHAPE)).shape == (1, 5)


class ResidualLogits(nn.Module):
    """Logits that a layer reads and adds to."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(3, 8, 3), nn.Linear(8, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc1(torch.relu(self.conv(x)).mean((2, 3)))
        return y + self.fc2(torch.relu(y))


def test_logits_that_are_read_are_still_the_output():
    found = prune(ResidualLogits(), Spec("magnitude", ratio=0.5), shape=(3, 8, 8))
    assert found.model(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    assert found.report["protected"] == {"fc1": "output"}
    assert found.report["channels"]["conv"] == [8, 4]


def test_squeeze_excite_bottlenecks_are_protected_or_open():
    model = built("efficientnet_b4")
    reasons = {
        protect: {c.name: c.protected for c in scan(model, SHAPE, (), protect).sets} for protect in (True, False)
    }
    squeezed = [name for name, why in reasons[True].items() if why == "squeeze-excite"]
    assert len(squeezed) == 32  # one for each of EfficientNet-B4's blocks
    assert all(name.endswith("fc1") for name in squeezed)
    assert {reasons[False][name] for name in squeezed} == {""}
    same = [name for name in reasons[True] if name not in squeezed]
    assert [reasons[True][name] for name in same] == [reasons[False][name] for name in same]


def test_a_dense_layer_is_no_squeeze_excite():
    assert set(pruned("densenet121_fc").report["protected"].values()) == {"output"}


def test_keep_by_name_of_a_module_or_of_what_holds_it():
    model = built("resnet18_light")
    for keep in ("layer2", "layer2.0.conv1"):
        sets = scan(model, SHAPE, [keep]).sets
        asked = {c.name for c in sets if c.protected == "asked"}
        assert "layer2.0.conv1" in asked
        assert all(name.startswith(keep) for name in asked if "downsample" not in name)
    report = prune(model, Spec("magnitude", ratio=0.3, keep=("layer2",)), shape=SHAPE).report
    assert all(report["channels"][name][0] == report["channels"][name][1] for name in report["protected"])
    state = prune(model, Spec("magnitude", ratio=0.3, keep=("layer2",)), shape=SHAPE).model.state_dict()
    assert state["layer2.1.conv2.weight"].shape == model.layer2[1].conv2.weight.shape


def test_a_name_protects_a_copy_too():
    spec = Spec("magnitude", ratio=0.3, keep=("conv1",))
    for model in (models.build("resnet3", 4), copy.deepcopy(models.build("resnet3", 4))):
        assert prune(model, spec, shape=(3, 8, 8)).model.conv1.out_channels == 16


def test_a_prefix_of_a_name_is_no_name():
    model = chain(conv1=nn.Conv2d(3, 4, 3), conv10=nn.Conv2d(4, 4, 3), **head(4))
    sets = {c.name: c.protected for c in scan(model, (3, 8, 8), ["conv1"]).sets}
    assert sets == {"conv1": "asked", "conv10": "", "fc": "output"}


@pytest.mark.parametrize(("name", "says"), [("layer9", "did you mean 'layer"), ("zzz", "known: ")])
def test_a_wrong_name(name, says):
    with pytest.raises(UserError, match=f"has no layer '{name}'; {says}"):
        scan(models.build("resnet3", 4), (3, 8, 8), [name])


@pytest.mark.parametrize(
    "middle",
    [
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3)),
        nn.utils.spectral_norm(nn.Conv2d(8, 8, 3)),
        nn.ConvTranspose2d(8, 6, 2, groups=2),
        nn.Conv2d(8, 16, 3, groups=8),
    ],
    ids=["weight norm", "spectral norm", "transposed of groups", "depth multiplier"],
)
def test_channels_of_layers_that_cannot_be_cut_stay(middle):
    model = chain(conv=nn.Conv2d(3, 8, 3), middle=middle, last=nn.Conv2d(middle.out_channels, 6, 1), **head(6)).eval()
    found = prune(model, Spec("wanda", ratio=0.5, scope="layerwise"), [(torch.randn(4, 3, 8, 8), torch.arange(4))])
    assert found.report["protected"]["conv"] == "not prunable"
    assert found.report["channels"]["conv"] == [8, 8]
    assert found.report["channels"]["last"] == [6, 3]


# EfficientNet-B4 as the report pruned it: it gives -18.8 %


@pytest.mark.parametrize(("protect", "percent"), [(False, -18.7469), (True, -17.1088)])
def test_efficientnet_layerwise_ten_percent(protect, percent):
    model = models.build("efficientnet_b4", 101)
    assert round(state_bytes(model) / 2**20, 2) == 68.11
    spec = Spec("magnitude", ratio=0.1, scope="layerwise", protect_se=protect)
    before, after = prune(model, spec, shape=(3, 64, 64)).report["size_bytes"]
    assert (after / before - 1) * 100 == pytest.approx(percent, abs=0.0005)


# Models that cannot be followed


class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x), x


class Undecided(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        if x.abs().sum() == 0:
            raise ValueError("an empty image\nmakes no sense")
        return self.fc(self.conv(x).mean((2, 3)))


def shufflenet() -> nn.Module:
    from torchvision.models import shufflenet_v2_x0_5

    return shufflenet_v2_x0_5(num_classes=4)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (Tuple, "it gives a tuple instead of logits"),
        (Undecided, "an empty image$"),
        (shufflenet, "ShuffleNetV2 cannot be followed on an image of 3×32×32: "),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 33), nn.Flatten(), nn.Linear(4, 4)), "Kernel size"),
    ],
    ids=["tuple", "control flow", "channel shuffle", "image too small"],
)
def test_what_cannot_be_followed(build, says):
    with pytest.raises(UserError, match=says) as caught:
        prune(build(), Spec("magnitude", ratio=0.3), shape=SHAPE)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_all_output():
    with pytest.raises(UserError, match="no channels to prune: all its layers are protected"):
        prune(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), Spec("magnitude", ratio=0.3), shape=(3, 2, 2))


def test_where_the_tracer_loses_its_way_channels_stay():
    # Linear attention reshapes queries, keys and values of several scales together.
    model = models.build("timm/efficientvit_b0", 4)
    found = prune(model, Spec("magnitude", ratio=0.3), shape=(3, 64, 64))
    before, after = found.report["params"]
    assert after < before
    assert found.model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
