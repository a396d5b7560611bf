"""What is guessed of an answer before the model says it."""

from __future__ import annotations

import pytest

from osum.engine.branch import LOOKAHEAD, before_label, continuation, guesses
from osum.tasks import OSUM


def test_a_loop_continues() -> None:
    assert continuation([1, 2, 3, 4, 2, 3, 4], []) == [2, 3, 4, 2, 3, 4, 2, 3][:LOOKAHEAD]


def test_after_a_word_that_differs_the_draft_continues() -> None:
    assert continuation([1, 9, 3, 4], [[1, 2, 3, 4, 5, 6]]) == [5, 6]


@pytest.mark.parametrize(
    ("ids", "others"), [([], [[1, 2, 3]]), ([3], [[3, 4]]), ([1, 2], [[2, 1, 3]]), ([1, 2], [[1, 2]])]
)
def test_without_ids_in_common_nothing_is_guessed(ids: list[int], others: list[list[int]]) -> None:
    assert continuation(ids, others) == []


@pytest.mark.parametrize(
    ("task", "transcript", "texts"),
    [
        ("SGC", "hi", ["hi<female>", "hi<male>"]),
        ("SGC", None, []),
        ("SGC-only", None, ["<female>", "<male>"]),
        ("SGC-only", "hi", ["<female>", "<male>"]),
        ("ASR", "hi", ["hi"]),
        ("STTC", "hi", ["hi<开始回答>"]),
        ("SRWT", "hi", []),
    ],
)
def test_a_task_may_answer_the_draft_and_any_of_its_tags(task: str, transcript: str | None, texts: list[str]) -> None:
    assert sorted(guesses(OSUM[task], transcript)) == texts


def test_a_second_tag_stands_behind_the_first_that_was_said_or_the_first_there_is() -> None:
    task = OSUM["SAP+SGC"]
    first = task.label_sets[0].labels[0]
    assert before_label(task, "hi<adult><male>", 0) == "hi"
    assert before_label(task, "hi<adult><male>", 1) == "hi<adult>"
    assert before_label(task, "hi", 1) == f"hi<{first}>"
