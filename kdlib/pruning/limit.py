"""A time limit on work that nothing else ends."""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator

WORD_AFTER = 10
"""Seconds of silence before a line says what takes so long."""


class TookTooLong(Exception):
    """The work was ended at its limit."""


@contextlib.contextmanager
def at_most(seconds: float, what: str) -> Iterator[None]:
    """Raise `TookTooLong` in the block once it has taken ``seconds``, between two lines of Python, in any thread; say
    on stderr after a while that ``what`` is at work."""
    thread, over, lock = threading.get_ident(), False, threading.Lock()

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TookTooLong))

    def word() -> None:
        print(f"{what}: {WORD_AFTER} s so far, at most {seconds:g} s", file=sys.stderr, flush=True)

    timers = [threading.Timer(seconds, stop), threading.Timer(WORD_AFTER, word)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        for timer in timers:
            timer.cancel()
