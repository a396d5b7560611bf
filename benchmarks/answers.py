"""What a model answered to clips: asking, reading answers, keeping them in a file.

Knows nothing of what is right.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from figures import WORD_QUESTIONS, Labels, Question
from tqdm import tqdm

from osum.audio import SAMPLE_RATE, load
from osum.data.packed import Float32, PackedAudio
from osum.scoring import normalize
from osum.utterance import Segment, Utterance, Word

CHUNK = 128  # clips of one call
REPLY = "STTC"

Answered = Mapping[str, Utterance]
"""Id of a clip to what the model answered."""
Read = Callable[[Utterance], Float32]


# Asking


def ask(
    recognizer: Any, rows: Iterable[Utterance], read: Read, tasks_of: Callable[[Utterance], tuple[str, ...]]
) -> dict[str, Utterance]:
    """The model's answer to every clip, clips with the same tasks together and the like in length side by side."""
    groups: dict[tuple[str, ...], list[Utterance]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.duration or 0):
        groups[tasks_of(row)].append(row)
    answers: dict[str, Utterance] = {}
    with tqdm(total=sum(map(len, groups.values())), desc="answering", unit="clip") as progress:
        for tasks, group in groups.items():
            for first in range(0, len(group), CHUNK):
                chunk = group[first : first + CHUNK]
                results = recognizer.label([(read(row), SAMPLE_RATE) for row in chunk], tasks=list(tasks))
                answers |= {row.id: result for row, result in zip(chunk, results, strict=True)}
                progress.update(len(chunk))
    return answers


def read_clip(packed: PackedAudio) -> Read:
    """Reads packed clips, and those of RAVDESS from their files."""
    return lambda row: packed.read(row) if "offset" in row.extra else load(row.path)


# Reading answers


def text_of(answer: Utterance) -> str:
    """The transcript of all segments."""
    return " ".join(segment.text for segment in answer.segments if segment.text)


def reply_of(answer: Utterance) -> str | None:
    """The reply of all segments; None where it was not asked for."""
    if not any(REPLY in segment.labels for segment in answer.segments):
        return None
    return " ".join(segment.reply for segment in answer.segments if segment.reply)


def words_of(answer: Utterance) -> tuple[Word, ...]:
    """The timed words of all segments."""
    return tuple(word for segment in answer.segments for word in segment.words)


def label_of(question: Question, answer: Utterance) -> str | None:
    """What the model says to a question; None for no label."""
    if not answer.segments:
        return None
    if question in WORD_QUESTIONS:
        return normalize(text_of(answer))
    if question.name == "speech":
        return "no speech" if all(segment.no_speech for segment in answer.segments) else "speech"
    named = [label for segment in answer.segments if (label := _label(question, segment))]
    return named[0] if named else None


def _label(question: Question, segment: Segment) -> str | None:
    found = segment.labels.get(question.task or "")
    return found.label if found else None


def labels_of(question: Question, rows: Iterable[Utterance], answers: Answered) -> Labels:
    """The model's labels of the clips whose true one is known."""
    return {row.id: label_of(question, answers[row.id]) for row in rows if question.truth(row) is not None}


# Keeping answers


def write_answers(path: Path, answers: Answered) -> None:
    """Every answer beside its clip's id, to look into errors."""
    lines = [json.dumps({**answer.to_dict(), "id": name}, ensure_ascii=False) for name, answer in answers.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_answers(path: Path) -> dict[str, Utterance]:
    """What `write_answers` wrote."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["id"]: Utterance.from_dict(row) for row in rows}
