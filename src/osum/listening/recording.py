"""Recording: one item on its way through the model, and the row of its answers when all its windows are answered.

Knows neither the model nor how sound is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.listening.answers import answer_key, doubted, is_sure, join_text, summary_of
from osum.listening.asked import Asked
from osum.listening.events import events_of
from osum.listening.feeding import Piece
from osum.listening.loops import AGAIN, num_marked
from osum.listening.merge import in_sequence, num_shared
from osum.listening.transcripts import GIVEN
from osum.listening.word_times import guessed
from osum.tasks import Task
from osum.text import is_chinese
from osum.utterance import Segment, Utterance

ANSWERED = ("text", "language", "words", "labels", "reply")
"""Fields of a manifest row that a result fills again; their old values go to `reference`."""


@dataclass(eq=False)  # two entries of one list may be equal, and are two all the same
class Recording:
    """One item: its windows still to answer, and the segments answered."""

    item: Utterance
    error: str | None = None
    segments: list[Segment] = field(default_factory=list)
    waiting: int = 0
    read: bool = False
    length: int = 0
    """Samples read so far."""
    texts: dict[int, str] = field(default_factory=dict)
    """Given transcripts of its windows, by the samples before them."""
    notes: tuple[str, ...] = ()
    """What is suspicious about its sound."""

    def times(self, piece: Piece) -> tuple[float, float]:
        """Begin and end of a window in seconds of the file."""
        offset = self.item.start or 0.0
        return offset + piece.start / SAMPLE_RATE, offset + (piece.start + piece.num_samples) / SAMPLE_RATE

    def result(self, asked: Asked, model: str, stamp: Mapping[str, Any], max_seconds: float) -> Utterance:
        """The row of a recording whose windows are all answered; `stamp` says which `model` by its fields."""
        if self.error is not None:
            return replace(self.item, error=self.error, segments=(), summary={}, events=(), warnings=(), **stamp)
        segments = in_sequence(self.segments)
        if not asked.timed:  # only seams had need of words
            segments = tuple(replace(segment, words=()) for segment in segments)
        spoken = [segment for segment in segments if not segment.no_speech]
        summary, least = summary_of(segments, asked.tasks), asked.options.min_confidence
        sure = {key: answer for key, answer in summary.items() if is_sure(answer, least)}
        shown = tuple(replace(segment, labels=doubted(segment.labels, least)) for segment in segments)
        warnings = list(self.notes)
        if len(segments) > 1:
            warnings.append(
                f"longer than the {max_seconds:g} s this model takes at once: cut into {len(segments)} segments "
                f"where nobody speaks (by {asked.detector.name})"
            )
        if count := num_shared(self.segments):
            warnings.append(
                f"{count} cuts fall where somebody speaks, since there is no pause: a word next to one may be "
                "missing or doubled"
            )
        if count := num_marked(segments):
            warnings.append(f"{count} of {len(segments)} segments {AGAIN}")
        if any(task.transcript == "plain" for task in asked.tasks):  # the timed answer's own problems are its own
            warnings += guessed(word for segment in segments for word in segment.words)
        said = _said(self.item, segments, asked, model)
        if asked.transcriber is not None and said["text"] and not spoken:
            warnings.append("no speech is detected, and yet there is a text")
        return replace(
            self.item,
            duration=round(self.length / SAMPLE_RATE, 4),
            language=_language(sure, spoken) if spoken else None,
            **said,
            labels=_labels(sure, asked.tasks),
            segments=shown,
            events=events_of(shown),
            summary=doubted(summary, least),
            warnings=tuple(warnings),
            error=None,
            extra={**self.item.extra, **_reference(self.item, said), "prompts": asked.prompts},
            **stamp,
        )


def _said(item: Utterance, segments: Sequence[Segment], asked: Asked, model: str) -> dict[str, Any]:
    """Text and who wrote it, words and reply of the whole file; None for what was not asked, as an empty text
    means silence. The text that a row came with stays as it was.
    """
    replies = [segment.reply for segment in segments if segment.reply]
    found: dict[str, Any] = {"reply": join_text(replies) if replies else None}
    words = tuple(word for segment in segments for word in segment.words)
    if asked.transcriber is not None and asked.transcriber.name == GIVEN:
        own = words if asked.timed else item.words or words
        return {**found, "text": item.text, "words": own, "text_from": item.text_from or GIVEN}
    text = join_text([segment.text for segment in segments]) if _transcribed(asked.tasks) else None
    author = None if text is None else asked.transcriber.name if asked.transcriber else model
    return {**found, "text": text, "words": words, "text_from": author}


def _transcribed(tasks: Sequence[Task]) -> bool:
    return any(task.transcript != "none" for task in tasks)


def _reference(item: Utterance, said: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest said of the fields that answers now fill; a row labelled before keeps what it has."""
    row, kept = item.to_dict(), said["text_from"] == (item.text_from or GIVEN)
    known = {name: row[name] for name in ANSWERED if name in row and not (kept and name in ("text", "words"))}
    return {"reference": known} if known and not item.segments and "reference" not in item.extra else {}


def _labels(summary: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, str]:
    """Label set to label of the whole file, where there is one: what makes a result a training row."""
    found: dict[str, str] = {}
    for task in tasks:
        for labels in task.label_sets:
            answer = summary.get(answer_key(task, labels.name))
            if answer is not None and answer.label is not None:
                found.setdefault(labels.name, answer.label)
    return found


def _language(summary: Mapping[str, Any], spoken: Sequence[Segment]) -> str | None:
    """The language detected (LID), or else the script of most characters of the transcript."""
    for answer in (summary.get("LID"), summary.get("LID-only")):
        if answer is not None and answer.label is not None:
            return str(answer.label)
    text = "".join(segment.text for segment in spoken)
    if not text.strip():
        return None
    chinese = sum(map(is_chinese, text))
    return "zh" if chinese * 2 > len(text.replace(" ", "")) else "en"
