"""One progress bar with an ETA: widgets in JupyterLab, plain text in a terminal or under ``kdlib run``."""

import os
import sys
from contextlib import AbstractContextManager

from tqdm import std

# ``kdlib run`` streams the kernel's stderr to its own terminal and asks for text through this variable.
TEXT = "KDLIB_TEXT_PROGRESS"


class Progress(AbstractContextManager):
    """A bar over ``total`` units of work; counts whatever ``advance`` is given, shows the share done and the ETA."""

    def __init__(self, total: float, label: str, shown: bool = True):
        self._bar = _class()(
            total=total,
            disable=not shown,
            desc=label,
            mininterval=float(os.environ.get(TEXT) or 0.5),
            smoothing=0,  # the mean speed: a teacher that answers for a minute advances nothing
            bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed} elapsed, {remaining} left {postfix}",
        )

    def advance(self, amount: float) -> None:
        """Count ``amount`` more units as done."""
        # Sums of floating-point shares overshoot the total by an ulp, at which tqdm drops the bar.
        self._bar.update(min(amount, self._bar.total - self._bar.n))

    def skip(self, amount: float) -> None:
        """Count what an earlier call has done, which says nothing about the speed of this one."""
        if not self._bar.disable:  # a hidden bar keeps no time
            self._bar.initial += amount
        self.advance(amount)

    def expect(self, total: float) -> None:
        """Take another total, before the first unit is done."""
        self._bar.total = total

    def say(self, text: str) -> None:
        """Show a few words behind the bar."""
        self._bar.set_postfix_str(text, refresh=False)

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _class() -> type:
    if os.environ.get(TEXT):
        return std.tqdm
    from tqdm.auto import tqdm

    return tqdm


def note(text: str) -> None:
    """Say one line on stderr, above a bar that may stand there; the same line is said once a process."""
    if text not in _said:
        _said.add(text)
        std.tqdm.write(f"kdlib: {text}", file=sys.stderr)


_said: set[str] = set()
