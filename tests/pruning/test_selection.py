"""Which channels leave, on scores that are given."""

import pytest
import torch

from kdlib import models
from kdlib.errors import UserError
from kdlib.pruning import Channels, Member, Spec, Structure, scan
from kdlib.pruning.prune import choose


def structure(blocks: int = 1, **sizes: int) -> Structure:
    """Sets of single layers, one MAC a channel."""
    sets = [
        Channels(name, size, [Member(name, "out", torch.arange(size), torch.arange(size))], blocks)
        for name, size in sizes.items()
    ]
    return Structure(sets, {name: (1, 1, size, 1) for name, size in sizes.items()})


def chosen(built: Structure, scores: dict, step: int = 1, **asked) -> dict[str, list[int]]:
    spec = Spec("magnitude", **asked)
    values = {name: torch.tensor(own).double() for name, own in scores.items()}
    sizes = {c.name: c.size for c in built.open}
    removed = choose(built, values, spec, sizes, built.macs(), step)
    return {name: places.tolist() for name, places in removed.items()}


SCORES = {"a": [4.0, 1.0, 2.0, 3.0], "b": [10.0, 40.0, 30.0, 0.1, 20.0, 50.0]}


def test_layerwise_takes_its_share_of_every_set():
    assert chosen(structure(a=4, b=6), SCORES, ratio=0.5, scope="layerwise") == {"a": [1, 2], "b": [0, 3, 4]}
    # what stays is rounded down: 4 × 0.9 and 6 × 0.9
    assert chosen(structure(a=4, b=6), SCORES, ratio=0.1, scope="layerwise") == {"a": [1], "b": [3]}


def test_global_ranks_over_all_sets():
    # without normalisation the small scores go: 0.1, 1, 2, 3
    assert chosen(structure(a=4, b=6), SCORES, ratio=0.4, normalise="none") == {"a": [1, 2, 3], "b": [3]}
    # by each set's mean, 2.5 and 25: 0.004, 0.4 of each (a's first), 0.8 of a
    assert chosen(structure(a=4, b=6), SCORES, ratio=0.3) == {"a": [1], "b": [0, 3]}


def test_normalisation_makes_a_layers_scale_not_matter():
    scaled = {"a": [1000 * s for s in SCORES["a"]], "b": SCORES["b"]}
    assert chosen(structure(a=4, b=6), scaled, ratio=0.4) == chosen(structure(a=4, b=6), SCORES, ratio=0.4)
    assert chosen(structure(a=4, b=6), scaled, ratio=0.4, normalise="none") == {"b": [0, 2, 3, 4]}


def test_of_equals_the_later_leaves():
    assert chosen(structure(a=4), {"a": [1.0, 1.0, 1.0, 2.0]}, ratio=0.5) == {"a": [1, 2]}


def test_global_leaves_one_channel_of_every_set():
    low = {"a": [0.0, 0.0, 0.0, 0.0], "b": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]}
    assert chosen(structure(a=4, b=6), low, ratio=0.4, normalise="none")["a"] == [1, 2, 3]
    most = chosen(structure(a=4, b=6), low, ratio=0.99)
    assert {name: len(places) for name, places in most.items()} == {"a": 3, "b": 5}


def test_layerwise_names_the_layer_it_would_empty():
    with pytest.raises(UserError, match=r"pruning_ratio 0\.99 would empty a, which has 4 channels; take less"):
        chosen(structure(a=4, b=6), SCORES, ratio=0.99, scope="layerwise")


@pytest.mark.parametrize("scope", ["global", "layerwise"])
def test_what_stays_is_a_multiple(scope):
    built = structure(a=16, b=24)
    scores = {"a": torch.arange(16.0).tolist(), "b": torch.arange(24.0).tolist()}
    removed = chosen(built, scores, ratio=0.45, scope=scope, round_to=8)
    left = {c.name: c.size - len(removed.get(c.name, [])) for c in built.open}
    assert all(count % 8 == 0 for count in left.values())
    plain = chosen(built, scores, ratio=0.45, scope=scope)
    # rounded up: never more than without it
    assert all(len(removed.get(name, [])) <= len(plain[name]) for name in plain)


def test_a_width_that_is_no_multiple_stays():
    assert chosen(structure(a=5), {"a": [1.0, 2.0, 3.0, 4.0, 5.0]}, ratio=0.2, round_to=8) == {}


def test_blocks_of_a_grouped_convolution_lose_alike():
    # means of the two blocks' channels: 3, 2, 2.5, 5
    removed = chosen(structure(2, a=8), {"a": [1.0, 2, 3, 4, 5, 2, 2, 6]}, ratio=0.5)
    assert removed == {"a": [1, 2, 5, 6]}


def test_steps_add_up_to_the_ratio():
    names, left = SCORES, {"a": 4, "b": 6}
    for step, total in ((1, 2), (2, 4)):
        built = structure(**left)
        spec = Spec("magnitude", ratio=0.4, steps=2)
        scores = {name: torch.tensor(names[name][: left[name]]).double() for name in left}
        removed = choose(built, scores, spec, {"a": 4, "b": 6}, 10, step)
        left = {name: size - len(removed.get(name, [])) for name, size in left.items()}
        assert 10 - sum(left.values()) == total


@pytest.mark.parametrize("share", [0.95, 0.7, 0.4, 0.1])
def test_macs_are_met_and_one_channel_fewer_would_miss(share):
    built = scan(models.build("resnet5", 4), (3, 16, 16))
    chance = torch.Generator().manual_seed(1)
    scores = {c.name: torch.rand(c.size, generator=chance, dtype=torch.float64) for c in built.open}
    target = share * built.macs()
    removed = choose(
        built, scores, Spec("magnitude", macs=share), {c.name: c.size for c in built.open}, built.macs(), 1
    )
    assert built.macs(removed) <= target
    ranked = {
        (name, i): scores[name][i] / scores[name].mean() for name, places in removed.items() for i in places.tolist()
    }
    name, last = max(ranked, key=ranked.get)
    fewer = removed | {name: torch.tensor([i for i in removed[name].tolist() if i != last], dtype=torch.long)}
    assert built.macs(fewer) > target


def test_layerwise_macs_are_met_with_one_share_for_all():
    built = scan(models.build("resnet5", 4), (3, 16, 16))
    scores = {c.name: torch.arange(c.size).double() for c in built.open}
    spec = Spec("magnitude", macs=0.6, scope="layerwise")
    removed = choose(built, scores, spec, {c.name: c.size for c in built.open}, built.macs(), 1)
    assert 0.5 * built.macs() < built.macs(removed) <= 0.6 * built.macs()
    shares = [len(removed[c.name]) / c.size for c in built.open]
    assert max(shares) - min(shares) < 1 / 16


def test_a_step_whose_macs_are_met_already_takes_nothing():
    assert chosen(structure(a=4), {"a": [1.0, 2.0, 3.0, 4.0]}, macs=0.5)["a"] == [0, 1]
    built = structure(a=4)
    spec = Spec("magnitude", macs=0.9, steps=2)
    assert choose(built, {"a": torch.arange(4.0).double()}, spec, {"a": 5}, 5, 1) == {}


def test_macs_that_cannot_be_reached():
    with pytest.raises(UserError, match=r"macs 0\.1 cannot be reached: .*; say more"):
        chosen(structure(a=4), {"a": [1.0, 2.0, 3.0, 4.0]}, macs=0.1)
