"""Files of pruned models: the same answers to the bit, nothing unpickled, nothing half written."""

import pytest
import torch
from nets import normed, pruned
from torch import nn

from kdlib import pruning
from kdlib.errors import UserError

NAMES = ("resnet50", "efficientnet_b4", "densenet121_fc", "mobilenetv2_fc", "cnn2", "resnet18_light", "resnet5")


def build(name: str) -> dict:
    return {"name": name, "num_classes": 5, "in_channels": 3}


def saved(path, name: str = "resnet5", **options):
    found = pruned(name)
    return pruning.save(path / "pruned.pt", found.model, found.history, **{"build": build(name)} | options)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_answers_to_the_bit(name, tmp_path):
    path = saved(tmp_path, name)
    model = pruning.load(path)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(image), pruned(name).model(image))
    assert not model.training
    assert isinstance(torch.load(path, weights_only=True), dict)
    assert [file.name for file in tmp_path.iterdir()] == ["pruned.pt"]


def test_a_model_of_ones_own(tmp_path):
    model = normed()
    found = pruning.prune(model, pruning.Spec("magnitude", ratio=0.3, steps=2), shape=(3, 8, 8))
    path = pruning.save(tmp_path / "new" / "own.pt", found.model, found.history)
    with pytest.raises(UserError, match="does not say how its model is built; pass build="):
        pruning.load(path)
    image = torch.randn(2, 3, 8, 8)
    assert torch.equal(pruning.load(path, normed)(image), found.model.eval()(image))


def refused(path, says: str, **options) -> None:
    with pytest.raises(UserError, match=says) as caught:
        pruning.load(path, **options)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "none.pt", "no such file")
    refused(tmp_path, "no such file")
    (tmp_path / "text.pt").write_text("not a model")
    refused(tmp_path / "text.pt", "is no pruned model")
    (tmp_path / "empty.pt").write_bytes(b"")
    refused(tmp_path / "empty.pt", "is no pruned model")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "state.pt")
    refused(tmp_path / "state.pt", "is no pruned model: write it with kdlib.pruning.save")
    torch.save(normed(), tmp_path / "pickled.pt")
    refused(tmp_path / "pickled.pt", "is no pruned model")
    half = saved(tmp_path).read_bytes()
    (tmp_path / "half.pt").write_bytes(half[: len(half) // 2])
    refused(tmp_path / "half.pt", "is no pruned model")


@pytest.mark.parametrize("other", ["resnet3", "resnet6", "cnn2", "mobilenetv2_fc"])
def test_another_architecture(other, tmp_path):
    refused(saved(tmp_path, build=build(other)), "belongs to another architecture")


def test_an_unknown_architecture(tmp_path):
    refused(saved(tmp_path, build=build("resnet5x")), "unknown model 'resnet5x'; did you mean")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["full", "stopped"])
def test_a_save_that_fails_leaves_what_was_there(error, tmp_path, monkeypatch):
    before = saved(tmp_path).read_bytes()

    def half(_, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(type(error)):
        saved(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["pruned.pt"]
    assert (tmp_path / "pruned.pt").read_bytes() == before


class Extra(nn.Linear):
    """Keeps something in its state that is no tensor."""

    def get_extra_state(self):
        return {"seen": 3}

    def set_extra_state(self, state):
        pass


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="Extra keeps _extra_state in its state; only tensors can be stored"):
        pruning.save(tmp_path / "there" / "model.pt", Extra(2, 2), [])
    with pytest.raises(UserError, match=r"which safetensors cannot; call it model\.pt"):
        pruning.save(tmp_path / "there" / "model.safetensors", nn.Linear(2, 2), [])
    assert not (tmp_path / "there").exists()
