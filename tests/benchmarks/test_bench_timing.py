from pathlib import Path

import pytest
import torch

from benchmarks import growth, timing
from benchmarks.timing import Turn
from kdlib.errors import UserError


def test_every_round_begins_with_the_next_contender():
    order = []
    contenders = {name: lambda name=name: order.append(name) or 1 for name in "abc"}
    timing.alternate(contenders, 4)
    assert "".join(order) == "abcbcacababc"


def test_a_round_holds_every_contender_in_their_order_with_what_it_did():
    found = timing.alternate({"a": lambda: 10, "b": lambda: 20}, 2)
    assert [list(turns) for turns in found] == [["a", "b"]] * 2
    assert [turns["b"].amount for turns in found] == [20, 20]
    assert all(turn.seconds > 0 for turns in found for turn in turns.values())


def test_after_each_turn_the_caller_is_told():
    told = []
    timing.alternate({"a": lambda: 1, "b": lambda: 1}, 3, lambda: told.append(1))
    assert len(told) == 6


def test_ratios_are_within_a_round():
    # The second round is ten times as slow for both: medians of rates apart would hide that each was twice as fast.
    rounds = [
        {"a": Turn(100, 1.0), "b": Turn(100, 2.0)},
        {"a": Turn(100, 10.0), "b": Turn(100, 20.0)},
        {"a": Turn(100, 1.0), "b": Turn(50, 2.0)},
    ]
    assert timing.ratio(rounds, "a", "b") == {"median": 2.0, "min": 2.0, "max": 4.0, "n": 3}
    assert timing.rates(rounds, "a") == {"median": 100.0, "min": 10.0, "max": 100.0, "n": 3}
    assert timing.seconds(rounds, "b")["max"] == 20.0


def test_a_few_stand_for_all_by_their_rate():
    # 45 students in 9 s against 2 in 4 s: 5 a second against a half.
    rounds = [{"all": Turn(45, 9.0), "one by one": Turn(2, 4.0)}]
    assert timing.ratio(rounds, "all", "one by one")["median"] == 10.0


@pytest.mark.parametrize("rounds", [0, -1])
def test_fewer_than_one_round_is_refused(rounds):
    with pytest.raises(UserError, match=f"rounds must be at least 1, got {rounds}"):
        timing.alternate({"a": lambda: 1}, rounds)


def test_a_process_of_its_own_answers_with_its_peak():
    size = growth.Size(test=20, teacher="cnn2")
    answer, peak = timing.peak_of(growth.prepared, None, 1, 160, size, torch.device("cpu"), torch.get_num_threads())
    seconds, trained, megabytes, name = answer
    assert seconds > 0
    assert trained == 128
    assert megabytes == pytest.approx(180 * 3072 / 1e6)
    assert name == "shapes10"
    assert peak is None or 0 <= peak < 2000


def test_what_the_process_raises_is_raised_here():
    with pytest.raises(UserError, match="no train/ and test/ in /nowhere"):
        timing.peak_of(growth.prepared, Path("/nowhere"), 1, 60, growth.Size(), torch.device("cpu"), 1)
