"""The bar counts what it is given, shown or hidden."""

import pytest

from kdlib.progress import Progress


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_skips_what_was_done_before_also_where_it_is_hidden(shown):
    with Progress(10, "training", shown=shown) as bar:
        bar.skip(4)
        bar.advance(1)
        if shown:
            assert (bar._bar.n, bar._bar.initial) == (5, 4)


def test_what_is_said_for_a_while_gives_way_to_what_was_said_before():
    with Progress(10, "training") as bar:
        bar.say("epoch 1/8, val accuracy 0.864")
        with bar.saying("epoch 2/8, the teacher answers"):
            assert bar._bar.postfix == "epoch 2/8, the teacher answers"
        assert bar._bar.postfix == "epoch 1/8, val accuracy 0.864"
