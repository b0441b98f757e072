"""Pruning a model: what it does, what it leaves alone, and the traps others fell into."""

import copy
import math

import pytest
import torch
from nets import batches, normed
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.pruning import CRITERIA, Spec, calibration, prune, scan, score
from kdlib.training import Recipe

SHAPE = (3, 8, 8)


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return models.build("resnet5", 4).eval()


class Snapshot:
    """All that must be the same on a model that was given away to be pruned."""

    def __init__(self, model: nn.Module):
        self.model, self.state = model, copy.deepcopy(model.state_dict())
        self.seen = self._look()

    def _look(self) -> list:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        looks = [
            (name, m.training, sorted(vars(m)), [len(getattr(m, key)) for key in hooks])
            for name, m in self.model.named_modules()
        ]
        return looks + [(name, id(p), p.requires_grad, id(p.grad)) for name, p in self.model.named_parameters()]

    def check(self) -> None:
        assert self._look() == self.seen
        assert all(torch.equal(t, self.state[name]) for name, t in self.model.state_dict().items())


# What it leaves alone


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("training", [True, False])
def test_the_given_model_is_not_touched(criterion, training):
    model = resnet().train(training)
    before = Snapshot(model)
    found = prune(model, Spec(criterion, ratio=0.3, steps=2), batches())
    before.check()
    assert all(m.training is training for m in found.model.modules())
    assert all(p.grad is None for p in [*model.parameters(), *found.model.parameters()])
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in found.model.modules())
    theirs = dict(model.named_modules())
    assert all(set(vars(m)) == set(vars(theirs[name])) for name, m in found.model.named_modules())


@pytest.mark.parametrize("criterion", ["coverage", "wanda", "taylor"])
def test_nor_is_it_where_a_batch_fails(criterion):
    model = resnet().train()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = Snapshot(model)
    wrong = [*batches(1), (torch.zeros(4, 5, 8, 8), torch.zeros(4).long())]
    with pytest.raises(RuntimeError):
        prune(model, Spec(criterion, ratio=0.3), wrong)
    before.check()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())


def test_each_part_keeps_its_own_mode():
    model = resnet().train()
    model.bn1.eval()
    found = prune(model, Spec("magnitude", ratio=0.3), shape=SHAPE).model
    assert {name: m.training for name, m in found.named_modules()} == {n: m.training for n, m in model.named_modules()}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_global_random_state_stays(criterion):
    model, given = resnet(), batches()
    before = torch.get_rng_state()
    prune(model, Spec(criterion, ratio=0.3, steps=2), given)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_frozen_parameters_are_pruned_the_same_and_stay_frozen(criterion):
    model, frozen = resnet(), resnet()
    for name, p in frozen.named_parameters():
        p.requires_grad_(name.startswith("fc"))
    plain, other = (prune(m, Spec(criterion, ratio=0.3), batches()) for m in (model, frozen))
    assert plain.history == other.history
    assert {name: p.requires_grad for name, p in other.model.named_parameters()} == {
        name: name.startswith("fc") for name, _ in model.named_parameters()
    }


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
def test_it_prunes_under_no_grad_too(criterion):
    with torch.no_grad():
        found = prune(resnet(), Spec(criterion, ratio=0.3), batches())
    assert found.history == prune(resnet(), Spec(criterion, ratio=0.3), batches()).history


def test_two_prunings_share_no_state():
    model = resnet()
    first = prune(model, Spec("taylor", ratio=0.3), batches())
    for criterion in ("coverage", "random", "magnitude"):
        prune(model, Spec(criterion, ratio=0.3), batches())
    again = prune(model, Spec("taylor", ratio=0.3), batches())
    assert again.history == first.history
    assert again.report == first.report
    assert all(torch.equal(own, first.scores[name]) for name, own in again.scores.items())


# What it does


@pytest.mark.parametrize("optimiser", [Recipe(), Recipe(optimizer="sgd", momentum=0.9)], ids=["adam", "sgd"])
def test_the_pruned_model_trains(optimiser):
    model = prune(resnet(), Spec("taylor", ratio=0.4), batches()).model.train()
    steps = optimiser.optimiser(model.parameters())
    before = copy.deepcopy(model.state_dict())
    images, labels = batches(1)[0]
    for _ in range(2):
        steps.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        assert all(p.grad.shape == p.shape for p in model.parameters())
        steps.step()
    moments = [t for state in steps.state.values() for t in state.values() if torch.is_tensor(t) and t.dim()]
    assert sum(t.numel() for t in moments) % sum(p.numel() for p in model.parameters()) == 0
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_all_criteria_remove_equally_many_channels():
    for scope in ("global", "layerwise"):
        found = [prune(resnet(), Spec(name, ratio=0.25, scope=scope), batches()).report for name in CRITERIA]
        assert len({tuple(report["removed"]) for report in found}) == 1
        assert found[0]["removed"] == [36, 144]
        if scope == "layerwise":
            assert all(report["channels"] == found[0]["channels"] for report in found)


def test_layerwise_takes_its_share_of_every_set():
    report = prune(resnet(), Spec("taylor", ratio=0.25, scope="layerwise"), batches()).report
    for name, (before, after) in report["channels"].items():
        assert after == (before if name in report["protected"] else math.floor(before * 0.75))


@pytest.mark.parametrize("scope", ["global", "layerwise"])
def test_two_steps_end_where_one_does(scope):
    one, two = (prune(resnet(), Spec("magnitude", ratio=0.3, scope=scope, steps=n), shape=SHAPE) for n in (1, 2))
    assert one.report["removed"] == two.report["removed"]
    assert (len(one.history), len(two.history)) == (1, 2)
    assert all(two.history)


def test_more_steps_than_a_depthwise_convolution_has_channels():
    # down to one channel it is no depthwise convolution any more
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Conv2d(3, 3, 3, groups=3),
        nn.Conv2d(3, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    found = prune(model, Spec("magnitude", ratio=0.66, scope="layerwise", steps=3), shape=SHAPE)
    assert found.model(torch.zeros(1, *SHAPE)).shape == (1, 4)
    assert (found.model[0].out_channels, found.model[2].out_channels) == (1, 2)
    found = prune(model, Spec("magnitude", ratio=0.8, steps=4), shape=SHAPE)
    assert found.report["removed"] == [8, 11]


def test_macs_in_steps_take_no_more_than_at_once():
    one, three = (prune(resnet(), Spec("magnitude", macs=0.9, steps=n), shape=SHAPE) for n in (1, 3))
    whole = one.report["macs"][0]
    assert max(one.report["macs"][1], three.report["macs"][1]) <= 0.9 * whole
    assert min(one.report["macs"][1], three.report["macs"][1]) > 0.8 * whole


@pytest.mark.parametrize("criterion", ["taylor", "coverage"])
def test_channels_whose_batch_norm_is_zero_leave_without_a_trace(criterion):
    model, images = normed(), torch.randn(6, *SHAPE)
    with torch.no_grad():
        model.bn1.weight[[1, 4]] = 0
        model.bn1.bias[[1, 4]] = 0
    found = prune(model, Spec(criterion, ratio=0.25, keep=("conv2",)), batches())
    assert {tuple(cut[2]) for cut in found.history[0]} == {(1, 4)}
    assert torch.allclose(found.model(images), model(images), atol=1e-5)


@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "taylor"])
def test_channels_that_nothing_makes_or_reads_leave_without_a_trace(criterion):
    model, images = normed(), torch.randn(6, *SHAPE)
    with torch.no_grad():
        model.conv1.weight[[0, 7]] = 0
        model.bn1.bias[[0, 7]] = 0
        model.conv2.weight[:, [0, 7]] = 0
    found = prune(model, Spec(criterion, ratio=0.25, keep=("conv2",)), batches())
    assert found.report["channels"]["conv1"] == [8, 6]
    assert {tuple(cut[2]) for cut in found.history[0]} == {(0, 7)}
    assert torch.allclose(found.model(images), model(images), atol=1e-5)


def test_known_structure_and_scores_spare_the_work_and_change_nothing():
    model, spec = resnet(), Spec("wanda", ratio=0.3)
    plain = prune(model, spec, batches())
    known = prune(model, spec, shape=SHAPE, structure=scan(model, SHAPE), scores=score(model, batches(), spec))
    assert known.history == plain.history
    assert all(torch.equal(own, plain.scores[name]) for name, own in known.scores.items())


def test_the_report_by_hand():
    model = normed()
    report = prune(model, Spec("magnitude", ratio=0.5, scope="layerwise"), shape=SHAPE).report
    assert report["channels"] == {"conv1": [8, 4], "conv2": [6, 3], "fc": [4, 4]}
    assert report["protected"] == {"fc": "output"}
    assert report["removed"] == [7, 14]
    # convolutions of 3×3 (the second with bias), batch norms, linear
    assert report["params"] == [27 * 8 + 16 + 72 * 6 + 6 + 12 + 28, 27 * 4 + 8 + 36 * 3 + 3 + 6 + 16]
    assert report["macs"] == [64 * (27 * 8 + 72 * 6) + 24, 64 * (27 * 4 + 36 * 3) + 12]
    # 4 bytes each; buffers: mean and variance, and two counters of 8 bytes
    buffers = [4 * 2 * 14 + 16, 4 * 2 * 7 + 16]
    assert report["size_bytes"] == [4 * p + b for p, b in zip(report["params"], buffers, strict=True)]
    assert report["calibration"] == {"batches": 0, "images": 0}


# Calibration


def test_calibration_is_drawn_once_each_by_seed(tiny):
    spec = Spec("taylor", ratio=0.3, calibration_batches=3, batch_size=10)
    one, again = calibration(tiny, spec), calibration(tiny, spec)
    assert [len(labels) for _, labels in one] == [10, 10, 10]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    other = calibration(tiny, Spec("taylor", ratio=0.3, calibration_batches=3, batch_size=10, seed=1))
    assert not torch.equal(one[0][0], other[0][0])
    whole = calibration(tiny, Spec("taylor", ratio=0.3, batch_size=10))
    images = torch.cat([images for images, _ in whole])
    assert [len(labels) for _, labels in whole] == [10, 10, 10, 10, 8]
    assert len(torch.unique(images.flatten(1), dim=0)) == 48
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)


@pytest.mark.parametrize("criterion", ["taylor", "wanda", "coverage"])
def test_a_model_that_views_its_maps_is_calibrated_whatever_the_images_layout(criterion):
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8 * 16, 2)

        def forward(self, x):
            return self.c(self.b(self.a(x)).view(len(x), -1))

    images = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    found = prune(Views(), Spec(criterion, ratio=0.2), [(images, torch.zeros(4, dtype=torch.long))])
    assert found.report["params"][1] < found.report["params"][0]


def test_a_dataset_calibrates_and_is_counted(tiny):
    report = prune(resnet(), Spec("wanda", ratio=0.3, batch_size=20), tiny).report
    assert report["calibration"] == {"batches": 3, "images": 48}
    assert prune(resnet(), Spec("random", ratio=0.3), tiny).report["calibration"] == {"batches": 0, "images": 0}


def test_no_images(make_tiny):
    empty = make_tiny(train=4)
    object.__setattr__(empty, "train", type(empty.train)(empty.train.images[:0], empty.train.labels[:0]))
    for images, says in ((None, "needs calibration images"), ([], "needs calibration"), (empty, "no training images")):
        with pytest.raises(UserError, match=says):
            prune(resnet(), Spec("taylor", ratio=0.3), images, SHAPE)
    with pytest.raises(UserError, match="needs the shape of an image"):
        prune(resnet(), Spec("magnitude", ratio=0.3))


# What cannot be done


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"ratio": 0.99, "scope": "layerwise"},
            r"pruning_ratio 0\.99 would empty \S+, which has 16 channels; take less",
        ),
        ({"macs": 0.0001}, r"macs 0\.0001 cannot be reached"),
        ({"ratio": 0.1, "keep": ("conv9",)}, "has no layer 'conv9'; did you mean 'conv1'"),
    ],
    ids=["emptied", "unreachable", "unknown layer"],
)
def test_refusals_are_one_line(asked, says):
    model = resnet()
    before = Snapshot(model)
    with pytest.raises(UserError, match=says) as caught:
        prune(model, Spec("magnitude", **asked), shape=SHAPE)
    assert "\n" not in str(caught.value)
    before.check()


def test_a_model_of_which_nothing_can_be_cut():
    # 16 channels are written down
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(2), nn.Unflatten(1, (16,)), nn.AvgPool1d(36))
    model.extend([nn.Flatten(), nn.Linear(16, 4)])
    with pytest.raises(UserError, match=r"nothing to prune: cut, it does not run or computes something else at 0$"):
        prune(model, Spec("magnitude", ratio=0.2), shape=SHAPE)


class Placed(nn.Module):
    """Weights of its own, which no layer holds, and a product of activations: what pruning does not count."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 4, 1, bias=False)
        self.place, self.head = nn.Parameter(torch.ones(1, 1, 8, 8)), nn.Linear(4, 4, bias=False)

    def forward(self, x):
        x = self.second(self.first(x)) + self.place
        return self.head((x @ x).mean((2, 3)))


def test_macs_before_and_after_are_of_the_same_layers():
    report = prune(Placed(), Spec("magnitude", ratio=0.5), shape=SHAPE).report
    assert report["channels"]["first"] == [8, 4]
    assert report["macs"] == [64 * (3 * 8 + 8 * 4) + 16, 64 * (3 * 4 + 4 * 4) + 16]
