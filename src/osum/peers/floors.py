"""Floors: what can be scored without any sound. A model that scores no higher has learned nothing from the sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from osum.errors import InputError
from osum.peers.facts import check_no_prompt, check_on_cpu, check_question, versions
from osum.peers.lessons import TRANSCRIBE, Truth, counts, of_labels, recordings, truths
from osum.peers.recogniser import Options, Question, Recognition
from osum.tasks import OSUM, Task, TaskSet
from osum.utterance import Utterance


class Majority:
    """The most frequent label of the recordings of a manifest, with the shares of all labels as probabilities.

    Args:
        train: rows to count; see `osum.peers.lessons` for what they teach.
        tasks: what can be asked.

    Raises:
        InputError: no task has two labels in `train`.
    """

    name = "majority"

    def __init__(self, train: Sequence[Utterance], tasks: TaskSet = OSUM) -> None:
        self._train, self._known = train, tasks
        self._truths = {task: truth for task, truth in truths(train, tasks).items() if task != TRANSCRIBE}
        self.tasks = frozenset(self._truths)
        if not self.tasks:
            raise InputError(f"{self.name} finds no two labels to choose from in its training manifest: add rows")

    @classmethod
    def open(cls, name: str, options: Options) -> Majority:
        """Read the manifest that `extra` names, `train`.

        Raises:
            InputError: `train` is missing or cannot be read, or another setting is given.
        """
        check_on_cpu(name, options)
        return cls(recordings(name, options, "train"), options.tasks)

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`. Nothing is read, so that no clip fails."""
        check_question(self, question)
        check_no_prompt(self, question)
        tables = self._tables(self._truths[question.task])
        task = self._known[question.task]
        return (_answer(tables.get(self._group(clip)) or tables[None], task) for clip in clips)

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002  (it takes none)
        """See `Recogniser`."""
        return ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        return {"device": "cpu", "train": {"clips": len(self._train)}, "versions": versions("osum")}

    def _group(self, clip: Utterance) -> str | None:  # noqa: ARG002  (all clips are alike)
        """What a clip is judged by."""
        return None

    def _tables(self, truth: Truth) -> dict[str | None, Counter[str]]:
        """How often each label is right in each group, and, under None, in all."""
        groups: dict[str | None, list[Utterance]] = {None: list(self._train)}
        for row in self._train:
            if (group := self._group(row)) is not None:
                groups.setdefault(group, []).append(row)
        return {group: counts(rows, truth) for group, rows in groups.items()}


class Source(Majority):
    """The most frequent label of a clip's `source`: how much of a score can be had by recognising the microphone.

    A clip whose source taught nothing gets the most frequent label of all.
    """

    name = "source"

    def _group(self, clip: Utterance) -> str | None:
        return clip.source


def _answer(table: Counter[str], task: Task) -> Recognition:
    distribution = {label: table[label] / table.total() for label in of_labels(task)}
    label = max(distribution, key=distribution.__getitem__)
    return Recognition(raw=label, said=label, label=label, distribution=distribution)
