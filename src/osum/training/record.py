"""What a checkpoint tells of how it was made: of each run behind it, oldest first, settings, data, and which osum.

A run keeps its own and those before in `progress.json`; `osum export` writes them as `training.json`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from osum.corpus.clips import without_place
from osum.corpus.manifest import fingerprint
from osum.errors import CheckpointError, InputError
from osum.training.checkpoint import PROGRESS
from osum.utterance import Utterance

FILE = "training.json"
TOLD = ("step", "osum", "commit", "data", "config")
"""What stays of a run's `progress.json`: the rest only resuming needs."""


def of_run(train: Sequence[Utterance], valid: Sequence[Utterance]) -> dict[str, Any]:
    """What is told of a run beside its settings: osum's version and commit, and its data."""
    data = {name: of_list(rows) for name, rows in (("train", train), ("valid", valid)) if rows}
    return {"osum": version("osum"), "commit": commit(), "data": data}


def of_list(rows: Sequence[Utterance]) -> dict[str, Any]:
    """How many clips, and the fingerprint of their rows without where they lie and what they may be asked."""
    clips, sha256 = fingerprint(without_place(row).with_(path="", tasks=()) for row in rows)
    return {"clips": clips, "sha256": sha256}


def check_data(then: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Hold the data of a run that goes on against those that it began with, as `of_run` tells them.

    Raises:
        InputError: they are other.
    """
    for name, rows in now.items():
        if then.get(name, rows) != rows:
            old, new = (f"{told['clips']} rows, hash {told['sha256'][:8]}" for told in (then[name], rows))
            raise InputError(
                f"{out} holds a run whose {name} data are {old}, now they are {new}: "
                "go on with the same data, or give another out"
            )


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
    """The runs that made a checkpoint, oldest first; none where it does not tell.

    Raises:
        CheckpointError: what it tells cannot be read.
    """
    try:
        if (folder / FILE).is_file():
            runs: list[dict[str, Any]] = json.loads((folder / FILE).read_text("utf8"))
            return runs
        if not (folder / PROGRESS).is_file():
            return []
        progress = json.loads((folder / PROGRESS).read_text("utf8"))
        return [*progress.get("before", []), {name: progress[name] for name in TOLD if name in progress}]
    except (OSError, ValueError) as fault:
        raise CheckpointError(f"what {folder} tells of its training cannot be read ({fault}): remove it") from fault
