"""Lessons: what a manifest teaches the baselines. Its recordings, and the answer of each to each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.peers.recogniser import Options
from osum.scoring import normalize
from osum.tasks import OSUM, LabelSet, Task, TaskSet
from osum.utterance import Utterance

Truth = Callable[[Utterance], str | None]
"""The right answer of a row, None where it is not known or does not teach."""
TRANSCRIBE = "ASR"
MIN_SAID = 20
"""Clips of a text that is one of the vocabulary."""


def recordings(kind: str, options: Options, setting: str) -> list[Utterance]:
    """The recordings of the manifest that a setting names.

    Raises:
        InputError: the setting is missing, or the manifest cannot be read.
    """
    if setting not in options.extra:
        raise InputError(f"{kind} needs the setting {setting!r}: give {setting}=FILE, a manifest to learn from")
    return [row for row in read_manifest(options.extra[setting]) if is_recording(row)]


def is_recording(row: Utterance) -> bool:
    """Whether a clip is as it was recorded: neither synthetic nor made from other clips, as far as its row says."""
    return row.extra.get("evidence", "real") == "real" and "kind" not in row.extra


def truths(rows: Sequence[Utterance], tasks: TaskSet = OSUM) -> dict[str, Truth]:
    """The tasks that rows can teach, by name: those with at least two different answers.

    Labels, and texts that are said often. A label that a row calls `weak` counts only where it has no other row.
    """
    found: dict[str, Truth] = {TRANSCRIBE: _said_often(rows)}
    of_set = {labels: _labelled(labels, rows) for labels in tasks.label_sets.values()}
    found |= {task.name: of_set[task.label_sets[0]] for task in tasks.values() if len(task.label_sets) == 1}
    return {name: truth for name, truth in found.items() if len({truth(row) for row in rows} - {None}) > 1}


def counts(rows: Iterable[Utterance], truth: Truth) -> Counter[str]:
    """How often each answer is right."""
    return Counter(answer for row in rows if (answer := truth(row)) is not None)


def _said_often(rows: Iterable[Utterance]) -> Truth:
    said = Counter(normalize(row.text) for row in rows if row.text)
    vocabulary = {text for text, count in said.items() if count >= MIN_SAID}

    def truth(row: Utterance) -> str | None:
        text = normalize(row.text) if row.text else None
        return text if text in vocabulary else None

    return truth


def _labelled(labels: LabelSet, rows: Iterable[Utterance]) -> Truth:
    def label(row: Utterance) -> str | None:
        name = row.labels.get(labels.name) or (row.language if labels.name == "language" else None)
        return None if name is None else labels.canonical(name)

    def weak(row: Utterance) -> bool:
        return labels.name in row.extra.get("weak", ())

    strong = {label(row) for row in rows if not weak(row)}
    return lambda row: None if weak(row) and label(row) in strong else label(row)


def subject(task: Task) -> str:
    """What an answer to a task is about: the label set's name, or the text; `SER` and `SER-only` ask for the same."""
    return task.label_sets[0].name if task.label_sets else "text"


def of_labels(task: Task) -> tuple[str, ...]:
    """The labels of a task with one label set; none for a transcript."""
    return task.label_sets[0].labels if task.label_sets else ()
