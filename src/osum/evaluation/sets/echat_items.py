"""Items of EChat-eval from labelled recordings: `python -m osum.evaluation.sets.echat_items MANIFEST ... -o FOLDER`.

1. A recording with words and a label of a cue can be an item of that column; one with two cues or more of `multi`.
2. A vocal event or an outcry has no words: such an item is a recording with words, a pause, and then that sound.
3. Of each column so many items are drawn, one label after the other and one speaker after the other, from a seed.

The rows name their source, licence and origin. Sound is copied into FOLDER where `--copy` asks for it, else the rows
point to the recordings: those whose licence forbids to pass them on stay where they are.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import InputError, OsumError
from osum.evaluation.sets.echat import COLUMNS, ITEMS, checked
from osum.utterance import Utterance

PAUSE = 0.4  # seconds between words and event
WORDLESS = ("emotion", "event")
"""Columns whose cue a sound without words can give: an outcry, a cough."""
SINGLE = ("emotion", "age", "gender")
"""Columns about one cue of the voice."""
NOTHING = {"event": "none", "emotion": "neutral"}
"""Labels that are no cue to answer to."""


def drawn(rows: Iterable[Utterance], count: int, folder: Path, seed: int = 0, copy: bool = False) -> list[Utterance]:
    """Items of each column, at most `count`; the manifest `test.jsonl` and what is joined are written into `folder`.

    Args:
        rows: labelled recordings.
        count: items of a column.
        folder: of the items.
        seed: of the draw.
        copy: whether single recordings are copied too.

    Raises:
        InputError: there is not one item.
        OsumError: a recording cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = list(rows)
    spoken = [row for row in found if row.text and row.error is None]
    audio = ClipAudio()
    items: list[Utterance] = []
    for column in COLUMNS:
        chosen = _balanced([row for row in spoken if _cues(row, column)], column, count, random.Random(seed))
        items += [_item(audio, row, column, folder, number, copy) for number, row in enumerate(chosen)]
        if column not in WORDLESS:
            continue
        sounds = [row for row in found if not row.text and _cue(row, column) and row.error is None]
        joined = _balanced(sounds, column, count - len(chosen), random.Random(seed))
        words = _balanced(spoken, "gender", len(joined), random.Random(seed + 1))
        for number, pair in enumerate(zip(words, joined, strict=False), len(chosen)):
            items.append(_joined(audio, *pair, column, folder, number))
    if not items:
        raise InputError("not one item: give rows with text and a label of emotion, age or gender, or an event")
    for item in items:
        checked(item)
    write_manifest(folder / ITEMS, items)
    return items


def _cue(row: Utterance, name: str) -> str | None:
    label = row.labels.get(name)
    return None if label == NOTHING.get(name) else label


def _cues(row: Utterance, column: str) -> dict[str, str]:
    """The cues of a recording that count for a column."""
    names = SINGLE if column == "multi" else (column,)
    if column == "event":
        return {}  # an event that is mixed into speech may be too faint to be heard
    cues = {name: label for name in names if (label := _cue(row, name))}
    return cues if len(cues) >= (2 if column == "multi" else 1) else {}


def _balanced(rows: Sequence[Utterance], column: str, count: int, chance: random.Random) -> list[Utterance]:
    """Rows one label after the other, and within a label one speaker after the other."""
    by_label: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row.id):
        label = str(row.labels.get(column)) if column != "multi" else "+".join(sorted(_cues(row, column).values()))
        by_label[label][row.speaker or row.id].append(row)
    queues = [_in_turns(chance.sample(_shuffled(speakers, chance), len(speakers))) for speakers in by_label.values()]
    return [row for row, _ in zip(_in_turns([list(queue) for queue in queues]), range(count), strict=False)]


def _shuffled(speakers: dict[str, list[Utterance]], chance: random.Random) -> list[list[Utterance]]:
    return [chance.sample(rows, len(rows)) for rows in speakers.values()]


def _in_turns(queues: Sequence[Sequence[Utterance]]) -> Iterator[Utterance]:
    """The first of each, then the second of each, and so on."""
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


def _item(audio: ClipAudio, row: Utterance, column: str, folder: Path, number: int, copy: bool) -> Utterance:
    kept = row.with_(
        id=f"{column}-{number:03d}", labels=_cues(row, column), extra={**row.extra, **_about(row, column)}, reply=None
    )
    if not copy:
        return kept
    return replace(kept, path=_written(folder, kept.id, audio.read(row)), start=None, end=None, channel=None)


def _joined(audio: ClipAudio, words: Utterance, sound: Utterance, column: str, folder: Path, number: int) -> Utterance:
    """Words, a pause, and a sound without words that gives the cue."""
    parts = [audio.read(words), np.zeros(round(PAUSE * SAMPLE_RATE), np.float32), audio.read(sound)]
    name = f"{column}-{number:03d}"
    extra = {**_about(words, column), "cue_from": sound.id, "cue_licence": str(sound.extra.get("licence", ""))}
    return Utterance(
        id=name,
        path=_written(folder, name, np.concatenate(parts)),
        text=words.text,
        language=words.language,
        labels={column: sound.labels[column]},
        speaker=words.speaker,
        source=words.source,
        extra=extra,
    )


def _about(row: Utterance, column: str) -> dict[str, str]:
    kept = {name: str(row.extra[name]) for name in ("licence", "origin", "attribution") if name in row.extra}
    return {**kept, "column": column, "from": row.id}


def _written(folder: Path, name: str, samples: np.ndarray) -> str:
    path = folder / f"{name}.flac"
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    return str(path.absolute())


def main(words: Sequence[str] | None = None) -> int:
    """Build the items that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m osum.evaluation.sets.echat_items", description=__doc__)
    parser.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="items of a column (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copy", action="store_true", help="copy single recordings too")
    asked = parser.parse_args(words)
    rows = (row for manifest in asked.manifests for row in read_manifest(manifest))
    try:
        items = drawn(rows, asked.count, asked.out, asked.seed, asked.copy)
    except OsumError as fault:
        sys.exit(f"osum: error: {fault}")
    counts = ", ".join(f"{column} {sum(i.extra['column'] == column for i in items)}" for column in COLUMNS)
    sys.stdout.write(f"{len(items)} items in {asked.out / ITEMS}: {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
