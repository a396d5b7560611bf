"""What of a reply was played: by the clock, by the listener's word, and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.dialogue.playback import Playback, played_text
from osum.utterance import Word

WORDS = (Word("good", 0, 0.4), Word("morning", 0.4, 1.1), Word("sir", 1.1, 1.6))


def test_the_worked_example() -> None:
    playback = Playback().add(1.0, 10.0).add(1.0, 10.5)
    assert playback.position(11.2) == pytest.approx(1.2)
    assert played_text("good morning sir", WORDS, 1.2, 2.0) == "good morning"


def test_a_queue_that_ran_dry_plays_on_when_more_comes() -> None:
    playback = Playback().add(1.0, 0.0).add(1.0, 5.0)
    assert playback.position(5.5) == pytest.approx(1.5) and not playback.plays(6.0)


def test_a_pause_costs_nothing() -> None:
    playback = Playback().add(2.0, 0.0).pause(0.5)
    assert playback.position(9.0) == pytest.approx(0.5)
    assert playback.resume(9.0).position(9.5) == pytest.approx(1.0)


def test_the_report_of_a_listener_replaces_the_clock_within_what_was_sent() -> None:
    assert Playback().add(1.0, 0.0).reported(0.2, 0.9).position(0.9) == pytest.approx(0.2)
    assert Playback().add(1.0, 0.0).reported(7.0, 0.9).position(0.9) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "position", "kept"),
    [
        ("Good morning, sir!", 0.39, ""),
        ("Good morning, sir!", 0.4, "Good"),
        ("Good morning, sir!", 1.1, "Good morning,"),
        ("Good morning, sir!", 1.6, "Good morning, sir!"),
    ],
)
def test_a_word_is_played_when_its_end_is(text: str, position: float, kept: str) -> None:
    assert played_text(text, WORDS, position, 1.6) == kept


def test_a_text_without_times_is_cut_by_its_length() -> None:
    assert played_text("one two six ten", (), 2.0, 4.0) == "one two"
    assert played_text("你好世界", (), 2.0, 4.0) == "你好"


def test_repeated_words_are_cut_at_the_right_one() -> None:
    words = tuple(Word("no", at, at + 1.0) for at in range(4))
    assert played_text("no no no no", words, 2.5, 4.0) == "no no"


def test_a_reply_whose_end_is_not_known_is_cut_by_a_usual_rate() -> None:
    assert played_text("a b c d e f g h i j k l m n", (), 0.5, None).startswith("a b")
    assert not played_text("a b c d e f g h i j k l m n", (), 0.5, None).endswith("n")


@given(st.text("ab ,.你好", max_size=30), st.floats(0, 9), st.one_of(st.none(), st.floats(0.1, 9)))
def test_what_is_kept_is_a_beginning_of_the_text(text: str, position: float, seconds: float | None) -> None:
    assert text.startswith(played_text(text, (), position, seconds))
