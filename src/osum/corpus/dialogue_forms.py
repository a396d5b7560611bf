"""Dialogues of any known form: osum's JSON lines, and the original's raw, multi-turn, shard and combine forms.

A row that is no dialogue comes out as the utterance that it is, so that one part of a mixture may hold both. A broken
line is a fault with its place. Knows nothing of what the sounds hold. Source: specification echat 2.4, 2.6, 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from osum.corpus.dialects import DIALECTS, Reading, known_name, language_of
from osum.corpus.dialogues import Dialogue, DialogueTurn
from osum.corpus.manifest import json_lines
from osum.corpus.readers import Line, TarKey, files_of, tar_keys, tars_of, utterance_of
from osum.errors import ManifestError
from osum.tasks import OSUM, REPLY_EMOTIONS, TaskSet
from osum.utterance import Utterance

_READ_ALOUD, _TEXT_TO_TEXT = "TEXT2TOKEN", "TEXT2TEXT"
_SPOKEN_TO = frozenset(("S2TCHAT", "S2TCHAT_FAKE", "SPEECH2TEXTANDTOKEN"))
_ALOUD = frozenset((_READ_ALOUD, "SPEECH2TEXTANDTOKEN"))
_TAG = re.compile(r"<([^<>]+)>")
_FEELING = re.compile(r"\s*<([^<>]*)>")
_NO_FEELING = "中立"
"""What a reply's tag that is none of the release's counts as (echat 2.5)."""
_LABELS = {"age": "age", "gender": "gender", "q_emotion": "emotion", "caption": "event"}
"""Field of the original's `extra` to the label of the user's turn."""
_READ = re.compile(r"(wav|txt)(_\d+)?|key|task|lang|speaker|start|end|duration|extra")
_READ_EXTRA = re.compile(rf"speech_token(_\d+)?|dataset|question|q_txt|think_str|a_wav_path|{'|'.join(_LABELS)}")


@dataclass(frozen=True, slots=True)
class DialogueLine:
    """A line of a manifest, or a key of a tar: a dialogue or an utterance, or what is wrong with it."""

    place: str
    row: Dialogue | Utterance | None = None
    fault: str | None = None


@dataclass(frozen=True)
class DialogueManifest:
    """The lines of a manifest, a tar, a list of tars, or a folder of either; can be gone through many times.

    Iterating raises:
        InputError: nothing can be read at all.
    """

    path: Path
    root: Path | None = None
    """What relative paths are seen from; the manifest's folder without it."""
    tasks: TaskSet = OSUM
    """Of rows that are no dialogues."""

    def __iter__(self) -> Iterator[DialogueLine]:
        for path in files_of(self.path):
            reading, root = Reading(self.tasks), (self.root or path.parent).absolute()
            if tars := tars_of(path, root):
                for tar, metadata in tars:
                    for place, key in tar_keys(tar, metadata):
                        yield _of_tar(place, key, reading)
            else:
                for place, row in json_lines(path):
                    yield from _of_row(place, row, reading, root)


def read_dialogues(path: str | Path) -> Iterator[Dialogue]:
    """The dialogues of a file in any form, in order.

    Raises:
        ManifestError: a line is broken or is no dialogue; the message names file and line.
        InputError: the file cannot be read.
    """
    for line in DialogueManifest(Path(path)):
        if not isinstance(line.row, Dialogue):
            fault = line.fault or "it is no dialogue: a row needs 'turns', or a task of the original's dialogues"
            raise ManifestError(f"{line.place}: {fault}")
        yield line.row


def _of_row(place: str, row: Mapping[str, Any] | str, reading: Reading, root: Path) -> Iterator[DialogueLine]:
    """The rows of a line of JSON: a line of another project's form may be several utterances."""
    if isinstance(row, str):
        yield DialogueLine(place, fault=row)
        return
    try:
        if "turns" in row:
            yield DialogueLine(place, _seen_from(root, Dialogue.from_dict(row)))
        elif {"key", "wav"} <= row.keys() and is_dialogue(tags_of(row)):
            yield DialogueLine(place, _seen_from(root, original_dialogue(row)))
        else:
            dialect = next((known for known in DIALECTS if known.fits(row)), None)
            if dialect is None:
                raise ManifestError(f"fields {', '.join(list(row)[:8])} are neither of a dialogue nor of an utterance")
            for utterance in dialect.read(row, reading):
                yield DialogueLine(place, utterance.with_(path=str(root / utterance.path)))
    except ManifestError as fault:
        yield DialogueLine(place, fault=str(fault))


def _seen_from(root: Path, dialogue: Dialogue) -> Dialogue:
    turns = (turn if turn.audio is None else replace(turn, audio=str(root / turn.audio)) for turn in dialogue.turns)
    return replace(dialogue, turns=tuple(turns))


def _of_tar(place: str, key: TarKey | Line, reading: Reading) -> DialogueLine:
    if isinstance(key, Line):
        return DialogueLine(place, fault=key.fault)
    try:
        row = key.row()
        if "json" not in key.texts and is_dialogue(tags_of(row)):
            return DialogueLine(place, original_dialogue(row, key.sounds))
    except ManifestError as fault:
        return DialogueLine(place, fault=str(fault))
    line = utterance_of(place, key, reading)
    return DialogueLine(place, line.utterance, line.fault)


# The original's rows


def tags_of(row: Mapping[str, Any]) -> frozenset[str]:
    """The tags of a raw row's task, in capitals and without brackets."""
    task = row.get("task") or (row.get("extra") or {}).get("task") or ""
    return frozenset(tag.strip().upper() for tag in _TAG.findall(str(task)))


def is_dialogue(tags: frozenset[str]) -> bool:
    """Whether a task is a dialogue or speech synthesis; any other is answered about a clip (echat 2.6)."""
    return "TRANSCRIBE" not in tags and bool(tags & (_SPOKEN_TO | {_READ_ALOUD, _TEXT_TO_TEXT}))


def original_dialogue(row: Mapping[str, Any], sounds: Mapping[str, Mapping[str, Any]] | None = None) -> Dialogue:
    """A raw row of one or many turns as ours (echat 3.3).

    Whether an answer thinks and takes turns is not part of a row of ours: the recipe says so.

    Args:
        row: JSON object, `extra` included.
        sounds: where `wav`, `wav_1` ... are stored, if `row` came out of a tar.

    Raises:
        ManifestError: a field is missing or has the wrong type, or a label is none.
    """
    extra = row.get("extra") or {}
    try:
        past = [turn for number in _earlier(row) for turn in _past(row, extra, number)]
        turns = [*past, *_last(row, extra)]
        known = {
            "id": str(row["key"]),
            "turns": [{name: value for name, value in turn.items() if value not in (None, {}, [])} for turn in turns],
            "language": language_of(row, "lang"),
            "speaker": known_name(row.get("speaker")),
            "source": known_name(extra.get("dataset")),
        }
        rest = {name: value for name, value in row.items() if not _READ.fullmatch(name)}
        rest |= {name: value for name, value in extra.items() if not _READ_EXTRA.fullmatch(name)}
        rest = {name: value for name, value in rest.items() if name not in ("id", "turns", "language", "source")}
        dialogue = Dialogue.from_dict({**rest, **{name: value for name, value in known.items() if value is not None}})
    except KeyError as fault:
        raise ManifestError(f"no field {fault}: a row of the original's dialogues needs it") from fault
    except (TypeError, ValueError, AttributeError) as fault:
        raise ManifestError(f"a field has the wrong type for a row of the original's dialogues: {fault}") from fault
    return _stored(dialogue, sounds) if sounds else dialogue


def _earlier(row: Mapping[str, Any]) -> Iterator[int]:
    """The numbers of earlier turns, from 1."""
    return takewhile(lambda number: f"wav_{number}" in row or f"txt_{number}" in row, count(1))


def _past(row: Mapping[str, Any], extra: Mapping[str, Any], number: int) -> Iterator[dict[str, Any]]:
    yield {"role": "user", "audio": row[f"wav_{number}"]}
    feeling, text = _feeling(row[f"txt_{number}"])
    yield {"role": "assistant", "text": text, "emotion": feeling, "codes": extra.get(f"speech_token_{number}")}


def _last(row: Mapping[str, Any], extra: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The turns of question and reply."""
    tags, question = tags_of(row), known_name(extra.get("question", extra.get("q_txt")))
    if _READ_ALOUD in tags and not tags & _SPOKEN_TO:
        yield {"role": "user", "text": row["txt"]}
        yield {"role": "assistant", "codes": extra["speech_token"], "audio": known_name(extra.get("a_wav_path"))}
        return
    if _TEXT_TO_TEXT in tags:
        yield {"role": "user", "text": question}
    else:
        labels = {ours: label for field, ours in _LABELS.items() if (label := known_name(extra.get(field)))}
        stretch = {name: row.get(name) for name in ("start", "end")}
        length = float(row.get("duration") or 0) or None
        yield {"role": "user", "audio": row["wav"], "text": question, "labels": labels, "duration": length, **stretch}
    feeling, text = _feeling(row["txt"])
    aloud = {"codes": extra["speech_token"], "audio": known_name(extra.get("a_wav_path"))} if tags & _ALOUD else {}
    yield {
        "role": "assistant",
        "text": text,
        "emotion": feeling,
        "thought": known_name(extra.get("think_str")),
        **aloud,
    }


def _feeling(text: str) -> tuple[str | None, str]:
    """A reply's leading tag and what stands behind it."""
    found = _FEELING.match(text)
    if found is None:
        return None, text
    return REPLY_EMOTIONS.canonical(found[1]) or _NO_FEELING, text[found.end() :]


def _stored(dialogue: Dialogue, sounds: Mapping[str, Mapping[str, Any]]) -> Dialogue:
    """The dialogue with the places of its user's sounds in the tar; recordings of replies are not in there."""
    users = [turn for turn in dialogue.turns if turn.role == "user"]
    names = [*(f"wav_{number}" for number in range(1, len(users))), "wav"]
    places = dict(zip(range(0, len(dialogue.turns), 2), names, strict=True))
    return replace(
        dialogue,
        turns=tuple(_placed(turn, sounds.get(places.get(at, ""))) for at, turn in enumerate(dialogue.turns)),
    )


def _placed(turn: DialogueTurn, place: Mapping[str, Any] | None) -> DialogueTurn:
    if turn.audio is None or turn.role == "assistant":
        return turn
    if place is None:
        raise ManifestError("a turn's sound is missing in the tar: pack KEY.wav, and KEY.wav_1 for an earlier turn")
    return replace(turn, place=place)
