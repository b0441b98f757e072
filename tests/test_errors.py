"""How a mistake reads."""

from kdlib.errors import UserError, did_you_mean


def test_a_notebook_shows_one_line():
    assert UserError("T must be positive")._render_traceback_() == ["UserError: T must be positive"]


def test_the_nearest_name_is_offered_and_else_all():
    assert did_you_mean("alhpa", ["alpha", "lam"]) == "did you mean 'alpha'?"
    assert did_you_mean("zzz", ["alpha", "lam"]) == "known: alpha, lam"
