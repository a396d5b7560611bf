"""Repetition loops: distinguished from speech that repeats itself, decoded again, marked.

1. An answer is a loop if it ends in one and never ended, holds more than anybody can say in the time, or repeats what
   nobody can say, such as U+FFFD.
2. Only the question that looped is asked again, so that no answer depends on what else is asked: first with a
   penalty on repetition, except for word times, which need their digits again and again; then by drawing,
   warmer each time, from a fixed seed.
3. The first answer that is no loop is kept and marked. If there is none, the loop is kept, and parsing reports it.

Knows how to ask again, not whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, EngineReply
from osum.listening.answers import answer_key
from osum.scoring.normalize import mixed_units
from osum.tasks import Task
from osum.text import is_broken, repetition
from osum.utterance import Segment

UNITS_PER_SECOND = 8
"""Words, or Chinese characters, that nobody says in a second for long."""
PENALISED = GenerationOptions(repetition_penalty=1.3)
DRAWN = tuple(GenerationOptions(do_sample=True, temperature=warmth, seed=0) for warmth in (0.4, 0.8))
AGAIN = "decoded again after a repetition loop"

AskAgain = Callable[[Sequence[Ask]], Sequence[EngineReply]]


def loops(task: Task, reply: EngineReply, seconds: float) -> bool:
    """Whether the answer of a task about `seconds` of sound is a repetition loop."""
    found = task.parse(reply.text)
    repeats = [loop for part in (reply.text, found.text, found.reply or "") if (loop := repetition(part))]
    too_much = len(mixed_units(found.text)) > UNITS_PER_SECOND * max(seconds, 1.0)
    nonsense = any(is_broken(unit[0]) for unit, _ in repeats)
    return bool(repeats) and (nonsense or too_much or not reply.ended)


def unlooped(
    asks: Sequence[Ask], replies: Sequence[EngineReply], seconds: float, ask_again: AskAgain
) -> tuple[tuple[EngineReply, ...], tuple[Task, ...]]:
    """The replies with loops decoded again, and the tasks of which another reply was taken."""
    found = list(replies)
    left = [at for at in range(len(asks)) if _loops(asks[at], found[at], seconds)]
    looped = list(left)
    for options in (PENALISED, *DRAWN):
        tried = [at for at in left if options.do_sample or not _is_timed(asks[at])]
        if not tried:
            continue
        again = ask_again([replace(asks[at], options=options) for at in tried])
        better = {at: reply for at, reply in zip(tried, again, strict=True) if not _loops(asks[at], reply, seconds)}
        found = [better.get(at, reply) for at, reply in enumerate(found)]
        left = [at for at in left if at not in better]
    return tuple(found), tuple(task for at in looped if at not in left and (task := asks[at].task))


def _loops(ask: Ask, reply: EngineReply, seconds: float) -> bool:
    return ask.task is not None and ask.given is None and loops(ask.task, reply, seconds)


def _is_timed(ask: Ask) -> bool:
    return ask.task is not None and ask.task.transcript == "timed"


def marked(segment: Segment, tasks: Iterable[Task]) -> Segment:
    """The segment with what was done said among the problems of its answers to `tasks`."""
    keys = {
        key for task in tasks for key in ([answer_key(task, labels.name) for labels in task.label_sets] or [task.name])
    }
    answers = {
        key: replace(answer, problems=(*answer.problems, AGAIN)) if key in keys else answer
        for key, answer in segment.labels.items()
    }
    return replace(segment, labels=answers)


def num_marked(segments: Iterable[Segment]) -> int:
    """How many segments hold an answer that was decoded again."""
    return sum(any(AGAIN in answer.problems for answer in segment.labels.values()) for segment in segments)
