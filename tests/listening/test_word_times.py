"""Whatever was measured, word times are in order, apart, inside the clip and of some length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.listening.word_times import ROOM, TextUnit, guessed, in_file, placed, spans_of, units_of
from osum.scoring.normalize import mixed_units
from osum.text import join_units
from osum.utterance import Word

tenths = st.integers(-50, 600).map(lambda number: number / 100)
spans = st.none() | st.tuples(tenths, tenths) | tenths.map(lambda time: (time, time))


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.text("abc新", min_size=1, max_size=12), spans), max_size=12),
    st.sampled_from([0.05, 0.5, 5.0]),
)
def test_words_are_in_order_apart_and_of_some_length(
    parts: list[tuple[str, tuple[float, float] | None]], seconds: float
) -> None:
    words = placed([text for text, _ in parts], [span for _, span in parts], seconds)
    assert [word.text for word in words] == [text for text, _ in parts]
    assert all(0 <= word.start < word.end <= seconds for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))
    if len(words) * ROOM <= seconds:
        assert all(word.end - word.start > 0.009 for word in words)
    measured = [word for word in words if not word.estimated]
    assert all(any(span and span[0] < word.end and span[1] > word.start for _, span in parts) for word in measured)


def test_the_worked_example() -> None:
    words = placed("abcde", [(0.1, 0.4), (1.9, 1.9), (0.6, 0.8), (0.7, 1.0), None], 2.0)
    times = [pytest.approx(span) for span in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.75), (0.75, 1.0), (1.0, 2.0))]
    assert [(word.start, word.end) for word in words] == times
    assert [word.estimated for word in words] == [False, True, False, False, True]
    assert guessed(words) == ["the times of 2 of 5 words are estimated"]
    assert guessed(words[:1]) == []


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_times_that_make_sense_stay_as_they_are(hundredths: list[int]) -> None:
    edges = [sum(hundredths[:at]) / 100 for at in range(len(hundredths) + 1)]
    good = [span for span in pairwise(edges) if span[1] - span[0] > 0.015]
    words = placed(["x"] * len(good), good, 10.0)
    assert [(word.start, word.end, word.estimated) for word in words] == [(*span, False) for span in good]


def test_one_wild_time_costs_only_its_own_word() -> None:
    words = placed("abcd", [(0.0, 0.5), (4.0, 4.5), (1.0, 1.5), (1.5, 2.0)], 5.0)
    assert [word.estimated for word in words] == [False, True, False, False]


def test_words_without_room_take_it_from_their_neighbours() -> None:
    words = placed("abcd", [(0.0, 1.0), None, None, (1.0, 2.0)], 2.0)
    assert all(word.estimated for word in words)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("And so, my fellow", ["And", "so,", "my", "fellow"]),
        ("你好，世界 ok ！", ["你", "好，", "世", "界", "ok！"]),
        ("« hello » — 42", ["«hello»—", "42"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_punctuation_belongs_to_a_word(text: str, units: list[str]) -> None:
    assert [unit.text for unit in units_of(text)] == units


@given(st.lists(st.sampled_from(["no", "don't", "新", "年", "42"]), max_size=12))
def test_of_a_transcript_the_words_are_its_units(parts: list[str]) -> None:
    text = join_units(parts)
    assert [unit.text for unit in units_of(text)] == mixed_units(text)


def test_timed_words_are_found_among_the_words_of_a_text() -> None:
    units = [TextUnit(text, text) for text in ("no", "no", "well", "known", "no")]
    found = spans_of([Word("no", 0, 1), Word("well known", 1, 3), Word("no", 3, 4)], units)
    assert found == [(0, 1), None, (1, 2), (2, 3), (3, 4)]


def test_words_in_file_time_have_the_confidence_of_the_text() -> None:
    words = (Word("a", 0.1, 0.2, estimated=True), Word("b", 0.2, 0.3))
    assert in_file(words, 10, [0.5, None]) == (Word("a", 10.1, 10.2, 0.5, True), Word("b", 10.2, 10.3))
    assert in_file(words, 0, [0.5]) == words
