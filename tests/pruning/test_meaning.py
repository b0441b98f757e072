"""A cut means what it should: what was pruned computes what the whole network does without the channels that left."""

import pytest
import torch
from nets import chain, normed
from torch import nn

from kdlib.errors import UserError
from kdlib.pruning import Spec, prune, replay, scan
from kdlib.pruning.meaning import Meaning
from kdlib.pruning.structure import TookTooLong, at_most

SHAPE = (3, 8, 8)


class Does(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def net(middle: nn.Module, width: int, first: int = 16) -> nn.Sequential:
    """Two convolutions, ``middle`` between the second and the third, which reads ``width`` channels."""
    torch.manual_seed(0)
    return chain(
        a=nn.Conv2d(3, 8, 3, padding=1),
        b=nn.Conv2d(8, first, 3, padding=1),
        middle=middle,
        c=nn.Conv2d(width, 8, 1),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=nn.Linear(8, 4),
    ).eval()


def halves(x):
    first, second = x.chunk(2, 1)
    return first * second


def shuffled(x):
    b, c, h, w = x.shape
    return x.reshape(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def of_each_other(x):
    y = x.flatten(2)
    return ((y @ y.transpose(1, 2)).softmax(-1) @ y).reshape(x.shape)


def masked(model, history, x):
    """What the model gives when the layers that read channels which left read zeros."""
    for name, side, index in history[0]:
        if side == "in":
            with torch.no_grad():
                model.get_submodule(name).weight[:, index] = 0
    return model(x)


@pytest.mark.parametrize(
    ("middle", "width"),
    [
        (Does(halves), 8),
        (Does(lambda x: torch.max(*x.split([8, 8], 1))), 8),
        (Does(lambda x: x.reshape(-1, 16, 8, 8)), 16),
        (Does(lambda x: x[:, ::2]), 8),
        (Does(of_each_other), 16),
        (nn.PixelShuffle(2), 4),
        (nn.GLU(1), 8),
        (Does(lambda x: x.roll(1, 1)), 16),
        (Does(lambda x: x.sort(1)[0]), 16),
        (Does(lambda x: x.reshape(len(x), -1, 2, *x.shape[2:]).amax(2)), 8),
        (nn.LocalResponseNorm(5), 16),
        (Does(lambda x: nn.functional.normalize(x, dim=1)), 16),
    ],
    ids=[
        "gate",
        "split",
        "view",
        "pick",
        "attention",
        "pixelshuffle",
        "glu",
        "roll",
        "sort",
        "maxout",
        "neighbours",
        "norm",
    ],
)
def test_what_would_be_cut_wrong_is_kept_and_the_rest_is_pruned(middle, width):
    model = net(middle, width)
    found = prune(model, Spec("random", ratio=0.3), shape=SHAPE)
    assert found.report["check"] == {"verdict": "equal", "kept": ["b"]}
    assert found.report["protected"] == {"b": "not prunable", "fc": "output"}
    assert found.report["channels"]["b"] == [16, 16]
    assert found.report["removed"] == [4, 16]
    x = torch.randn(2, *SHAPE)
    assert torch.allclose(found.model(x), masked(model, found.history, x), atol=1e-5)


def test_a_shuffle_between_grouped_convolutions():
    middle = nn.Sequential(Does(shuffled), nn.Conv2d(16, 16, 1, groups=2))
    found = prune(net(middle, 16), Spec("random", ratio=0.3), shape=SHAPE)
    assert found.report["check"] == {"verdict": "equal", "kept": ["b"]}


def test_a_flattening_in_another_order():
    model = chain(
        a=nn.Conv2d(3, 8, 3),
        b=nn.Conv2d(8, 8, 3),
        turn=Does(lambda x: x.permute(0, 2, 3, 1).flatten(1)),
        fc=nn.Linear(128, 4),
    )
    assert prune(model, Spec("random", ratio=0.3), shape=SHAPE).report["check"]["kept"] == ["b"]


def test_a_network_without_finite_outputs_is_unchecked():
    found = prune(net(Does(lambda x: x / 0 * 0), 16), Spec("random", ratio=0.3), shape=SHAPE)
    assert found.report["check"] == {"verdict": "unchecked: outputs that are not finite", "kept": []}


def test_a_layer_of_one_channel_stays():
    middle = nn.Conv2d(16, 1, 1)
    found = prune(net(middle, 1), Spec("random", ratio=0.25, scope="layerwise"), shape=SHAPE)
    assert found.report["protected"] == {"middle": "not prunable", "fc": "output"}
    assert found.report["removed"] == [2 + 4 + 2, 32]


def test_a_sound_network_is_equal_in_double_precision():
    model = normed().double()
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    found = prune(normed(), Spec("random", ratio=0.4), shape=SHAPE)
    assert found.report["check"] == {"verdict": "equal", "kept": []}
    whole = masked(normed().double(), found.history, x)
    assert torch.allclose(replay(model, found.history)(x), whole, rtol=1e-10, atol=1e-10)


def test_a_wrong_cut_is_seen():
    meaning = Meaning(normed(), SHAPE)
    right = [("conv1", "out", [2]), ("bn1", "out", [2]), ("conv2", "in", [2])]
    assert meaning.verdict(right) == "equal"
    assert meaning.verdict([*right[:2], ("conv2", "in", [3])]) is None  # the wrong channel
    assert meaning.verdict([right[0], ("bn1", "out", [3]), right[2]]) is None
    assert meaning.verdict(right[:2]) is None  # does not run


def test_the_verdict_looks_at_a_copy():
    model = normed()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Meaning(model, SHAPE).verdict([("conv1", "out", [2]), ("bn1", "out", [2]), ("conv2", "in", [2])])
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())


def endless(*_, **__):
    while True:
        pass


class Standardised(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


@pytest.mark.parametrize(
    ("middle", "says"),
    [
        (nn.GroupNorm(4, 16), "unchecked: GroupNorm"),
        (nn.Sequential(Standardised(16, 16, 1), nn.GroupNorm(4, 16)), "unchecked: GroupNorm, Standardised"),
        (Does(lambda x: x * x.softmax(1)), "unchecked: softmax"),
        (Does(lambda x: nn.functional.layer_norm(x, x.shape[1:])), "unchecked: LayerNorm"),
    ],
    ids=["group norm", "standardised weights", "softmax over channels", "layer norm"],
)
def test_what_looks_at_all_channels_at_once_is_said_to_be_unchecked(middle, says):
    found = prune(net(middle, 16), Spec("random", ratio=0.3), shape=SHAPE)
    assert found.report["check"] == {"verdict": says, "kept": []}


def test_equally_many_leave_each_group_of_a_group_norm():
    found = prune(net(nn.GroupNorm(4, 16), 16), Spec("magnitude", ratio=0.5, scope="layerwise"), shape=SHAPE)
    (gone,) = (index for name, _, index in found.history[0] if name == "middle")
    assert [sum(i // 4 == group for i in gone) for group in range(4)] == [2, 2, 2, 2]
    assert (found.model.middle.num_groups, found.model.middle.num_channels) == (4, 8)


def test_tied_weights_stay_tied():
    model = chain(
        stem=nn.Conv2d(3, 8, 3, padding=1), a=nn.Conv2d(8, 8, 3, padding=1), b=nn.Conv2d(8, 8, 3, padding=1),
        pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(8, 4),
    )  # fmt: skip
    model.b.weight = model.a.weight
    found = prune(model, Spec("magnitude", ratio=0.5, scope="layerwise"), shape=SHAPE)
    assert found.model.a.weight is found.model.b.weight
    assert found.report["check"] == {"verdict": "equal", "kept": []}
    assert {c.name: c.size for c in scan(model, SHAPE).open} == {"stem": 8}  # channel by channel they are one set
    # stem, the shared weight, two biases, linear
    assert found.report["params"] == [27 * 8 + 8 + 576 + 16 + 36, 27 * 4 + 4 + 144 + 8 + 20]


def test_a_time_limit_ends_what_does_not_end():
    with pytest.raises(TookTooLong), at_most(0.05, "counting"):
        endless()
    with at_most(0.05, "nothing"):
        pass


def test_a_scan_that_does_not_end_is_refused(monkeypatch):
    from torch_pruning import DependencyGraph

    monkeypatch.setattr("kdlib.pruning.structure.LIMIT", 0.05)
    monkeypatch.setattr(DependencyGraph, "get_all_groups", endless)
    with pytest.raises(UserError, match=r"^Sequential is too entangled to prune: .* longer than 0\.05 s$"):
        scan(normed(), SHAPE)
