"""What a checkpoint records of how it was made: settings, data and version of osum of each run, oldest first.

A run keeps its own and those before in `progress.json`; `osum export` writes them as `training.json`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from osum.checkpoints.folder import PROGRESS, TRAINING
from osum.errors import CheckpointError

RECORDED = ("step", "osum", "commit", "data", "config")
"""What stays of a run's `progress.json`: the rest only resuming needs."""


def commit() -> str | None:
    """The commit of the checkout that osum runs from, with `-dirty` where its files differ; None for one without."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an environment within somebody's checkout is not of it
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def runs_behind(folder: Path) -> list[dict[str, Any]]:
    """The runs that made a checkpoint, oldest first; none where it records nothing.

    Raises:
        CheckpointError: its record cannot be read.
    """
    try:
        if (folder / TRAINING).is_file():
            runs: list[dict[str, Any]] = json.loads((folder / TRAINING).read_text("utf8"))
            return runs
        if not (folder / PROGRESS).is_file():
            return []
        progress = json.loads((folder / PROGRESS).read_text("utf8"))
        return [*progress.get("before", []), {name: progress[name] for name in RECORDED if name in progress}]
    except (OSError, ValueError) as fault:
        raise CheckpointError(f"the record of training in {folder} cannot be read ({fault}): remove it") from fault
