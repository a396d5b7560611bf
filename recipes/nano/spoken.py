"""Kokoro's speech as rows: what `speak.py` put into its cache, less what Whisper reads otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from osum.corpus.transcript import transcript
from osum.scoring import cer, wer
from osum.utterance import Utterance
from recipes.nano.recordings import read_rows
from recipes.nano.texts import TURN_OF_KIND, Job, gender, replies, transcript_of

INDEX = "spoken.jsonl"
_SHORT_KINDS = ("word", "digits", "number", "vocabulary", "wait", "backchannel")
MOST_WRONG = 0.3
"""Error rate of Whisper's transcript from which on a clip is left out: it fails on names more often than Kokoro."""


def spoken_utterances(cache_folder: Path, texts: Path, read: Mapping[str, str]) -> list[tuple[str, Utterance]]:
    """(split, row) of every clip of a cache, in the order of its index.

    Args:
        cache_folder: what `speak.py` filled.
        texts: the kit's texts, for replies.
        read: name of a clip to what Whisper reads in it; a clip that it did not read is kept.
    """
    return list(_rows(cache_folder, texts, read))


def _rows(folder: Path, texts: Path, read: Mapping[str, str]) -> Iterator[tuple[str, Utterance]]:
    answers = replies(texts)
    for line in read_rows(folder / INDEX):
        name, seconds = line.pop("name"), line.pop("seconds")
        job = Job(**line)
        row = Utterance(
            id=f"kokoro/{name}",
            path=str(folder / "audio" / f"{name}.ogg"),
            duration=seconds,
            text=transcript_of(job.text),
            language=job.language,
            labels={"language": job.language, "gender": gender(job.timbre), "event": "none", **_turn(job.kind)},
            reply=None if job.kind == "cut" else answers.get(job.text),
            speaker=f"kokoro_{job.timbre}",
            source="kokoro",
            licence="Apache-2.0 (Kokoro-82M v1.0)",
            extra={"evidence": "synthetic", "kind": job.kind},
        )
        if agrees(row, read.get(row.id)):
            yield job.split, row


def agrees(row: Utterance, read: str | None) -> bool:
    """Whether Whisper's transcript is near the text; single words and digits are too short for it."""
    if read is None or not row.text or row.extra["kind"] in _SHORT_KINDS:
        return True
    rate = cer if row.language == "zh" else wer
    return bool(rate([row.text], [transcript(read)]).value <= MOST_WRONG)


def _turn(kind: str) -> dict[str, str]:
    return {"turn": TURN_OF_KIND[kind]} if kind in TURN_OF_KIND else {}
