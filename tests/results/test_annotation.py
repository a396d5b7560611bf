"""TextGrid, CTM and Audacity: each reads back by the rules of its own tool."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from osum.utterance import VocalEvent, Word
from tests.results.rows import CLIP, FAILED, ODD, clip_of, render

# TextGrid


def praat_tokens(text: str) -> list[str]:
    """What Praat reads of a text file: strings in quotes, numbers and flags that stand alone; all else it skips."""
    words = re.findall(r'"(?:[^"]|"")*"(?!\S)|\S+', text)
    assert not any(word.startswith("!") for word in words), "a comment"
    return [word for word in words if re.fullmatch(r'"(?:[^"]|"")*"|-?\d+(\.\d+)?|<\w+>', word)]


def parse_textgrid(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """An independent reader by Praat's rules: tier name to (xmin, xmax, text); nothing is missing and nothing over."""
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n')
    tokens = iter(praat_tokens(text))

    def string() -> str:
        token = next(tokens)
        assert token.startswith('"'), token
        return token[1:-1].replace('""', '"')

    def number() -> float:
        return float(next(tokens))

    assert (string(), string()) == ("ooTextFile", "TextGrid")
    whole = (number(), number())
    assert (whole[0], next(tokens)) == (0.0, "<exists>") and whole[1] > 0
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for _ in range(int(next(tokens))):
        assert string() == "IntervalTier"
        name = string()
        assert (number(), number()) == whole
        tiers[name] = [(number(), number(), string()) for _ in range(int(next(tokens)))]
    assert list(tokens) == []
    return tiers


def assert_tiled(tiers: dict[str, list[tuple[float, float, str]]]) -> None:
    ends = {marks[-1][1] for marks in tiers.values()}
    assert len(ends) == 1
    for marks in tiers.values():
        assert marks[0][0] == 0
        assert all(start < end for start, end, _ in marks)
        assert all(before[1] == after[0] for before, after in pairwise(marks))


def test_a_textgrid_has_a_tier_for_all_that_was_asked_without_gaps() -> None:
    tiers = parse_textgrid(render("textgrid"))
    assert_tiled(tiers)
    assert list(tiers) == ["text", "words", "emotion", "style", "pitch"]
    assert tiers["words"][1:3] == [(0.5, 0.9, "hello"), (0.9, 1.4, "world")]
    assert (0.5, 1.4, "happy") in tiers["emotion"]


times = st.floats(0, 20)


@given(st.lists(st.builds(Word, st.text(st.characters(categories=["L", "P"]), min_size=1), times, times)))
def test_any_word_times_make_a_textgrid_that_tiles_and_keeps_every_word(words: list[Word]) -> None:
    tiers = parse_textgrid(render("textgrid", clip_of("", tuple(words), duration=5.0)))
    assert_tiled(tiers)
    written = "".join(label for _, _, label in tiers["words"]).replace(" ", "")
    assert sorted(written) == sorted("".join(word.text for word in words).replace(" ", ""))


def test_a_textgrid_has_a_tier_of_events_with_their_probabilities() -> None:
    events = (VocalEvent(1.0, 2.0, "laugh", 0.934), VocalEvent(2.0, 3.0, "cry"))
    tiers = parse_textgrid(render("textgrid", clip_of("hi", duration=5.0).with_(events=events)))
    assert tiers["events"] == [(0, 1, ""), (1, 2, "laugh 0.93"), (2, 3, "cry"), (3, 5, "")]
    assert "events" not in parse_textgrid(render("textgrid", clip_of("hi", duration=5.0)))


def test_quotes_in_a_textgrid_are_doubled() -> None:
    assert '"say ""hi"" to <b>&me --> you"' in render("textgrid", clip_of(ODD))


def test_an_utterance_of_nothing_is_still_a_textgrid() -> None:
    assert_tiled(parse_textgrid(render("textgrid", FAILED)))


# ctm, Audacity


def test_ctm_has_start_and_length_of_each_word() -> None:
    assert render("ctm", CLIP.with_(channel=1)).splitlines() == [
        "set/a_b 2 0.500 0.400 hello 0.8765",
        "set/a_b 2 0.900 0.500 world",
        ";; set/a_b: no word times from 1.50 to 3.00 s; ask for word times",
    ]


def test_audacity_labels_are_words_then_what_was_detected() -> None:
    assert render("audacity").splitlines()[:3] == [
        "0.500000\t0.900000\thello",
        "0.900000\t1.400000\tworld",
        "0.500000\t1.400000\temotion: happy",
    ]
