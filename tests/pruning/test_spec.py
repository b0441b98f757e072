"""What is asked of a pruning: every value that makes none is refused in one line."""

import math

import pytest

from kdlib.errors import UserError
from kdlib.pruning import CALIBRATED, CRITERIA, Spec

NAN = float("nan")


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, NAN, math.inf, True, "0.1"])
@pytest.mark.parametrize("name", ["ratio", "macs"])
def test_shares_lie_between_0_and_1(name, value):
    with pytest.raises(UserError, match=r"must lie between 0 and 1, both excluded, not .*") as caught:
        Spec("magnitude", **{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"ratio": 0.1, "macs": 0.9}])
def test_either_a_ratio_or_macs(given):
    with pytest.raises(UserError, match=r"either a ratio .* or macs"):
        Spec("magnitude", **given)


def test_an_unknown_criterion():
    with pytest.raises(UserError, match="unknown criterion 'tailor'; did you mean 'taylor'"):
        Spec("tailor", ratio=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "local"},
        {"normalise": "max"},
        {"norm": 3},
        {"steps": 0},
        {"steps": 1.5},
        {"steps": True},
        {"round_to": 0},
        {"calibration_batches": 0},
        {"batch_size": -1},
        {"threshold": 1},
        {"threshold": -0.1},
        {"threshold": NAN},
    ],
    ids=str,
)
def test_other_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(UserError, match=f"^{name} must") as caught:
        Spec("magnitude", ratio=0.1, **wrong)
    assert "\n" not in str(caught.value)


def test_which_criteria_look_at_images():
    assert {name for name in CRITERIA if Spec(name, ratio=0.1).calibrated} == set(CALIBRATED)
    assert set(CALIBRATED) == {"coverage", "wanda", "taylor", "taylor_squared"}


def test_keep_is_a_list_of_names():
    with pytest.raises(UserError, match="keep is a list of module names"):
        Spec("magnitude", ratio=0.1, keep="fc")
    assert Spec("magnitude", ratio=0.1, keep=["fc"]) == Spec("magnitude", ratio=0.1, keep=("fc",))
