"""Manifests: JSON lines of Utterance rows, and splits that keep every speaker on one side.

Every reader of JSON lines stands on `json_lines`, which takes any bytes: a line that is broken is a fault with its
place. Knows nothing of what the audio holds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from osum.errors import InputError, ManifestError
from osum.files import atomic_file, seen_from
from osum.text import to_json
from osum.utterance import Utterance

_READ_FAULTS = (OSError, EOFError, zlib.error)
"""What reading a damaged or compressed file raises."""
_NAMES = frozenset(("id", "path", "key", "wav", "audio_filepath", "audios", "recording", "error", "warnings"))
"""Fields that hold or quote file names, whose bytes need not be UTF-8."""


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Place, and JSON object or fault, of every line that is not blank; plain or gzip, any line ends, with or without
    a byte order mark.

    Raises:
        InputError: nothing of the file can be read.
    """
    place = str(path)
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                place = f"{path}:{number}"
                if line.strip():
                    yield place, _row_or_fault(line)
    except _READ_FAULTS as fault:
        if place == str(path):
            raise InputError(f"manifest {path} cannot be read ({fault}): give a UTF-8 JSON-lines file") from fault
        yield place, f"nothing behind this line can be read ({fault}): the file is cut off; fetch it again"


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not is_gzip:
        return file
    file.close()
    return cast(BinaryIO, gzip.open(path))


def _row_or_fault(line: bytes) -> dict[str, Any] | str:
    try:
        return json_row(line.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        return f"byte {line[fault.start]:#04x} at {fault.start} is not UTF-8: save the file as UTF-8"
    except ManifestError as fault:
        return str(fault)


def read_manifest(path: str | Path) -> Iterator[Utterance]:
    """Rows of a file that osum wrote, in order; relative paths are taken from the manifest's folder.

    Raises:
        InputError: the file cannot be read.
        ManifestError: a line is not a row; the message names file and line.
    """
    path = Path(path)
    for place, row in json_lines(path):
        if isinstance(row, str):
            raise ManifestError(f"{place}: {row}")
        try:
            utterance = Utterance.from_dict(row)
        except ManifestError as fault:
            raise ManifestError(f"{place}: {fault}") from fault
        yield utterance.with_(path=str(path.parent / utterance.path))


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write one row per line, paths below the manifest's folder relative, others absolute; returns their number.

    The manifest appears whole or not at all, so that it may be written over the one it is read from.
    """
    path = Path(path)
    count = 0
    with atomic_file(path) as out:
        for utterance in utterances:
            row = utterance.to_dict()
            row["path"] = seen_from(path.parent, Path(utterance.path))
            out.write((to_json(row) + "\n").encode())
            count += 1
    return count


class _Row(Protocol):
    """An utterance or a dialogue."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON row."""


def fingerprint(rows: Iterable[_Row]) -> tuple[int, str]:
    """How many rows, and the SHA-256 of them as JSON with sorted keys, one behind the other."""
    digest, count = hashlib.sha256(), 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is asked for behind the loop
        digest.update(json.dumps(row.to_dict(), sort_keys=True).encode())
    return count, digest.hexdigest()


def json_row(line: str) -> dict[str, Any]:
    """The JSON object of one line.

    Raises:
        ManifestError: the line is no JSON object, or holds half a character that no file can hold.
    """
    try:
        row: Any = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as fault:
        why = f"{fault.msg} at character {fault.pos}" if isinstance(fault, json.JSONDecodeError) else str(fault)
        raise ManifestError(f"not JSON ({why}): write one JSON object per line") from fault
    if not isinstance(row, dict):
        raise ManifestError(f"{line.strip()[:40]!r} is no object: write one JSON object per line")
    if "\\ud" in line.lower():
        _check_characters(row)
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{double!r} stands twice in one object")
    return found


def _check_characters(row: Mapping[str, Any]) -> None:
    """Refuse halves of characters, but for the stray bytes of file names (PEP 383: U+DC80 to U+DCFF)."""
    for name, value in row.items():
        text = json.dumps(value, ensure_ascii=False)
        stray = "\udc80", "\udcff"
        halves = [character for character in text if "\ud800" <= character <= "\udfff"]
        if any(name not in _NAMES or not stray[0] <= character <= stray[1] for character in halves):
            raise ManifestError(
                f"{name}: half a surrogate pair (\\ud800 to \\udfff) is no character: write the text as UTF-8"
            )


def split_by_speaker(
    utterances: Iterable[Utterance], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, list[Utterance]]:
    """Deal utterances to named splits; the speaker's hash decides, so a speaker lands in exactly one split.

    A speaker's split does not depend on which others are there. A row without a speaker is dealt by its id.

    Raises:
        InputError: the fractions do not sum to 1.
    """
    if abs(sum(fractions.values()) - 1.0) > 1e-6 or min(fractions.values()) < 0:
        raise InputError(f"fractions {dict(fractions)} sum to {sum(fractions.values()):g}: they must sum to 1")
    splits: dict[str, list[Utterance]] = {name: [] for name in fractions}
    for utterance in utterances:
        splits[deal(unit_hash(utterance.speaker or utterance.id, seed), fractions)].append(utterance)
    return splits


def unit_hash(text: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on text and seed only, on every machine; file names may hold stray bytes."""
    digest = hashlib.sha256(f"{seed}:{text}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def deal(position: float, fractions: Mapping[str, float]) -> str:
    """The part in which a position from 0 to below 1 is, where parts of these shares follow one another."""
    edge = 0.0
    for name, fraction in fractions.items():
        edge += fraction
        if position < edge:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]  # rounding of the last edge
