"""Criteria on values worked out by hand, and what no order of channels or batches may change."""

import math

import pytest
import torch
from nets import batches, chain, fill, normed, set_scores, two_layers
from torch import nn

from kdlib.errors import UserError
from kdlib.pruning import CRITERIA, Spec, prune, scan, score
from kdlib.pruning.criteria import gathered

ONE = (1, 1, 1)


def spec(criterion: str, **options) -> Spec:
    return Spec(criterion, ratio=0.5, **options)


def same(found: torch.Tensor, expected: list) -> None:
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


# Magnitude


def test_magnitude_by_hand():
    found = set_scores(two_layers(), spec("magnitude"), [], ONE)
    # conv1: its filters 1, 3 and the columns of conv2 that read them, 1 + 3 and 2 + 4; conv2: rows 3, 7; fc 1, 2
    same(found["conv1"], [(1 + 4) / 2, (3 + 6) / 2])
    same(found["conv2"], [(3 + 1) / 2, (7 + 2) / 2])
    assert set(found) == {"conv1", "conv2"}


def test_magnitude_of_norm_2_by_hand():
    found = set_scores(two_layers(), spec("magnitude", norm=2), [], ONE)
    same(found["conv1"], [(1 + math.sqrt(10)) / 2, (3 + math.sqrt(20)) / 2])
    same(found["conv2"], [(math.sqrt(5) + 1) / 2, (5 + 2) / 2])


# Taylor


def taylor_by_hand(x, y, w, gamma, beta, v):
    """Batch norm of mean 0 and variance 1 between two linear layers: every gradient written out."""
    h = x[:, None] * w
    z = gamma * h + beta
    logits = z @ v.T
    error = (logits.softmax(1) - nn.functional.one_hot(y, 2)) / len(x)
    back = error @ v
    first = (back * gamma * x[:, None]).sum(0) * w
    norm = (back * h).sum(0) * gamma + back.sum(0) * beta
    second = ((error.T @ z) * v).sum(0)
    return [part.abs() for part in (first, norm, second)]


def test_taylor_by_hand_over_all_batches():
    model = chain(
        flat=nn.Flatten(), fc1=nn.Linear(1, 2, bias=False), bn=nn.BatchNorm1d(2, eps=0), fc2=nn.Linear(2, 2, bias=False)
    ).double()
    w, v = torch.tensor([1.0, -2.0]).double(), torch.tensor([[1.0, 0.5], [-0.3, 2.0]]).double()
    gamma, beta = torch.tensor([0.7, 1.5]).double(), torch.tensor([0.4, -0.9]).double()
    fill(model.fc1, w.tolist())
    fill(model.fc2, v.tolist())
    with torch.no_grad():
        model.bn.weight.copy_(gamma)
        model.bn.bias.copy_(beta)
    given = [(torch.tensor([1.0, -0.5]), torch.tensor([0, 1])), (torch.tensor([-2.0, 0.3]), torch.tensor([0, 0]))]
    images = [(x.double().reshape(2, 1, 1, 1), y) for x, y in given]
    one, two = (taylor_by_hand(x.double(), y, w, gamma, beta, v) for x, y in given)
    structure = scan(chain(**dict(model.named_children())).float(), ONE)
    found = score(model.double(), images, spec("taylor"))
    for key, a, b in zip([("fc1", "out"), ("bn", "out"), ("fc2", "in")], one, two, strict=True):
        same(found[key], ((a + b) / 2).tolist())
    same(gathered(structure, found)["fc1"], sum((a + b) / 6 for a, b in zip(one, two, strict=True)).tolist())


def test_squared_taylor_is_the_square_of_each_batch():
    one, two = ([batch] for batch in batches(2))
    first, second = (score(normed(), given, spec("taylor")) for given in (one, two))
    found = score(normed(), one + two, spec("taylor_squared"))
    for key in found:
        same(found[key], ((first[key] ** 2 + second[key] ** 2) / 2).tolist())


def test_taylor_signs_go_batch_by_batch():
    model, (first, second) = normed(), batches(2)
    alone = [set_scores(model, spec("taylor"), [batch])["conv1"] for batch in (first, second)]
    both = set_scores(model, spec("taylor"), [first, second])["conv1"]
    same(both, ((alone[0] + alone[1]) / 2).tolist())
    joined = (torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
    # in one batch contributions of opposite signs cancel: never more than the mean of both
    members = score(model, [joined], spec("taylor")), score(model, [first, second], spec("taylor"))
    assert all((members[0][key] <= members[1][key] + 1e-6).all() for key in members[0])


def test_a_bias_goes_with_its_channel():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.Linear(2, 2))
    (x, y) = torch.tensor([[[[2.0]]]]), torch.tensor([1])
    found = score(model, [(x, y)], spec("taylor"))["1", "out"]
    nn.functional.cross_entropy(model(x), y).backward()
    layer = model[1]
    same(found, (layer.weight.grad[:, 0] * layer.weight[:, 0] + layer.bias.grad * layer.bias).abs().tolist())


# Wanda


def test_wanda_by_hand():
    # inputs 3 and 4: root mean square √12.5; conv2 reads 1× and 3× that
    images = [(torch.full((1, 1, 2, 2), value), torch.tensor([0])) for value in (3.0, 4.0)]
    rms = math.sqrt(12.5)
    found = set_scores(two_layers(), spec("wanda"), images, (1, 2, 2))
    same(found["conv1"], [(1 * rms + 4 * rms) / 2, (3 * rms + 6 * 3 * rms) / 2])


def test_wanda_does_not_see_batches():
    model, images = normed(), batches(1, size=7)[0]
    parts = [(images[0][cut], images[1][cut]) for cut in (slice(0, 1), slice(1, 3), slice(3, 7))]
    big, small = (set_scores(model, spec("wanda"), given) for given in ([images], parts))
    assert all(torch.allclose(big[name], small[name]) for name in big)


# Coverage


def coverage_net() -> nn.Sequential:
    model = chain(
        conv1=nn.Conv2d(2, 3, 1, bias=False),
        conv2=nn.Conv2d(3, 2, 1),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=nn.Linear(2, 2),
    )
    fill(model.conv1, [[1.0, 0.0], [0.0, 1.0], [0.2, 0.2]])
    return model


def test_coverage_by_hand():
    # means 1, 0, 0.2 and 0.5, 1, 0.3; the second scaled: 2/7, 1, 0
    image = torch.tensor([[1.0, 0.0], [0.5, 1.0]]).reshape(2, 2, 1, 1).expand(2, 2, 2, 2)
    labels = torch.zeros(2).long()
    hits = {0.25: (2, 1, 0), 0.3: (1, 1, 0), 0.1: (2, 1, 1)}
    for threshold, expected in hits.items():
        chosen = spec("coverage", threshold=threshold, keep=("conv2",))
        for given in ([(image, labels)], [(image[:1], labels[:1]), (image[1:], labels[1:])]):
            found = set_scores(coverage_net(), chosen, given, (2, 2, 2))["conv1"]
            same(found, [(h + s / 3) / 2 for h, s in zip(expected, (1 + 2 / 7, 1.0, 0.2), strict=True)])


def test_coverage_breaks_ties_by_mean_activation_and_never_outweighs_an_image():
    model = coverage_net()
    fill(model.conv1, [[1.0, 0.0], [0.9, 0.0], [0.0, 0.0]])
    images = [(torch.ones(5, 2, 2, 2), torch.zeros(5).long())]
    found = set_scores(model, spec("coverage"), images, (2, 2, 2))["conv1"]
    assert found[0] > found[1] > 1 > found[2] == 0
    assert found[0] < 1 + 1 / 5


# Random


def test_random_is_the_same_for_a_seed():
    model = normed()
    one, again, other = (set_scores(model, spec("random", seed=seed), [])["conv1"] for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_random_spares_no_set_for_its_number_of_layers():
    # ten layers add to one stream of 64 channels; the mean of ten draws would have a third of the spread
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(64 if i else 3, 64, 1) for i in range(10))
            self.fc = nn.Linear(64, 4)

        def forward(self, x):
            x = self.layers[0](x)
            for layer in self.layers[1:]:
                x = x + layer(x)
            return self.fc(x.mean((2, 3)))

    scores = prune(Stream(), spec("random"), shape=(3, 2, 2)).scores
    (own,) = scores.values()
    assert own.std() == pytest.approx(math.sqrt(1 / 12), abs=0.06)


# Kinds of layers


def alone(layer: nn.Module, weights: list, criterion: str, inputs: list) -> dict[tuple[str, str], list]:
    fill(layer, weights)
    image = torch.tensor(inputs).reshape(1, -1, 1, 1).expand(3, -1, 2, 2)
    found = score(chain(layer=layer), [(image, torch.zeros(3).long())], spec(criterion))
    return {side: values.tolist() for (_, side), values in found.items()}


GROUPED = [[1.0, -2.0], [3.0, 4.0], [5.0, 6.0], [-7.0, 8.0]]


@pytest.mark.parametrize(
    ("layer", "weights", "criterion", "out", "inward"),
    [
        (nn.Conv2d(4, 4, 1, groups=2), GROUPED, "magnitude", [3, 7, 11, 15], [4, 6, 12, 14]),
        (nn.Conv2d(4, 4, 1, groups=2), GROUPED, "wanda", [5, 11, 39, 53], [4, 12, 36, 56]),
        (nn.Conv2d(4, 4, 1, groups=4), [[1.0], [-2.0], [3.0], [4.0]], "magnitude", [1, 2, 3, 4], [1, 2, 3, 4]),
        (nn.Conv2d(4, 4, 1, groups=4), [[1.0], [-2.0], [3.0], [4.0]], "wanda", [1, 4, 9, 16], [1, 4, 9, 16]),
        (nn.ConvTranspose2d(2, 2, 1), [[1.0, 2.0], [-3.0, 4.0]], "magnitude", [4, 6], [3, 7]),
        (nn.ConvTranspose2d(2, 2, 1), [[1.0, 2.0], [-3.0, 4.0]], "wanda", [7, 10], [3, 14]),
        (nn.ConvTranspose2d(4, 2, 1, groups=2), [[1.0], [2.0], [3.0], [4.0]], "magnitude", [3, 7], [1, 2, 3, 4]),
        (nn.ConvTranspose2d(4, 2, 1, groups=2), [[1.0], [2.0], [3.0], [4.0]], "wanda", [5, 25], [1, 4, 9, 16]),
    ],
)
def test_kinds_of_convolutions_by_hand(layer, weights, criterion, out, inward):
    found = alone(layer, weights, criterion, [1.0, 2.0, 3.0, 4.0][: layer.in_channels])
    assert found["out"] == pytest.approx(out)
    assert found["in"] == pytest.approx(inward)


def test_inputs_of_a_flattened_channel_add_up():
    model = chain(conv=nn.Conv2d(1, 2, 1, bias=False), flat=nn.Flatten(), fc=nn.Linear(4, 2, bias=False))
    fill(model.conv, [[2.0], [5.0]])
    fill(model.fc, [[1.0, -2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    # on a 1×2 image the first channel is columns 0 and 1: 1 + 5 + 2 + 6
    same(set_scores(model, spec("magnitude"), [], (1, 1, 2))["conv"], [(2 + 14) / 2, (5 + 22) / 2])


class Concatenated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Conv2d(1, 2, 1, bias=False) for _ in "ab")
        self.c, self.fc = nn.Conv2d(4, 2, 1, bias=False), nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(self.c(torch.cat([self.a(x), self.b(x)], dim=1)).mean((2, 3)))


def test_each_part_of_a_concatenation_has_its_own_readers():
    model = Concatenated()
    fill(model.a, [[1.0], [2.0]])
    fill(model.b, [[3.0], [4.0]])
    fill(model.c, [[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    found = set_scores(model, spec("magnitude"), [], (1, 2, 2))
    same(found["a"], [(1 + 11) / 2, (2 + 22) / 2])
    same(found["b"], [(3 + 33) / 2, (4 + 44) / 2])


class ChannelsLast(nn.Module):
    """A linear layer over the channels of (B, H, W, C), as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.conv, self.wide, self.fc = nn.Conv2d(3, 6, 1), nn.Linear(6, 10), nn.Linear(10, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.wide(self.conv(x).permute(0, 2, 3, 1))).mean((1, 2)))


def test_linear_layers_read_the_last_dimension():
    model, images = ChannelsLast(), batches(1)
    seen = model.conv(images[0][0])
    rms = seen.square().mean((0, 2, 3)).sqrt()
    found = score(model, images, spec("wanda"))
    same(found["wide", "in"], (model.wide.weight.abs().sum(0) * rms).tolist())
    means = seen.mean((2, 3))
    low, high = means.amin(1, keepdim=True), means.amax(1, keepdim=True)
    scaled = (means - low) / (high - low)
    same(
        score(model, images, spec("coverage"))["wide", "in"],
        (((scaled > 0.25).sum(0) + scaled.sum(0) / 5) / 4).tolist(),
    )


# Invariances


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "random"])
def test_scores_move_with_their_channels(criterion):
    model, moved, order = normed(), normed(), torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    moved.load_state_dict(model.state_dict())
    with torch.no_grad():
        moved.conv1.weight.copy_(model.conv1.weight[order])
        moved.conv2.weight.copy_(model.conv2.weight[:, order])
        for key in ("weight", "bias", "running_mean", "running_var"):
            getattr(moved.bn1, key).copy_(getattr(model.bn1, key)[order])
    own, other = (set_scores(m, spec(criterion), batches()) for m in (model, moved))
    assert torch.allclose(own["conv1"][order], other["conv1"], rtol=1e-4, atol=1e-7)
    assert torch.allclose(own["conv2"], other["conv2"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "taylor"])
def test_weights_that_are_not_finite(criterion):
    model = normed()
    with torch.no_grad():
        model.conv1.weight[2, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite: the model has diverged") as caught:
        prune(model, spec(criterion), batches())
    assert "\n" not in str(caught.value)
