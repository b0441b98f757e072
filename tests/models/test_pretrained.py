"""Weights to start from: what is loaded, what stays fresh, what is refused."""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.models import pretrained


def small(classes=4):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes)
    )


def test_all_but_the_head_is_loaded_statistics_too():
    source, target = small(), small()
    source(torch.randn(8, 3, 8, 8))
    before = target[4].weight.clone()
    fresh = models.start_from(target, source.state_dict(), head="4")
    assert fresh == ["4.weight", "4.bias"]
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[1].running_mean, source[1].running_mean)
    assert torch.equal(target[4].weight, before)


def test_a_head_of_another_shape_stays_fresh_by_itself():
    assert models.start_from(small(4), small(7).state_dict()) == ["4.weight", "4.bias"]


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(UserError, match="none of the 2 tensors fits Sequential"):
        models.start_from(small(), nn.Linear(6, 4).state_dict())


def test_a_module_is_told_by_its_whole_name():
    model = models.build("resnet18_transfer", 10)
    models.open_only(model, ["layer4.1", "fc"])
    opened = {name for name, p in model.named_parameters() if p.requires_grad}
    assert opened == {name for name, _ in model.named_parameters() if name.startswith(("layer4.1.", "fc."))}


def test_the_report_freezes_157504():
    model = models.build("resnet18_transfer", 10)
    models.open_only(model, ["layer2", "layer3", "layer4", "fc"])
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (trained, 11_342_794 - trained) == (11_185_290, 157_504)


def test_open_again_opens_what_was_frozen():
    model = small()
    models.open_only(model, ["4"])
    models.open_only(model, ["0", "1", "4"])
    assert all(p.requires_grad for p in model.parameters())


def test_a_layer_that_is_none_is_named_with_its_neighbour():
    with pytest.raises(UserError, match="ResNet has no layer 'layr4' to open; did you mean 'layer4'"):
        models.open_only(models.build("resnet18_transfer", 10), ["layr4", "fc"])


WRAPS = {
    "alone": lambda s: s,
    "lightning": lambda s: {"state_dict": s, "epoch": 3},
    "torchvision": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    "tutorial": lambda s: {"epoch": 5, "model_state_dict": s, "optimizer_state_dict": {}, "loss": 0.1},
    "pytorch-cifar": lambda s: {"net": s, "acc": np.float64(93.1), "epoch": np.int64(7)},
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_checkpoints_of_torch(tmp_path, wrap):
    state = small().state_dict()
    torch.save(wrap(state), tmp_path / "model.pt")
    found = models.checkpoint(tmp_path / "model.pt")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "student.net."])
def test_a_wrappers_prefix_is_passed_over(prefix):
    source, target = small(), small()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    assert models.start_from(target, {**state, "criterion.weight": torch.ones(3)}, whole=True) == []
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


def test_of_two_models_in_a_checkpoint_none_is_guessed():
    state = {f"{who}.{name}": value for who in ("teacher", "student") for name, value in small().state_dict().items()}
    with pytest.raises(UserError, match=r"several such models, under 'student.' and 'teacher.'"):
        models.start_from(small(), state)


def test_numbers_that_are_none_are_refused():
    state = small().state_dict()
    next(iter(state.values()))[0] = float("nan")
    with pytest.raises(UserError, match="holds NaN or infinite numbers"):
        models.start_from(small(), state)


def test_files_that_hold_no_tensors_say_what_they_are(tmp_path):
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="is a pointer of git-lfs, not the file itself"):
        models.checkpoint(tmp_path / "pointer.pt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(UserError, match=r"is no checkpoint of tensors alone: \w+"):
        models.checkpoint(tmp_path / "empty.pt")
    with pytest.raises(UserError, match="is a folder; say imagenet, source, or the path of a checkpoint file"):
        models.checkpoint(tmp_path)


def test_checkpoints_as_safetensors(tmp_path):
    save_file(small().state_dict(), tmp_path / "m.safetensors")
    assert set(models.checkpoint(tmp_path / "m.safetensors")) == set(small().state_dict())


def test_a_pickle_is_not_run(tmp_path):
    torch.save(small(), tmp_path / "whole.pt")  # a module: loading it would run code
    with pytest.raises(UserError, match=r"holds an object of \S+Sequential, which is code .* save model\.state_dict"):
        models.checkpoint(tmp_path / "whole.pt")


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "text.pt").write_text("no weights at all")
    with pytest.raises(UserError) as error:
        models.checkpoint(tmp_path / "text.pt")
    assert "is no checkpoint of tensors alone: Weights only load failed" in str(error.value)
    assert str(error.value).isprintable()
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(UserError, match=r"holds no state dict .*at its top are epoch"):
        models.checkpoint(tmp_path / "empty.pt")
    for function in (models.checkpoint, models.digest):
        with pytest.raises(UserError, match=r"absent\.pt is not there"):
            function(tmp_path / "absent.pt")


def test_the_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"weights")
    assert models.digest(tmp_path / "x") == hashlib.sha256(b"weights").hexdigest()[:16]


def test_imagenet_names():
    assert models.imagenet_name("resnet18_transfer") == "ResNet18_Weights.IMAGENET1K_V1"
    assert models.imagenet_name("densenet121_fc") == "DenseNet121_Weights.IMAGENET1K_V1"
    assert models.imagenet_name("torchvision.models:mobilenet_v2") == "MobileNet_V2_Weights.IMAGENET1K_V1"
    for model in ("cnn2", "torchvision.models:nothing", "mypkg.models:build"):
        with pytest.raises(UserError, match="no ImageNet weights for model"):
            models.imagenet_name(model)


def test_every_backbone_is_registered():
    assert set(pretrained.BACKBONES) <= set(models.names())


def test_imagenet_weights_out_of_reach_name_the_file_and_its_place(monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(UserError) as caught:
        models.imagenet("resnet18_transfer")
    said = str(caught.value)
    assert "resnet18-f37072fd.pth cannot be had (no route to host)" in said
    assert str(tmp_path / "checkpoints") in said
    assert "\n" not in said


def test_imagenet_weights_in_the_cache_fit_all_but_the_head(monkeypatch, tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(3)
    weights = resnet18().state_dict()
    (tmp_path / "checkpoints").mkdir()
    torch.save(weights, tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    model = models.build("resnet18_transfer", 10)
    fresh = models.start_from(model, models.imagenet("resnet18_transfer"), head="fc")
    assert {name.split(".")[0] for name in fresh} == {"fc"}
    assert torch.equal(model.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])
