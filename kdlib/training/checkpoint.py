"""Long runs: when to stop, and the state of a group in training on disk, to go on from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdlib.errors import first_line
from kdlib.files import remove_if_left, whole
from kdlib.progress import note

_FORMAT = "kdlib checkpoint 1"
EVERY = 300.0
"""Seconds between checkpoints."""


class Stopped(Exception):
    """A training ended before its end, at a checkpoint; ``signal`` is the number of the signal, None for the time."""

    def __init__(self, message: str, signal: int | None):
        super().__init__(message)
        self.signal = signal

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a notebook shows one line where it would print the whole stack."""
        return [f"{self}; run this cell again to go on from there"]


class Stop:
    """Whether training is to end: a signal came, or the time is over (``after`` seconds from now)."""

    def __init__(self, after: float | None = None):
        self.deadline = None if after is None else time.monotonic() + after
        self.signal: int | None = None

    @property
    def requested(self) -> bool:
        """Whether to end at the next opportunity."""
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def check(self, where: str) -> None:
        """Raise ``Stopped`` if it is requested; ``where`` says how far the work is."""
        if self.requested:
            raise Stopped(where, self.signal)

    @contextmanager
    def on_signals(self) -> Iterator[Stop]:
        """Take the first Ctrl-C or SIGTERM as a request; a second one ends the process at once.

        Only the main thread can; elsewhere, signals do what they did.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def request(number: int, _frame: object) -> None:
            self.signal = number
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        try:
            for number in before:
                signal.signal(number, request)
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Checkpoints:
    """A folder of checkpoints, one file a group of run ids, written every so many seconds (0: after every epoch)."""

    folder: Path
    every: float = EVERY

    def path(self, ids: Sequence[str]) -> Path:
        """Return the file of exactly these runs."""
        return self.folder / f"{hashlib.sha256(' '.join(sorted(ids)).encode()).hexdigest()[:16]}.pt"

    def save(self, ids: Sequence[str], state: dict[str, Any]) -> None:
        """Write the state of a group, whole or not at all, and onto the disk."""
        path, content = self.path(ids), {"format": _FORMAT, "runs": list(ids), **state}
        try:
            self._write(path, content)
        except FileNotFoundError:  # another process has just swept the empty folder away
            self._write(path, content)

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(path) as aside, open(aside, "wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # what torch makes of a write that failed
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            file.flush()
            os.fsync(file.fileno())

    def find(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the states that hold some of these runs, those furthest on first; tensors on the CPU.

        A damaged file is set aside, with one line.
        """
        states = map(_read, sorted(self.folder.glob("[!.]*.pt")))
        found = [state for state in states if state and set(state["runs"]) & set(ids)]
        return sorted(found, key=lambda state: (-state["epoch"], -state["batch"]))

    def sweep(self, done: Callable[[str], bool]) -> None:
        """Remove the checkpoints all of whose runs are ``done``, and what dead processes left half written."""
        for path in self.folder.glob("[!.]*.pt"):
            state = _read(path)
            if state and all(done(id) for id in state["runs"]):
                path.unlink(missing_ok=True)
        for aside in self.folder.glob(".*.pt.*"):
            remove_if_left(aside)
        with contextlib.suppress(OSError):  # not there, or not empty
            self.folder.rmdir()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum does not hold")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != _FORMAT:
            raise ValueError("another format")
        return state
    except FileNotFoundError:  # another process has just finished this group
        return None
    except (MemoryError, OSError):  # nothing is known of the file
        raise
    except Exception as error:  # unpickling refuses in many ways
        aside = path.with_suffix(".damaged")
        with contextlib.suppress(FileNotFoundError):  # another process set it aside
            os.replace(path, aside)
        reason = first_line(error)
        note(f"a checkpoint is damaged ({reason}): set aside as {aside}, its runs begin anew")
        return None
