"""What a user can get wrong: one line that says what was wrong and what would be right."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can put right: the message is one line, shown without a traceback (exit code 2)."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a notebook shows this one line where it would print the whole stack."""
        return [f"UserError: {self}"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the second half of an error on an unknown name: the nearest known one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def first_line(error: Exception) -> str:
    """Return what somebody else's error says in its first line, or what it is called where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
