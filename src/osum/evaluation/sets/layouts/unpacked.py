"""What every reader needs of an unpacked archive: files that must be there, tables, lists, and audio that is whole.

Audio is never opened.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.utterance import Utterance


def need(place: Path, *others: Path, hint: str = "") -> Path:
    """The first of some places that exists.

    Raises:
        InputError: none does; the message names the first.
    """
    for path in (place, *others):
        if path.exists():
            return path
    raise InputError(f"{str(place)!r} is missing{f', {hint}' if hint else ''}")


def with_audio(clips: Iterable[Utterance]) -> list[Utterance]:
    """The clips, all of whose files are there.

    Raises:
        InputError: some are not; the message counts them and names the first.
    """
    found = list(clips)
    paths = dict.fromkeys(clip.path for clip in found)
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise InputError(f"{len(missing)} of {len(paths)} audio files are missing, the first is {missing[0]!r}")
    return found


def table(
    path: Path, columns: Iterable[str], delimiter: str, head: Sequence[str] | None = None
) -> list[dict[str, str]]:
    """Rows of a CSV file (quoted) or a TSV file (never quoted), by the names in its first line, or by `head`.

    Raises:
        InputError: the file is missing, is not UTF-8, or lacks a column.
    """
    try:
        with need(path).open(encoding="utf-8-sig", newline="") as file:
            quoted: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
            reader = csv.DictReader(file, fieldnames=head, delimiter=delimiter, quoting=quoted)
            if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise InputError(f"{str(path)!r} has no column {lacking[0]!r}: take the file as it was published")
            return [{name: value or "" for name, value in row.items() if name} for row in reader]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"{str(path)!r} cannot be read ({fault})") from fault


def keyed(path: Path) -> Iterator[tuple[str, str]]:
    """Key and rest of each line, as Kaldi writes its lists.

    Raises:
        InputError: the file is missing or is not UTF-8.
    """
    try:
        lines = need(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise InputError(f"{str(path)!r} cannot be read ({fault})") from fault
    parts = (line.split(maxsplit=1) for line in lines if line.strip())
    return ((part[0], part[1].strip() if len(part) > 1 else "") for part in parts)


def whole_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(need(path).read_text(encoding="utf-8"))
    except ValueError as fault:
        raise InputError(f"{str(path)!r} is no JSON ({fault})") from fault


LISTED = "test.jsonl"
"""Our own list, for sets whose layout is not public."""


def listed(folder: Path) -> list[Utterance]:
    """Clips of a JSONL of ours.

    Raises:
        InputError: it is missing, or so are files that it names.
        ManifestError: a line is no row.
    """
    return with_audio(read_manifest(need(folder / LISTED)))
