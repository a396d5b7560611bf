"""Answer plans: what may be said next, and when an answer is over."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import LayoutError
from osum.model.answer_plan import AGE_IN_THOUGHT, AnswerPlan, AnswerProgress, CodesRepeat, Limits, Once, ThoughtBudget
from osum.model.spoken_answer import SpeechIds, in_turns

END, SPEECH = 9, SpeechIds(first=10, count=5)
EDGE = SPEECH.edge
TALK = AnswerPlan(SPEECH, END, speaks=True)
TURNS = AnswerPlan(SPEECH, END, speaks=True, in_turns=True)
WORDS = st.lists(st.integers(0, 8), max_size=40)
CODES = st.lists(st.integers(0, 3), max_size=200)


def followed(plan: AnswerPlan, answer: Sequence[int]) -> list[AnswerProgress]:
    """Where the plan stands before each id of an answer, and behind the last."""
    steps = [plan.begin()]
    for token in answer:
        steps.append(steps[-1].after(token))
    return steps


def heads(plan: AnswerPlan, answer: Sequence[int]) -> str:
    """`t` or `s` for the head that each id comes from."""
    return "".join("s" if step.aloud else "t" for step in followed(plan, answer)[:-1])


def test_text_then_speech_is_the_worked_example() -> None:
    answer = [1, 2, END, EDGE, 11, 12, EDGE]
    assert heads(TALK, answer) == "tttssss"
    assert [step.over for step in followed(TALK, answer)] == [False] * 7 + [True]


def test_a_text_alone_is_over_at_its_end() -> None:
    assert [step.over for step in followed(AnswerPlan(SPEECH, END), [1, END])] == [False, False, True]


def test_speech_of_a_given_text_is_over_at_its_first_edge() -> None:
    plan = AnswerPlan(SPEECH, END, writes=False, speaks=True)
    assert [step.over for step in followed(plan, [11, 12, EDGE])] == [False, False, False, True]
    assert heads(plan, [11, 12, EDGE]) == "sss"


def test_speech_begins_with_its_edge_unless_the_model_learned_to() -> None:
    learned = AnswerPlan(SPEECH, END, speaks=True, begin_forced=False)
    assert followed(TALK, [1, END])[-1].limits([1, END]) == [Limits(only=frozenset((EDGE,)))]
    assert followed(learned, [1, END])[-1].limits([1, END]) == []
    assert followed(TALK, [1, END, EDGE])[-1].limits([1, END, EDGE]) == []


@given(text=WORDS, codes=CODES)
def test_what_is_laid_out_for_training_is_what_the_plan_follows(text: list[int], codes: list[int]) -> None:
    """Text then speech, and in turns: each id stands under the head that says it, and the last one ends the answer."""
    written, spoken = [*text, END], SPEECH.of_codes(codes)
    answers = [(TALK, written + spoken)]
    if 3 * len(written) <= len(spoken):
        answers.append((TURNS, in_turns(written, spoken)))
    for plan, answer in answers:
        expected = "".join("s" if token >= SPEECH.first else "t" for token in answer)
        assert heads(plan, answer) == expected
        assert [step.over for step in followed(plan, answer)] == [False] * len(answer) + [True]


@given(thought=WORDS, text=WORDS, codes=CODES)
def test_a_thought_is_whole_before_turns_begin(thought: list[int], text: list[int], codes: list[int]) -> None:
    closing = (7, 8)
    plan = AnswerPlan(SPEECH, END, speaks=True, in_turns=True, turns_behind=closing)
    first = [*(token for token in thought if token != 8), *closing]
    written, spoken = [*(token for token in text if token != 8), END], SPEECH.of_codes(codes)
    if 3 * len(written) <= len(spoken):
        answer = first + in_turns(written, spoken)
        assert heads(plan, answer) == "".join("s" if token >= SPEECH.first else "t" for token in answer)
        assert followed(plan, answer)[-1].over


@given(text=WORDS, codes=CODES)
def test_turns_lose_nothing_and_keep_the_order(text: list[int], codes: list[int]) -> None:
    speech = SPEECH.of_codes(codes)
    if 3 * len(text) > len(speech):
        with pytest.raises(LayoutError, match=r"each text id needs 3 speech ids"):
            in_turns(text, speech)
        return
    laid = in_turns(text, speech)
    assert [token for token in laid if token < SPEECH.first] == text
    assert [token for token in laid if token >= SPEECH.first] == speech


@pytest.mark.parametrize("code", [-1, 4, 4096])
def test_a_code_outside_the_codebook_is_refused(code: int) -> None:
    with pytest.raises(LayoutError, match=rf"speech code {code} is outside the codebook of 4"):
        SPEECH.of_codes([0, code])


def test_a_model_without_codes_has_no_code_to_say() -> None:
    with pytest.raises(LayoutError, match="outside the codebook of 0"):
        SpeechIds(10, 0).of_codes([0])


def test_a_rule_acts_the_first_time_alone() -> None:
    rule = Once((1, 2), frozenset((5,)))
    assert rule([0, 1, 2]) == Limits(only=frozenset((5,)))
    assert rule([1, 2, 5, 1, 2]) is None
    assert rule([1, 2, 5]) is None
    assert rule([2]) is None


def test_a_thought_invents_no_age() -> None:
    assert AGE_IN_THOUGHT([7, 102_185, 17_714, 31_252]) == Limits(only=frozenset((99_119, 1808, 7863)))


SILENCE = 3
GUARD = CodesRepeat(SPEECH, silence=SILENCE)


def worn(codes: Sequence[int]) -> set[int]:
    """The codes that may not follow."""
    limits = GUARD([1, END, EDGE, *(SPEECH.first + code for code in codes)])
    return {token - SPEECH.first for token in limits.never} if limits else set()


def test_a_code_comes_five_times_in_a_row_and_no_more() -> None:
    assert worn([0] * 4) == set()
    assert worn([0] * 5) == {0}
    assert worn([0] * 5 + [1] * 5) == {1}


def test_a_code_comes_five_times_in_eight_and_no_more() -> None:
    assert worn([0, 0, 1, 0, 0, 2, 0]) == {0}
    assert worn([0, 0, 1, 0, 0, 2, 2, 0]) == set()


def test_silence_may_last_longer() -> None:
    assert worn([SILENCE] * 9) == set()
    assert worn([SILENCE] * 10) == {SILENCE}
    assert worn([SILENCE] * 5 + [0, 1] + [SILENCE] * 5) == {SILENCE}


@given(st.lists(st.integers(0, 3), max_size=60))
def test_whoever_keeps_to_the_guard_never_breaks_it(wishes: list[int]) -> None:
    said: list[int] = []
    for wish in wishes:
        barred = worn(said)
        said.append(next(code for code in (wish, 0, 1, 2, 3) if code not in barred))
    for code, (row, window, most) in {0: (5, 8, 5), SILENCE: (10, 13, 10)}.items():
        assert all(set(said[at : at + row + 1]) != {code} for at in range(len(said) - row))
        assert all(said[at : at + window].count(code) <= most for at in range(len(said)))


BUDGET = ThoughtBudget(opening=(7,), closing=(4, 5), text_end=END, budget=3)


@given(wishes=st.lists(st.integers(0, 8), min_size=12, max_size=12))
def test_a_thought_ends_within_its_budget(wishes: list[int]) -> None:
    """Whatever a model would say: behind three ids the two closing ids stand, unless it closed the thought itself."""
    answer = [7]
    for wish in wishes:
        limits = BUDGET(answer)
        answer.append(wish if limits is None else next(iter(limits.only)))
    closed = next(at for at in range(len(answer)) if tuple(answer[at : at + 2]) == (4, 5))
    assert closed <= 1 + 3
    rest = wishes[closed + 1 :]
    assert answer[closed + 2 :] == rest


def test_a_budget_is_for_thoughts_alone() -> None:
    assert BUDGET([1, 2, 3, 1, 2, 3]) is None
    assert BUDGET([7, 1, 1, 1, END, 1]) is None
    assert BUDGET([7, 1, 1, 1]) == Limits(only=frozenset((4,)))
    assert BUDGET([7, 1, 1, 4]) == Limits(only=frozenset((5,)))
    assert BUDGET([7, 1, 4, 5, 1]) is None
