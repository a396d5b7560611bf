"""What a model answered to clips, by the public API: asking, and reading answers. Knows nothing of what is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from figures import Question
from tqdm import tqdm

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.utterance import Utterance

CHUNK = 128  # clips of one call

Answered = Mapping[str, Utterance]
"""Id of a clip to what the model answered."""
Labels = Mapping[str, str | None]
"""Id of a clip to its label; None is an answer without one."""
Read = Callable[[Utterance], Float32]


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


def text_of(answer: Utterance) -> str:
    """The transcript of all segments."""
    return " ".join(segment.text for segment in answer.segments if segment.text)


def labels_of(question: Question, rows: Iterable[Utterance], answers: Answered) -> Labels:
    """The model's labels of the clips whose true one is known: the first that is named in a clip."""
    return {row.id: _label_of(question, answers[row.id]) for row in rows if question.truth(row) is not None}


def _label_of(question: Question, answer: Utterance) -> str | None:
    found = (segment.labels.get(question.task) for segment in answer.segments)
    return next((label.label for label in found if label and label.label), None)
