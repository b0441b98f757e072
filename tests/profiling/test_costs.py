"""Costs: Table 2 of the Turkish report to the digit, and nothing of the counting stays on the model."""

import json
import random
import sys

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.cli import main
from kdlib.errors import UserError
from kdlib.profiling import MEANING, costs, counts, profile

KEYS = {
    *("total_params", "trainable_params", "frozen_params", "mult_adds", "fwd_bwd_mb", "params_mb", "total_mb"),
    *("macs_thop", "macs_fvcore", "size_mib", "latency_ms", "throughput", "peak_memory_mb"),
}


def transfer() -> nn.Module:
    model = models.build("resnet18_transfer", 10)
    models.open_only(model, ["layer2", "layer3", "layer4", "fc"])
    return model


@pytest.mark.parametrize(
    ("model", "params", "sizes", "flops"),
    [
        (transfer, (11_342_794, 11_185_290, 157_504), (37.19, 0.01, 0.82, 45.37, 46.20), (0.0373, 32)),
        (
            lambda: models.build("resnet18_kd", 10),
            (11_335_114, 11_335_114, 0),
            (140.36, 0.01, 3.25, 45.34, 48.60),
            (6.8890, 224),
        ),
        (
            lambda: models.build("resnet18_light", 10),
            (2_837_226, 2_837_226, 0),
            (35.53, 0.01, 1.63, 11.35, 12.99),
            (1.7489, 224),
        ),
    ],
    ids=["transfer", "kd", "light"],
)
def test_table_2_of_the_turkish_report(model, params, sizes, flops):
    model = model()
    found = costs(model, (3, 32, 32))
    assert tuple(found[key] for key in ("total_params", "trainable_params", "frozen_params")) == params
    mb = [round(found[key], 2) for key in ("input_mb", "fwd_bwd_mb", "params_mb", "total_mb")]
    assert (round(found["mult_adds"] / 1e6, 2), *mb) == sizes
    value, size = flops
    image = torch.zeros(1, 3, size, size)
    assert round(counts.by_fvcore(model, image) / 1e9, 4) == value


def test_counters_by_hand():
    # 8·8 positions × 4 filters × 27 weights; linear 256·10. torchinfo counts biases as one each a position.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(256, 10, bias=False))
    found = costs(model, (3, 8, 8))
    macs = 64 * 4 * 27 + 2560
    assert {found[key] for key in ("mult_adds", "macs_thop", "macs_fvcore", "macs_torch")} == {macs}
    assert found["fwd_bwd_mb"] == pytest.approx(2 * 4 * (64 * 4 + 10) / 1e6)
    assert found["params_mb"] == pytest.approx(4 * (108 + 2560) / 1e6)
    assert found["size_mib"] == 4 * (108 + 2560) / 2**20


def test_buffers_are_in_the_size_and_not_in_the_parameters():
    model = nn.BatchNorm2d(5)
    found = costs(model, (5, 4, 4))
    assert found["total_params"] == 10
    # weight, bias, mean, variance of 4 bytes, and a counter of 8
    assert found["size_mib"] == (4 * 4 * 5 + 8) / 2**20


def test_the_file_size_is_that_of_the_file(tmp_path):
    from safetensors.torch import save_file

    model = models.build("cnn2", 10)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert costs(model, (3, 32, 32))["file_mb"] * 1e6 == (tmp_path / "model.safetensors").stat().st_size


class Fragile(nn.Module):
    """Fails from the second forward pass on, as a model may do in a counter's hands."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, x):
        Fragile.calls += 1
        if Fragile.calls > 1:
            raise RuntimeError("no more")
        return self.drop(self.bn(self.conv(x))).mean((2, 3))


def traces(model: nn.Module) -> dict:
    """All that counting could leave behind, as one comparable thing."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "state": {name: tensor.clone().tolist() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "devices": [str(p.device) for p in model.parameters()],
        "open": [p.requires_grad for p in model.parameters()],
        "grads": [p.grad is None for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "buffers": [sorted(module._buffers) for module in model.modules()],
        "hooks": [len(getattr(module, kind)) for module in model.modules() for kind in hooks],
        "random": (torch.get_rng_state().tolist(), random.getstate()),
        "grad_mode": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("train", [True, False])
def test_profiling_leaves_nothing_behind(train, capfd):
    torch.manual_seed(3)
    model = models.build("resnet3", 10).train(train)
    model.bn1.train(not train)
    models.open_only(model, ["fc"])
    before = traces(model)
    profile(model, (3, 16, 16), batch_size=2, repeats=2)
    assert traces(model) == before
    assert capfd.readouterr() == ("", "")


def test_profiling_leaves_nothing_behind_when_a_counter_fails():
    model = Fragile()
    before = traces(model)
    Fragile.calls = 1
    image = torch.zeros(1, 3, 8, 8)
    assert set(counts.by_torchinfo(model, image).values()) == {None}
    assert counts.by_thop(model, image) is None
    assert counts.by_fvcore(model, image) is None
    assert traces(model) == before


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 0, 8), {}, "at least 1, got 3×0×8"),
        ((3, 8), {}, "channels × height × width"),
        ((3, 1, 1), {}, "the model cannot take an image of 3×1×1"),
        ((1, 8, 8), {}, "the model cannot take an image of 1×8×8"),
        ((3, 8, 8), {"batch_size": 0}, "the batch size must be at least 1"),
        ((3, 8, 8), {"repeats": 0}, "the number of repeats must be at least 1"),
    ],
)
def test_what_cannot_be_profiled_is_said_in_one_line(shape, options, message):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match=message) as caught:
        profile(model, shape, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_counter_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "thop", None)
    with pytest.raises(UserError, match=r"needs thop.*kdlib\[study\]"):
        costs(nn.Conv2d(3, 2, 3), (3, 8, 8))


def test_the_command_gives_json_with_its_keys(capsys):
    sizes = ["--num-classes", "7", "--input-size", "16", "--batch-size", "2", "--repeats", "2"]
    assert main(["profile", "resnet3", *sizes, "--open", "fc", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= KEYS | {"latency_iqr_ms", "batch_size", "input_size", "device", "peak_training_mb", "file_mb"}
    assert found["trainable_params"] == 32 * 7 + 7
    assert (found["batch_size"], found["input_size"], found["in_channels"]) == (2, 16, 3)
    assert found["throughput"] == pytest.approx(2e3 / found["latency_ms"])


def test_the_command_prints_every_measure_with_its_words(capsys):
    assert main(["profile", "cnn2", "--repeats", "1", "--in-channels", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cnn2, one image of 1×32×32"
    assert all(any(meaning in line for line in lines) for meaning in MEANING.values())
    numbers = [line for line in lines if line.startswith("  ")]
    assert len({len(line) for line in numbers}) == 1


def test_the_command_takes_a_dotted_path(capsys):
    assert main(["profile", "kdlib.models.cnn:cnn2", "--repeats", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs_torch"] == 397_312


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cnn3"], "unknown model 'cnn3'"),
        (["cnn2", "--input-size", "0"], "--input-size 0: give a whole number of at least 1"),
        (["cnn2", "--batch-size", "-3"], "--batch-size -3: give a whole number"),
        (["cnn2", "--num-classes", "ten"], "--num-classes ten: give a whole number"),
        (["densenet121_fc", "--input-size", "1"], "cannot take an image of 3×1×1"),
        (["resnet3", "--open", "layer7"], "no layer 'layer7'"),
        (["cnn2", "--device", "warp"], "unknown device 'warp'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_2(words, message, capsys):
    assert main(["profile", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
