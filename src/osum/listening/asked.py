"""Asked: what one call asks about every window, and the questions that decide whether there is speech or a voice.

1. The tasks of the call are asked in its own words, decoded as it wants.
2. Whether anything is said is decided by the checkpoint's own prompt of `ASR`, and whether a sound without speech is a
   voice by that of the plainest task that names vocal events. Both are decoded greedily, whatever the call asks, so
   that no label and no `no_speech` depends on which other tasks are asked.
3. Where a task of the call is that very question, it is not asked twice.

Example: a call for `SER` asks SER, VED-only (a voice?) and ASR with a limit of one id (silence?); a call for `ASR,
VED-only, SER` asks just these three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import Ask, EngineReply
from osum.errors import InputError, TaskError
from osum.listening.answers import NO_EVENT, names_event
from osum.listening.transcripts import GIVEN, OwnText, Transcriber
from osum.listening.vad import Detector, detector_named
from osum.tasks import ECHAT, RELEASE, Task, TaskSet

TRANSCRIBE = "ASR"
GREEDY = GenerationOptions()
TokenLimit = Callable[[Task, float, GenerationOptions], int]


@dataclass(frozen=True)
class Questions:
    """What is asked about one window: the tasks first, then what no task of the call asks."""

    asks: tuple[Ask, ...]
    silence: int | None = None
    """Which of them decides on silence."""
    voice: int | None = None
    """Which of them decides on a voice."""

    def silence_of(self, replies: Sequence[EngineReply]) -> EngineReply | None:
        """The reply that decides on silence."""
        return None if self.silence is None else replies[self.silence]

    def voice_of(self, replies: Sequence[EngineReply]) -> bool | None:
        """Whether the likeliest vocal event is one."""
        task = None if self.voice is None else self.asks[self.voice].task
        if task is None or self.voice is None:
            return None
        (labels,) = task.label_sets
        scores = replies[self.voice].scores[labels.name]
        return labels.labels[max(range(len(scores)), key=scores.__getitem__)] != NO_EVENT


@dataclass(frozen=True)
class Asked:
    """What one call asks."""

    options: LabelOptions
    tasks: tuple[Task, ...]
    prompts: Mapping[str, str]
    """Task to the words it is asked in."""
    detector: Detector[Any]
    """Finds the pauses of a long recording."""
    silence: tuple[Task, str] | None = None
    """The task that decides on silence, and its prompt."""
    voice: tuple[Task, str] | None = None
    """The task that decides on a voice, and its prompt."""
    transcriber: Transcriber | None = None
    """Who gives the transcripts; None where they are decoded."""
    aligned: Task | None = None
    """The task of word times, where the text gets times without that task being answered."""

    @property
    def timed(self) -> bool:
        """Whether words get times."""
        return self.options.word_times or self.aligned is not None or any(t.transcript == "timed" for t in self.tasks)

    @classmethod
    def of(cls, tasks: TaskSet, options: LabelOptions, transcriber: Transcriber | None = None) -> Asked:
        """Resolve names and prompts against what a checkpoint carries, and what is installed.

        Raises:
            TaskError: an unknown task, or no prompts in the language.
            InputError, MissingExtraError: voice activity by a name that is unknown or not installed; or beams where
                transcripts are given.
        """
        language = options.prompt_language
        if language not in (None, *tasks.languages):
            known = ", ".join(tasks.languages)
            raise TaskError(f"no prompts in {language!r}: this model has them in {known}")
        chosen = tasks.select(options.tasks if isinstance(options.tasks, str) else list(options.tasks))
        transcriber = transcriber or (OwnText() if options.transcript == GIVEN else None)
        aligned = None
        if transcriber is not None:
            aligned = next((task for task in chosen if task.transcript == "timed" and options.tasks != "all"), None)
            chosen = _behind(chosen, tasks, options)
        given = {tasks.find(name).name: prompt for name, prompt in options.prompts.items()}
        words = {
            task.name: given.get(task.name) or prompts(tasks, task, language)[0]
            for task in (*chosen, *([aligned] if aligned else ()))
        }
        silence = voice = None
        if options.withhold and TRANSCRIBE in tasks:
            silence = tasks[TRANSCRIBE], prompts(tasks, tasks[TRANSCRIBE], language)[0]
        if options.withhold and any(task.needs == "voice" for task in chosen):
            candidates = [task for task in tasks.values() if names_event(task) and len(task.label_sets) == 1]
            asked = min(candidates, key=lambda task: task.transcript != "none", default=None)
            voice = None if asked is None else (asked, prompts(tasks, asked, language)[0])
        return cls(options, chosen, words, detector_named(options.vad), silence, voice, transcriber, aligned)

    def questions(
        self, seconds: float, request: Callable[[str], str], limit: TokenLimit, given: str | None = None
    ) -> Questions:
        """What is asked about a window of `seconds`; `request` renders a prompt, `limit` bounds an answer.

        Where a transcript is given, all is judged behind it.
        """
        generation = self.options.generation
        asks = [
            Ask(request(self.prompts[task.name]), limit(task, seconds, generation), task, generation, given=given)
            for task in self.tasks
        ]
        silence = voice = None
        if self.voice is not None:
            task, prompt = self.voice
            voice = _place(asks, Ask(request(prompt), limit(task, seconds, GREEDY), task, given=given), Ask.__eq__)
        if self.silence is not None:
            task, prompt = self.silence
            silence = _place(asks, Ask(request(prompt), 1, None if given is None else task, given=given), _begins_alike)
        return Questions(tuple(asks), silence, voice)


def _place(asks: list[Ask], wanted: Ask, serves: Callable[[Ask, Ask], bool]) -> int:
    """Where a question is asked; behind the others if none of them serves."""
    found = next((number for number, ask in enumerate(asks) if serves(ask, wanted)), len(asks))
    asks += [wanted] if found == len(asks) else []
    return found


def _begins_alike(ask: Ask, wanted: Ask) -> bool:
    """Whether an answer ends before it begins just where `wanted` does; a penalty on repetition comes later."""
    decoded = not (ask.options.searches or ask.options.do_sample)
    return (ask.text, ask.given) == (wanted.text, wanted.given) and (decoded or ask.given is not None)


def _behind(chosen: tuple[Task, ...], tasks: TaskSet, options: LabelOptions) -> tuple[Task, ...]:
    """The tasks that are answered behind a transcript that is given; `all` are those of which nothing is decoded.

    Word times are not answered: the text is aligned.
    """
    if options.tasks == "all":
        return tuple(task for task in chosen if not (task.transcript == "timed" or task.punctuated or task.reply))
    if own := next((task.name for task in chosen if task.punctuated or _times_and_labels(task)), None):
        raise TaskError(f"task {own} decodes its own transcript: leave it out where the transcript is given")
    timed = any(task.transcript == "timed" for task in chosen)
    chosen = tuple(task for task in chosen if task.transcript != "timed")
    if timed and not any(task.transcript == "plain" for task in chosen):
        chosen = (tasks.find(TRANSCRIBE), *chosen)
    if options.generation.searches and any(task.reply for task in chosen):
        raise InputError("a reply behind a transcript that is given is decoded without beams: leave --num-beams out")
    return chosen


def _times_and_labels(task: Task) -> bool:
    return task.transcript == "timed" and bool(task.label_sets)


def prompt_language(tasks: TaskSet) -> str:
    """The language of prompts that were not asked for in another; those of the releases are Chinese."""
    released = tasks.name in (RELEASE.name, ECHAT.name)
    return "zh" if released and "zh" in tasks.languages else tasks.languages[0]


def prompts(tasks: TaskSet, task: Task, language: str | None) -> tuple[str, ...]:
    """The prompts of a task, the fixed one first; without a language, in the first that this task has."""
    if language is None:
        for usual in (prompt_language(tasks), *tasks.languages):
            with suppress(TaskError):
                return tasks.prompts(task, usual)
    return tasks.prompts(task, language or prompt_language(tasks))
