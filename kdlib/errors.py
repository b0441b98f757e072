"""What a user can get wrong: one line that says what was wrong and what would be right."""

import difflib
import errno
import os
import re
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


# A disk, a folder, a table of open files.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}
_REFUSALS |= {errno.EMFILE, errno.ENFILE}
_NO_MEMORY = r"out of memory|(?:not enough|can't allocate) memory|size calculation overflowed"


def of_the_machine(error: Exception) -> str | None:
    """Return in one line what the machine refused, room on its disk or memory; None for any other error."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or re.search(_NO_MEMORY, said):
        return f"out of memory ({said or 'MemoryError'}); smaller batches or images need less"
    named = re.search(r"\(os error (\d+)\)", said)  # as what is written in Rust says it
    number = error.errno if isinstance(error, OSError) else int(named[1]) if named else None
    if number not in _REFUSALS:
        return None
    place = getattr(error, "filename", None)
    return os.strerror(number) + (f": {place}" if place else "")
