"""Sources that break their reader. A worker imports this to read them, so it imports nothing heavy."""

from __future__ import annotations

import os
import signal
import time


class Deadly:
    """A file whose reader dies, as by a fault in a codec."""

    def __fspath__(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


class Endless:
    """A file that never comes."""

    def __fspath__(self) -> str:
        time.sleep(600)
        return ""


class Odd:
    """A file that breaks its reader in a way nobody thought of, and shows where standard error goes."""

    def __fspath__(self) -> str:
        raise RuntimeError(f"quiet: {os.path.samestat(os.fstat(2), os.stat(os.devnull))}")  # noqa: PTH116
