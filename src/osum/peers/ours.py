"""Ours: a checkpoint of osum as a recogniser.

Every question is answered about every clip: a label is not withheld where the model detects no voice, as `osum label`
does, since a test set asks for one.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from osum.audio import SAMPLE_RATE
from osum.engine.options import LabelOptions
from osum.errors import TaskError
from osum.listening.recognizer import Recognizer, load
from osum.listening.sources import Audio
from osum.peers.clips import load_clips, placed
from osum.peers.facts import check_question, versions
from osum.peers.recogniser import Options, Question, Recognition
from osum.tasks import Task, TaskResult
from osum.utterance import Segment, Utterance

ASKED_AS = {"S2TT": "STTC"}
"""What a model that follows instructions is asked in a prompt of the benchmark, and the task that reads the answer."""


class Ours:
    """Answers of `osum.load`; in float32 they do not depend on what else is asked.

    Args:
        recognizer: the opened checkpoint.
        batch_size: clips on their way together.
    """

    def __init__(self, recognizer: Recognizer, batch_size: int = 8) -> None:
        self.recognizer = recognizer
        self.name = _short(recognizer.name)
        self.tasks = frozenset(task.name for task in recognizer.tasks.values() if len(task.label_sets) <= 1)
        """Without those that ask for several labels at once: an answer here holds one."""
        if recognizer.engine.processor.chats_plainly:
            self.tasks |= {*ASKED_AS}
        self._batch_size = batch_size

    @classmethod
    def open(cls, name: str, options: Options) -> Ours:
        """Open `nano`, a folder or a hub id; `extra` has no settings here.

        Raises:
            CheckpointError: nothing usable under that name.
            InputError: an unknown dtype, device or setting.
        """
        how = options.device, options.dtype, options.offline
        opened = load(name, device=how[0], dtype=how[1], offline=how[2], base=options.base)
        return cls(opened, options.batch_size)

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`. The prompt is taken as it is; the language is not given to the model."""
        check_question(self, question)
        if question.task in ASKED_AS:
            question = replace(question, task=ASKED_AS[question.task], prompt=question.prompt or _no_prompt(self.name))
        prompts = {} if question.prompt is None else {question.task: question.prompt}
        options = LabelOptions((question.task,), prompts=prompts, withhold=False, batch_size=self._batch_size)
        waiting: deque[_Place] = deque()

        def readable() -> Iterator[tuple[Utterance, Audio]]:
            for loaded in load_clips(clips):
                waiting.append(_Place(loaded.start, loaded.error))
                if loaded.error is None:
                    yield Utterance(loaded.clip.id, loaded.clip.path), (loaded.samples, SAMPLE_RATE)

        task = self.recognizer.tasks[question.task]
        own_words = question.prompt is None or question.prompt in self.prompts(question.task)
        for result in self.recognizer.label_clips(readable(), options):
            yield from _unread(waiting)
            yield _recognition(result, task, waiting.popleft().start, own_words)
        yield from _unread(waiting)

    def prompts(self, task: str) -> tuple[str, ...]:
        """See `Recogniser`: those that the checkpoint carries."""
        return () if task in ASKED_AS else tuple(filter(None, self.recognizer.prompts(task)))

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`; `tasks` stands for prompts, labels and temperatures, which the weights do not contain."""
        return {
            "model": self.name,
            "revision": self.recognizer.revision,
            "tasks": hashlib.sha256(json.dumps(self.recognizer.tasks.to_dict()).encode()).hexdigest()[:12],
            "device": self.recognizer.device,
            "dtype": self.recognizer.dtype,
            "batch_size": self._batch_size,
            "decoding": "greedy",
            "versions": versions("osum", "torch", "transformers", "numpy"),
        }


def _no_prompt(name: str) -> NoReturn:
    raise TaskError(f"{name} needs the language to translate into: give the question a prompt")


def _short(name: str) -> str:
    """A model's name in tables: the last part of a folder, with the run's for `best` and `step-N`, which all have."""
    path = Path(name)
    if not path.is_dir():
        return name
    last = path.absolute().name
    return "/".join(path.absolute().parts[-2:]) if last == "best" or last.startswith("step-") else last


class _Place(NamedTuple):
    """A clip whose answer is not given out yet."""

    start: float
    """Seconds of its file before it."""
    error: str | None


def _unread(waiting: deque[_Place]) -> Iterator[Recognition]:
    """The errors that come before the next answer."""
    while waiting and waiting[0].error is not None:
        yield Recognition(error=waiting.popleft().error)


def _reply(result: Utterance, raws: Sequence[str], own_words: bool) -> str | None:
    """The reply; asked in words that are not its own, a checkpoint may leave out the transcript before it."""
    return result.reply or (None if own_words else " ".join(raws).strip() or None)


def _recognition(result: Utterance, task: Task, start: float, own_words: bool) -> Recognition:
    """One clip's answer; its windows are put together as `osum label` does."""
    if result.error is not None:
        return Recognition(error=result.error)
    segments = [segment for segment in result.segments if segment.labels]
    raws = [segment.labels[task.name].raw for segment in segments]
    parsed = [task.parse(raw) for raw in raws]
    answer = result.summary.get(task.name)
    return Recognition(
        raw="\n".join(raws),
        prompt=result.extra["prompts"][task.name],
        text=result.text,
        words=placed(result.words, start),
        said=_said(segments, parsed),
        label=answer.label if answer else None,
        distribution=answer.distribution if answer else None,
        reply=_reply(result, raws, own_words) if task.reply else None,
        problems=tuple(dict.fromkeys(problem for found in parsed for problem in found.problems)),
    )


def _said(segments: Sequence[Segment], parsed: Sequence[TaskResult]) -> str | None:
    """The label said for most of the time; None where none is said."""
    seconds: dict[str, float] = {}
    for segment, found in zip(segments, parsed, strict=True):
        for label in found.labels.values():
            if label is not None:
                seconds[label] = seconds.get(label, 0.0) + segment.end - segment.start
    return max(seconds, key=lambda label: seconds[label], default=None)
