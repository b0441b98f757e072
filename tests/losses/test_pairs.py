"""Which stages a loss compares: its own choice, the caller's, and what cannot be compared."""

import pytest
from cases import MAPS, build

from kdlib.errors import UserError
from kdlib.losses import Stage

BLOCKS = [Stage(name, (8, size, size), True) for name, size in (("layer1", 16), ("layer2", 8), ("layer3", 4))]
TEACHER = [Stage("stem", (8, 32, 32)), *BLOCKS]
STUDENT = [Stage(name, (4, size, size)) for name, size in (("conv1", 32), ("conv2", 16), ("pool2", 8))]


def test_default_pairs():
    assert build("sp").pair(STUDENT, TEACHER) == (("pool2", "layer3"),)
    assert build("rkd").pair(STUDENT, TEACHER) == (("pool2", "layer3"),)
    assert build("fitnets").pair(STUDENT, TEACHER) == (("conv2", "layer2"),)


def test_attention_compares_blocks_of_8_by_8_and_more_and_no_stem():
    at = build("at")
    assert at.pair(TEACHER, TEACHER) == (("layer1", "layer1"), ("layer2", "layer2"))
    assert at.pair(STUDENT, TEACHER) == (("conv2", "layer1"), ("pool2", "layer2"))
    assert at.pair(BLOCKS[1:], TEACHER) == (("layer2", "layer2"),)
    # a first stage that is a block is no stem (the paper's own networks)
    assert at.pair(BLOCKS, BLOCKS) == (("layer1", "layer1"), ("layer2", "layer2"))
    # where all maps are smaller, the largest that is no stem
    assert at.pair([STUDENT[0], BLOCKS[2]], BLOCKS[2:]) == (("layer3", "layer3"),)


def test_one_stage_is_last_and_middle():
    for name in MAPS:
        assert build(name).pair(STUDENT[:1], TEACHER[:1]) == (("conv1", "stem"),)


def test_named_pairs():
    assert build("at", layers=["conv2:layer1", "pool2:stem"]).pair(STUDENT, TEACHER) == (
        ("conv2", "layer1"),
        ("pool2", "stem"),
    )
    assert build("sp", layers=["layer2", "layer3"]).pair(TEACHER, TEACHER) == (
        ("layer2", "layer2"),
        ("layer3", "layer3"),
    )
    assert build("rkd", layers="layer2").layers == ("layer2",)


def test_a_name_that_is_no_stage():
    with pytest.raises(
        UserError,
        match=r"layers: the student has no stage 'pool3'; did you mean 'pool2'\? \(its stages: conv1, conv2, pool2\)",
    ):
        build("at", layers=["pool3:layer3"]).pair(STUDENT, TEACHER)
    with pytest.raises(UserError, match=r"the teacher has no stage 'zzz'; known: stem, layer1, layer2, layer3$"):
        build("sp", layers=["pool2:zzz"]).pair(STUDENT, TEACHER)


@pytest.mark.parametrize("name", ["fitnets", "rkd"])
def test_losses_of_one_stage(name):
    loss = build(name, layers=["conv2:layer2", "pool2:layer3"])
    with pytest.raises(UserError, match=f"loss {name} compares one layer, got 2: conv2:layer2, pool2:layer3"):
        loss.pair(STUDENT, TEACHER)


@pytest.mark.parametrize("name", MAPS)
def test_a_model_without_maps(name):
    with pytest.raises(UserError, match=f"loss {name} compares feature maps, and the teacher has none"):
        build(name).pair(STUDENT, [])
