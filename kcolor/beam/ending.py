"""One batch at a time in a process, which can be told to end between two photographs, with nothing half-written."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kcolor.errors import RunError

_told = threading.Event()
_at_work = threading.Lock()


@contextmanager
def at_work() -> Iterator[None]:
    """While this lasts no other thread of the process is at work, and the process is not ended by `end`."""
    with _at_work:
        yield


def check() -> None:
    """Where the work may end.

    Raises:
        RunError: It is to.
    """
    if _told.is_set():
        raise RunError("told to end")


def end(seconds: float) -> None:
    """End the process, when the work has come to where it may end, or after so many seconds."""
    _told.set()
    _at_work.acquire(timeout=seconds)
    os._exit(0)
