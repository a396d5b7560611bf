"""Manifests: JSON lines of Utterance rows, and splits that keep every speaker on one side.

Knows nothing of what the audio holds; a row's `path` is made absolute against the manifest's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from osum.errors import InputError, ManifestError
from osum.files import atomic_file, seen_from
from osum.utterance import Utterance


def read_manifest(path: str | Path) -> Iterator[Utterance]:
    """Rows of a JSON-lines file in order; relative paths are taken from the manifest's folder.

    Raises:
        InputError: the file cannot be read.
        ManifestError: a line is not a row; the message names file and line.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parse(line, f"{path}:{number}", path.parent)
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"manifest {str(path)!r} cannot be read ({fault}): give a UTF-8 JSON-lines file") from fault


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
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def fingerprint(rows: Iterable[Utterance]) -> tuple[int, str]:
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
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as fault:
        why = f"{fault.msg} at character {fault.pos}" if isinstance(fault, json.JSONDecodeError) else str(fault)
        raise ManifestError(f"not JSON ({why}): write one JSON object per line") from fault
    if not isinstance(row, dict):
        raise ManifestError(f"{line.strip()[:40]!r} is no object: write one JSON object per line")
    if "\\u" in line and any("\ud800" <= character <= "\udfff" for character in json.dumps(row, ensure_ascii=False)):
        raise ManifestError("half a surrogate pair (\\ud800 to \\udfff) is no character: write the text as UTF-8")
    return row


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
        splits[_deal(unit_hash(utterance.speaker or utterance.id, seed), fractions)].append(utterance)
    return splits


def unit_hash(text: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on text and seed only, on every machine; file names may hold stray bytes."""
    digest = hashlib.sha256(f"{seed}:{text}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _deal(position: float, fractions: Mapping[str, float]) -> str:
    edge = 0.0
    for name, fraction in fractions.items():
        edge += fraction
        if position < edge:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]  # rounding of the last edge


def _parse(line: str, place: str, folder: Path) -> Utterance:
    try:
        utterance = Utterance.from_dict(json_row(line))
    except ManifestError as fault:
        raise ManifestError(f"{place}: {fault}") from fault
    return utterance.with_(path=str(folder / utterance.path))
