"""What a run was asked, stored next to its output: another run may continue it only if it asks the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from osum.errors import InputError
from osum.files import atomic_file

_LONGEST = 60  # characters of a value in an error
_OTHER_MODEL = "the answers are of another model, or of a time when a revision did not cover the whole checkpoint; "


def keep_asked(path: Path, asked: Mapping[str, Any]) -> None:
    """Write what is asked."""
    with atomic_file(path) as out:
        out.write(json.dumps(asked, ensure_ascii=True, indent=2).encode())


def read_asked(path: Path, of: Path) -> dict[str, Any]:
    """What was asked for the file `of`.

    Raises:
        InputError: nobody knows.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as fault:
        raise InputError(
            f"{of} cannot be used, since {path}, which says what was asked, cannot be read: give another -o, or "
            "start again with --overwrite"
        ) from fault


def check_asked(before: Mapping[str, Any], asked: Mapping[str, Any], of: Path) -> None:
    """Refuse to continue the file `of` where something else was asked.

    Raises:
        InputError: the first difference.
    """
    for name, old, new in _differences(before, json.loads(json.dumps(asked))):
        why = _OTHER_MODEL if name.split()[-1] == "revision" else ""
        raise InputError(
            f"{of} was begun with {name} {_short(old)}, and now it is {_short(new)}: {why}ask as before, "
            "give another -o, or start again with --overwrite"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, old and new value of each field that is not the same."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{of}{name} ")
        elif old != new:
            yield f"{of}{name}", old, new


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
