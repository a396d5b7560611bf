"""What a checkpoint learned from, small enough for its folder: `python -m recipes.nano.training_list DATA OUT`.

Names, per source, the speakers and clip hashes of the real recordings in the train and valid splits, so that a test
can show without the data that a clip is not among them. A hash detects equal samples only; a clip that was
encoded again is recognised by its speaker or recording.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osum.corpus.manifest import read_manifest
from osum.corpus.packed import Int16, PackedAudio
from osum.errors import InputError
from osum.utterance import Utterance

SPLITS = ("train", "valid")
HASH_DIGITS = 16
"""Hexadecimal digits kept of a SHA-256: 64 bits, so that thousands of clips do not collide."""


def clip_hash(samples: Int16) -> str:
    """The first digits of the SHA-256 of a clip's samples (S,) at 16 kHz."""
    return hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()[:HASH_DIGITS]


def training_list(data: Path) -> dict[str, Any]:
    """Speakers and hashes of every source; where a source knows no speaker, its recordings stand for them.

    Raises:
        InputError: a made clip holds a recording that is in neither split, so the list would not be whole.
    """
    rows = [row for split in SPLITS for row in read_manifest(data / f"{split}.jsonl")]
    _check_parts(rows)
    packed = PackedAudio(data / "audio.i16")
    speakers: dict[str, set[str]] = defaultdict(set)
    hashes: dict[str, set[str]] = defaultdict(set)
    for row in filter(_is_recording, rows):
        source = row.source or ""
        hashes[source].add(clip_hash(packed.read_int16(row)))
        speakers[source].update([row.speaker] if row.speaker else [])
    return {name: {"speakers": sorted(speakers[name]), "sha256": sorted(hashes[name])} for name in sorted(hashes)}


def _is_recording(row: Utterance) -> bool:
    return row.extra.get("evidence") == "real" and "parts" not in row.extra


def _check_parts(rows: Sequence[Utterance]) -> None:
    known = {row.id for row in rows}
    strange = {part for row in rows for part in row.extra.get("parts", ())} - known
    if strange:
        raise InputError(f"{sorted(strange)[0]!r} is part of a made clip but in no {' or '.join(SPLITS)} manifest")


def write_training_list(data: Path, out: Path) -> None:
    """Write the list, a line per source and field."""
    lines = [
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(field)}: {json.dumps(values, ensure_ascii=False)}" for field, values in part.items()
        )
        + "\n }"
        for name, part in training_list(data).items()
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="List the speakers and hashes of what a checkpoint learned from.")
    parser.add_argument("data", type=Path, help="folder with train.jsonl, valid.jsonl and audio.i16")
    parser.add_argument("out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    write_training_list(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
