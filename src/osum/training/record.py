"""The data of a run, as its checkpoints tell of them, and whether a resumed run still has the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from osum.checkpoints.provenance import commit
from osum.corpus.clips import without_place
from osum.corpus.manifest import fingerprint
from osum.errors import InputError
from osum.utterance import Utterance


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
