"""A manifest as test sets on the spot: one for each task that its rows answer.

Knows nothing of models; which tasks there are is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osum.corpus.readers import Manifest
from osum.errors import InputError, TaskError
from osum.evaluation.sets.benchmark import Benchmark, Declaration, Target
from osum.tasks import LabelSet, Task, TaskSet
from osum.utterance import Utterance

_METRICS: dict[Target, str] = {"label": "accuracy", "words": "aas", "reply": "mer", "text": "mer"}
_TEXT_METRICS = {"en": "wer", "zh": "cer"}
"""Of texts that are all in one language."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A manifest that was read for its answers."""

    name: str
    """Of its test sets, before the dot: the file's without its suffix."""
    path: Path
    rows: tuple[Utterance, ...]
    """Labels in the words of the label sets; one that is none of them is left out."""
    faults: tuple[str, ...]
    """Lines that cannot be read, and labels that are none."""


def read_data_file(path: Path, tasks: TaskSet) -> DataFile:
    """Read a manifest of any project, or shards, as `osum data` does.

    Raises:
        InputError: nothing can be read at all, or no line shows its format.
    """
    rows: list[Utterance] = []
    broken: list[str] = []
    wrong: dict[tuple[str, str], list[str]] = {}  # label set and label to what is said of each row
    for line in Manifest(path, tasks=tasks):
        if line.utterance is None:
            broken.append(f"{line.place}: {line.fault}")
            continue
        labels: dict[str, str] = {}
        for labelled in tasks.label_sets.values():
            try:
                label = _label(line.utterance, labelled)
            except TaskError as fault:
                key = labelled.name, line.utterance.labels[labelled.name]
                wrong.setdefault(key, []).append(f"{line.place}: {fault}")
            else:
                labels |= {labelled.name: label} if label else {}
        rows.append(line.utterance.with_(labels=labels))
    kinds = (f"{some[0]} ({len(some)} of {label!r})" for (_, label), some in wrong.items())
    return DataFile(_plain(Path(path.name.removesuffix(".gz")).stem), path, tuple(rows), (*broken, *kinds))


def _plain(name: str) -> str:
    """A name as any file can hold it: bytes that are no UTF-8 become `?`."""
    return name.encode(errors="replace").decode()


def _label(row: Utterance, labels: LabelSet) -> str | None:
    """The label of a row; a language that is none of ours is no wrong label, unless the row calls it one."""
    if labels.name == "language" and labels.name not in row.labels:
        return labels.canonical(row.language or "")
    return Task.true_label(row, labels)


def sets_of(file: DataFile, tasks: TaskSet, names: Sequence[str] = ()) -> list[Benchmark]:
    """A test set for each task that some row answers.

    Args:
        file: of `read_data_file`, with the same tasks.
        tasks: what can be asked.
        names: tasks that are asked for; none: all that the rows answer, composites and tag-only forms aside.

    Raises:
        TaskError: a task is unknown, or asks for several labels at once.
        InputError: no row answers a task that is asked for, or of any.
    """
    asked = tasks.select(names) if names else [task for task in tasks.main if len(task.label_sets) <= 1]
    found = []
    for task in asked:
        if len(task.label_sets) > 1:
            sets = ", ".join(labels.name for labels in task.label_sets)
            raise TaskError(f"task {task.name} asks for several labels at once: name tasks of one of {sets}")
        rows = [row for row in file.rows if _answers(row, task)]
        if rows:
            found.append(_declared(file, task, rows).benchmark(rows))
        elif names:
            raise InputError(f"{file.path}: no row has {_needed(task)}, which {task.name} is measured by: add it")
    if not found:
        needed = ", ".join(dict.fromkeys(_needed(task) for task in asked))
        raise InputError(f"{file.path}: no row has an answer to measure by: add one of {needed}")
    return found


def _declared(file: DataFile, task: Task, rows: Iterable[Utterance]) -> Declaration:
    target = _target(task)
    languages = {row.language for row in rows}
    language = languages.pop() if len(languages) == 1 else None
    return Declaration(
        name=f"{file.name}.{task.name.replace('/', '_')}",
        title=f"{file.name}: {task.title}",
        task=task.name,
        target=target,
        metric=_TEXT_METRICS.get(language or "", "mer") if target == "text" else _METRICS[target],
        home=_plain(file.path.name),
        language=language,
        label_set=task.label_sets[0] if task.label_sets else None,
    )


def _target(task: Task) -> Target:
    if task.label_sets:
        return "label"
    if task.reply:
        return "reply"
    return "words" if task.transcript == "timed" else "text"


def _needed(task: Task) -> str:
    target = _target(task)
    return f"the label {task.label_sets[0].name!r}" if target == "label" else f"the field {target!r}"


def _answers(row: Utterance, task: Task) -> bool:
    target = _target(task)
    value = row.labels.get(task.label_sets[0].name) if target == "label" else getattr(row, target)
    return bool(value.strip() if isinstance(value, str) else value)
