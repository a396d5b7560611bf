"""Choices, refusals and instructions: what a reply counts as, by the published rules."""

from __future__ import annotations

import json

import pytest

from osum.errors import InputError
from osum.evaluation.sets.published import PUBLISHED
from osum.scoring import METRICS
from osum.scoring.spoken_answers import chosen, follows, names_alone, refuses, voicebench_overall


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The correct answer is B.", "B"),
        ("B", "B"),
        ("b) photosynthesis", "B"),
        ("I think it's (C) because of a rule.", "C"),
        ("Option D: iron", "D"),
        ("答案是C", "C"),
        ("The answer is a mammal.", None),
        ("It is B, I think.", "B"),
        ("A cat is a mammal.", None),
        ("I have a dog and can't say.", None),
        ("", None),
    ],
)
def test_a_reply_chooses_the_letter_that_it_names(reply: str, letter: str | None) -> None:
    assert chosen(reply) == letter


def test_a_right_choice_names_no_other() -> None:
    choices = ["A child", "A woman", "An adult man"]
    assert names_alone("It is a child.", "A child", choices)
    assert not names_alone("a child or a woman", "A child", choices)
    assert not names_alone("", "A child", choices)


def test_a_refusal_is_known_by_its_words() -> None:
    assert refuses("I’m sorry, but I can't help with that.") and refuses("很抱歉，我不能。")
    assert not refuses("Sure, here is how.") and not refuses("")


@pytest.mark.parametrize(
    ("kind", "how", "good", "bad"),
    [
        ("keywords:existence", {"keywords": ["sun", "Rain"]}, "Rain, then sun.", "rain"),
        ("keywords:forbidden_words", {"forbidden_words": ["sun"]}, "sunny", "the sun"),
        ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "less than"}, "one a", "a b a"),
        ("keywords:letter_frequency", {"letter": "q", "let_frequency": 1, "let_relation": "at least"}, "Quiz", "tea"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one"),
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "One.", "One. Two."),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
            "One.\n\nThen two.",
            "Then.\n\nOne.",
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name]"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hi\nP.S. you", "Hi"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b", "* a"),
        ("detectable_format:constrained_response", {}, "My answer is no.", "no"),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "so *much* more", "so much"),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "SECTION", "num_sections": 2},
            "SECTION 1\nSECTION 2",
            "SECTION 1",
        ),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a}"),
        ("detectable_format:title", {}, "<<Rain>>\nIt rains.", "<< >> it"),
        ("combination:two_responses", {}, "one\n******\ntwo", "one******one"),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. Yes.", "Yes."),
        ("startend:end_checker", {"end_phrase": "Bye."}, "So, bye.", "Bye. So"),
        ("startend:quotation", {}, '"so"', '"so'),
        ("change_case:english_capital", {}, "ALL OF IT", "All"),
        ("change_case:english_lowercase", {}, "all of it", "All"),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 1, "capital_relation": "at least"},
            "go NOW",
            "go now",
        ),
        ("punctuation:no_comma", {}, "a b", "a, b"),
    ],
)
def test_an_instruction_is_followed_or_not(kind: str, how: dict[str, object], good: str, bad: str) -> None:
    assert follows(good, kind, {**how, "of another kind": None}) and not follows(bad, kind, how)
    assert not follows("", kind, how)


def test_an_unknown_instruction_is_refused() -> None:
    with pytest.raises(InputError, match="'language:response_language' cannot be checked here"):
        follows("so", "language:response_language", {"language": "de"})


def test_the_four_shares_of_instructions_are_averaged() -> None:
    truth = json.dumps({"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}]})
    score = METRICS["instructions"]([truth, truth], ['"so"', 'Sure:\n"so"'])
    assert score.value == pytest.approx((1 / 2 + 1 + 3 / 4 + 1) / 4)


def test_shares_have_an_interval_and_count_empty_replies_as_wrong() -> None:
    score = METRICS["choice"](["A", "B", "C"], ["A", "It is B.", ""])
    assert score.value == pytest.approx(2 / 3) and score.low <= score.value <= score.high
    assert METRICS["refusal"](["refused"] * 2, ["Sorry.", ""]).value == 0.5
    assert METRICS["named_choice"](["a dog\na cat"], ["A dog."]).value == 1


def test_the_published_means_of_voicebench_follow_from_its_columns() -> None:
    """To the second digit, since the columns are rounded."""
    found: dict[str, dict[str, float]] = {}
    for one in PUBLISHED:
        if one.benchmark.startswith("voicebench-"):
            found.setdefault(one.model, {})[one.benchmark.removeprefix("voicebench-")] = one.value
    assert len(found) == 8
    for scores in found.values():
        mean = voicebench_overall({**scores, "sd-qa": scores["sd-qa"] / 100})
        assert mean == pytest.approx(scores["overall"], abs=0.06)
    with pytest.raises(InputError, match="no score of mmsu"):
        voicebench_overall({name: 1.0 for name in scores if name != "mmsu"})
