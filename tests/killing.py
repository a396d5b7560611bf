"""Processes that kill themselves at a file operation of a number, so that a kill needs no clock."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def die(below: str | Path, fatal: int = 0, exists: str = "") -> None:
    """Be killed just before the file operation of a number below a folder, or at the first when a file of it exists."""
    seen = 0

    def hook(event: str, operands: tuple[Any, ...]) -> None:
        nonlocal seen
        if event.startswith(("open", "os.", "shutil.")) and operands and str(operands[0]).startswith(str(below)):
            seen += 1
            if seen == fatal or (exists and Path(below, exists).exists()):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
