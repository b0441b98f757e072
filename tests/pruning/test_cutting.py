"""Histories: what left, said once, does the same to a fresh model."""

import pytest
import torch
from nets import built, normed, pruned
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.pruning import Spec, prune, replay, scan


def shapes(model: nn.Module) -> dict[str, tuple]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_cuts_by_hand():
    structure = scan(normed(), (3, 8, 8))
    cut = structure.cuts({"conv1": torch.tensor([1, 4])})
    assert sorted(cut) == [("bn1", "out", [1, 4]), ("conv1", "out", [1, 4]), ("conv2", "in", [1, 4])]


def test_flattened_channels_take_all_their_inputs():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(2 * 9, 4))
    cut = scan(model, (3, 3, 3)).cuts({"0": torch.tensor([1])})
    assert sorted(cut) == [("0", "out", [1]), ("2", "in", list(range(9, 18)))]


@pytest.mark.parametrize("name", ["resnet18_light", "mobilenetv2_fc", "efficientnet_b4", "cnn2"])
def test_a_replayed_history_is_the_pruning(name):
    found = pruned(name)
    model = models.build(name, 5).eval()
    model.load_state_dict(built(name).state_dict())
    again = replay(model, found.history)
    assert shapes(again) == shapes(found.model)
    assert all(torch.equal(t, found.model.state_dict()[key]) for key, t in again.state_dict().items())
    assert repr(again) == repr(found.model)


def test_two_steps_replay():
    model = normed()
    found = prune(model, Spec("magnitude", ratio=0.5, steps=2), shape=(3, 8, 8))
    assert len(found.history) == 2
    assert shapes(replay(normed(), found.history)) == shapes(found.model)


def test_frozen_parameters_stay_frozen_and_modes_stay():
    model = normed().train()
    model.conv1.requires_grad_(False)
    model.bn1.eval()
    replay(model, [[("conv1", "out", [0]), ("bn1", "out", [0]), ("conv2", "in", [0])]])
    assert not model.conv1.weight.requires_grad
    assert model.conv2.weight.requires_grad
    assert (model.training, model.bn1.training) == (True, False)
    assert model.conv1.weight.shape[0] == model.bn1.num_features == model.conv2.in_channels == 7


@pytest.mark.parametrize("step", [("nowhere", "out", [0]), ("relu1.deeper", "out", [0])], ids=str)
def test_a_history_of_another_architecture(step):
    with pytest.raises(UserError, match="belongs to another architecture") as caught:
        replay(normed(), [[step]])
    assert "\n" not in str(caught.value)
