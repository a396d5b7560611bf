"""Free answers: one label named is read, none or several are not, whatever stands around."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.tasks import AGES, EMOTIONS, GENDERS, LANGUAGES, OSUM, LabelSet
from osum.tasks.free_answer import read_label, read_transcript

(EVENTS,) = OSUM["VED"].label_sets
SETS = tuple(OSUM.label_sets.values())


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        (GENDERS, "The speaker is a woman, in her twenties.", "female"),
        (GENDERS, "说话人是女性。", "female"),
        (GENDERS, "It is an old man.", "male"),
        (AGES, "It is an old man.", "old"),
        (AGES, "Old.", "old"),
        (AGES, "A young adult, 25 years old.", "adult"),
        (AGES, "middle age", "adult"),
        (EMOTIONS, "He isn't happy, he is sad.", "sad"),
        (EMOTIONS, "unhappy", "sad"),
        (EMOTIONS, "joy", "happy"),
        (EVENTS, "Laughter", "laugh"),
        (EVENTS, "A person clearing his throat", "throat clearing"),
        (EVENTS, "no laughter, only a cough", "cough"),
        (LANGUAGES, "<|zh|>", "zh"),
        (LANGUAGES, "The language is Mandarin Chinese.", "zh"),
    ],
)
def test_one_label_named_is_read(labels: LabelSet, answer: str, label: str) -> None:
    assert read_label(answer, labels) == (label, ())


@pytest.mark.parametrize(
    ("labels", "answer", "problem"),
    [
        (GENDERS, "female or male", "names several labels: female, male"),
        (EMOTIONS, "He is not angry.", "names no label of emotion"),
        (AGES, "The speaker is 25 years old.", "names no label of age"),
        (EMOTIONS, "", "names no label of emotion"),
    ],
)
def test_none_or_several_are_not_read(labels: LabelSet, answer: str, problem: str) -> None:
    assert read_label(answer, labels) == (None, (problem,))


@pytest.mark.parametrize("labels", SETS, ids=lambda labels: labels.name)
def test_every_label_is_read_from_its_own_name_alone_and_in_a_sentence(labels: LabelSet) -> None:
    for label in labels.labels:
        assert read_label(f" {label.upper()}.", labels) == (label, ())
        assert read_label(f"I hear: {label}!", labels) == (label, ())


@given(st.text(max_size=40), st.sampled_from(SETS))
def test_any_text_gives_a_label_of_the_set_or_a_problem(text: str, labels: LabelSet) -> None:
    label, problems = read_label(text, labels)
    assert (label in labels.labels) != bool(problems)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("The original content of this audio is: 'good morning.'", "good morning."),
        ('The speech is in English, saying "it\'s fine".', "it's fine"),
        ("<|en|>mister quilter  is", "mister quilter is"),
        ("the man's hat is 'red'", "the man's hat is 'red'"),
        ("this is a test", "this is a test"),
    ],
)
def test_a_transcript_stands_without_what_is_around_it(answer: str, text: str) -> None:
    assert read_transcript(answer) == text
