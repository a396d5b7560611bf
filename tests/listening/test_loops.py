"""Repetition loops: what is one, what is asked again and how, what is marked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from model.tiny import noise

from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, EngineReply
from osum.listening.loops import AGAIN, DRAWN, PENALISED, loops, marked, num_marked, unlooped
from osum.listening.recognizer import Recognizer
from osum.tasks import OSUM
from osum.utterance import Answer, Segment

LOOP = "so it goes " * 20
TIMED = "".join(f"<{at / 10:.1f}>again<{at / 10 + 0.1:.1f}>" for at in range(30))


@pytest.mark.parametrize(
    ("task", "text", "seconds", "ended", "expected"),
    [
        ("ASR", LOOP, 10, False, True),
        ("ASR", LOOP, 5, True, True),
        ("ASR", LOOP, 10, True, False),
        ("ASR", "many words that do not go round " * 3, 10, False, False),
        ("SRWT", TIMED, 10, False, True),
        ("STTC", f"hi<开始回答>{LOOP}", 10, False, True),
        ("SER", LOOP + "<sad>", 10, True, False),
        ("ASR", "你好" + "\ufffd" * 15, 10, True, True),
    ],
)
def test_a_loop_never_ends_or_says_more_than_can_be_said(
    task: str, text: str, seconds: float, ended: bool, expected: bool
) -> None:
    assert loops(OSUM[task], EngineReply(text, (), ended=ended), seconds) is expected


def ask(task: str | None) -> Ask:
    return Ask("what?", 40, OSUM[task] if task else None)


def answered(
    asks: Sequence[Ask], first: Sequence[str], later: dict[tuple[str, GenerationOptions], str]
) -> tuple[list[str], list[str], list[tuple[str, GenerationOptions]]]:
    """The texts and the tasks decoded again, and what was asked again; all that is not in `later` loops."""
    asked: list[tuple[str, GenerationOptions]] = []

    def again(tried: Sequence[Ask]) -> list[EngineReply]:
        keys = [(one.task.name if one.task else "", one.options) for one in tried]
        asked.extend(keys)
        return [EngineReply(later.get(key, LOOP), (), ended=key in later) for key in keys]

    replies = [EngineReply(text, (), ended=text != LOOP) for text in first]
    found, tasks = unlooped(asks, replies, 10.0, again)
    return [reply.text for reply in found], [task.name for task in tasks], asked


def test_what_does_not_loop_is_not_asked_again() -> None:
    assert answered([ask("ASR"), ask(None)], ["hi", LOOP], {}) == (["hi", LOOP], [], [])


def test_only_what_loops_is_asked_again_and_only_until_it_does_not() -> None:
    texts, tasks, asked = answered(
        [ask("ASR"), ask("SER"), ask("SGC")],
        [LOOP, "hi<sad>", LOOP],
        {("ASR", PENALISED): "hi", ("SGC", DRAWN[0]): "hi<male>"},
    )
    assert (texts, tasks) == (["hi", "hi<sad>", "hi<male>"], ["ASR", "SGC"])
    assert asked == [("ASR", PENALISED), ("SGC", PENALISED), ("SGC", DRAWN[0])]


def test_word_times_are_drawn_and_not_penalised() -> None:
    assert answered([ask("SRWT")], [LOOP], {("SRWT", DRAWN[1]): "<0.1>hi<0.2>"})[2] == [("SRWT", one) for one in DRAWN]


def test_a_loop_that_nothing_breaks_stands_as_it_was() -> None:
    texts, tasks, asked = answered([ask("ASR")], [LOOP], {})
    assert (texts, tasks, len(asked)) == ([LOOP], [], 3)


def test_answers_that_were_decoded_again_say_so() -> None:
    names = ("ASR", "SAP+SGC/age", "SAP+SGC/gender", "SER")
    segment = Segment(0, 1, labels={name: Answer(None, problems=("no tag",)) for name in names})
    found = marked(segment, [OSUM["SAP+SGC"]])
    assert [name for name in names if found.labels[name].problems == ("no tag", AGAIN)] == list(names[1:3])
    assert num_marked([segment, found, found]) == 2


def test_a_loop_of_a_model_is_decoded_again_whatever_else_is_asked(recognizer: Recognizer) -> None:
    """A random model goes round where nothing is trained, and never ends."""
    alone, both = (recognizer.label(noise(16_000), tasks=tasks) for tasks in ("SRWT", ("ASR", "SRWT")))
    assert alone.warnings == (f"1 of 1 segments {AGAIN}",)
    assert both.segments[0].labels["SRWT"] == alone.segments[0].labels["SRWT"]
