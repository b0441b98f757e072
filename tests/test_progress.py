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
