"""What the checkpoints of a run record of its settings and its data, and whether a resumed run still has the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from osum.checkpoints.provenance import commit, runs_behind
from osum.corpus.clips import without_place
from osum.corpus.dialogues import Dialogue
from osum.corpus.manifest import fingerprint
from osum.errors import InputError
from osum.training.config import MixturePart, TrainConfig
from osum.utterance import Utterance

FREE_TO_CHANGE = (
    *("data", "base", "valid", "out", "steps", "decay_fraction", "device", "workers"),
    *("log_every", "save_every", "keep", "track"),
)
"""What may differ when a run continues; anything else would make it another run. Manifests may be elsewhere, as
their rows are compared; so may the stage before, as what made it is."""


def of_run(train: Sequence[Utterance | Dialogue], valid: Sequence[Utterance | Dialogue]) -> dict[str, Any]:
    """What is recorded of a run next to its settings: osum's version and commit, and its data."""
    data = {name: of_list(rows) for name, rows in (("train", train), ("valid", valid)) if rows}
    return {"osum": version("osum"), "commit": commit(), "data": data}


def of_list(rows: Sequence[Utterance | Dialogue]) -> dict[str, Any]:
    """How many rows, their fingerprint without where they are, and that of what each may be asked."""
    clips, sha256 = fingerprint(anywhere(row) for row in rows)
    asked = [row.tasks if isinstance(row, Utterance) else () for row in rows]
    tasks = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return {"clips": clips, "sha256": sha256, "tasks_sha256": tasks}


def anywhere(row: Utterance | Dialogue) -> Utterance | Dialogue:
    """A row without where its sound is and what it may be asked."""
    if isinstance(row, Utterance):
        return without_place(row).with_(path="", tasks=())
    turns = (turn if turn.audio is None else replace(turn, audio="", place={}) for turn in row.turns)
    return replace(row, turns=tuple(turns))


def check_data(then: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Compare the data of a resumed run with those that it began with, as `of_run` recorded them.

    Raises:
        InputError: they are other.
    """
    for name, rows in now.items():
        before = {**rows, **then.get(name, {})}  # a run that was begun long ago does not know its rows' tasks
        if before["tasks_sha256"] != rows["tasks_sha256"] and before["sha256"] == rows["sha256"]:
            raise InputError(
                f"{out} holds a run whose {name} rows have other `tasks`: continue with the same data, "
                "or give another out"
            )
        if before != rows:
            old, new = (f"{part['clips']} rows, hash {part['sha256'][:8]}" for part in (then[name], rows))
            raise InputError(
                f"{out} holds a run whose {name} data are {old}, now they are {new}: "
                "continue with the same data, or give another out"
            )


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a run, as JSON holds them, what makes it this run and no other."""
    kept = {name: value for name, value in config.items() if name not in FREE_TO_CHANGE}
    parts = {name: MixturePart.from_mapping(name, part) for name, part in config.get("mixture", {}).items()}
    return {**kept, "mixture": {name: [part.weight, list(part.tasks)] for name, part in parts.items()}}


def check_unchanged(then: Mapping[str, Any], now: TrainConfig, out: Path, but: Sequence[str] = ()) -> None:
    """Hold the settings of a run that continues against those that it began with.

    Raises:
        InputError: one that decides what is learned is another.
    """
    old, new = _decisive(then), _decisive(json.loads(json.dumps(now.to_dict())))
    changed = [name for name in new if name not in but and new[name] != old.get(name, new[name])]
    if changed:
        name = changed[0]
        raise InputError(
            f"{out} holds a run with {name}={old[name]!r}, the recipe says {new[name]!r}: "
            "continue with the same recipe, or give another out"
        )


def check_after(then: Sequence[Mapping[str, Any]], after: Path, out: Path) -> None:
    """Hold what a stage began with against the last checkpoint of the stage before, wherever that is by now.

    Args:
        then: the runs behind the stage, as it has recorded them; empty where it was made by an old osum.
        after: the last checkpoint of the stage before.
        out: folder of the stage.

    Raises:
        InputError: it is another; the message says in what.
    """
    now = runs_behind(after)
    if not then or not now:
        return
    redo = f"remove {out} to train this stage again"
    if then[-1]["step"] != now[-1]["step"]:
        raise InputError(
            f"{out} began with step {then[-1]['step']} of {after.parent.name}, which now ends with step "
            f"{now[-1]['step']}: {redo}, or give {after.parent.name} its {then[-1]['step']} steps again"
        )
    for old, new in zip(then, now, strict=False):
        one, other = ({**_decisive(run["config"]), "data": run.get("data"), "model": ""} for run in (old, new))
        for name in one:
            if one[name] != other.get(name, one[name]):
                raise InputError(
                    f"{out} began with a run with {name}={one[name]!r}, {after.parent.name} now has {other[name]!r}: "
                    f"{redo}, or bring the old one back"
                )
