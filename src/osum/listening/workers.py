"""The processes that read ahead: where they come from, and what they must not print.

Imports nothing heavy, so that a command can begin with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PRELOADED = "osum.listening.cutting"
"""What a worker needs, which a server that forks workers imports once."""


def context() -> Any:
    """The way to start workers. Where a server forks them, the first call starts it, and it begins to load at once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([_PRELOADED])
    with _uninterrupted():
        forkserver.ensure_running()
    return found


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started here ignores Ctrl-C and prints no traceback: it ends with the process that started it."""
    if threading.current_thread() is not threading.main_thread():  # only that one may change what a signal does
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def muted() -> Iterator[None]:
    """Nothing that this process writes to standard error is seen: decoders report each damaged byte there.

    For a process that has nothing else to report meanwhile; the error of the file says what a user needs to know.
    """
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
