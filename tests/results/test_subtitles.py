"""Subtitles: what is written reads back, in order and within its limits."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import InputError
from osum.results.formats import format_named
from osum.results.subtitles import SubtitleOptions, timestamp
from osum.results.view import join_words
from osum.utterance import Segment, Utterance, Word
from tests.results.rows import CLIP, ODD, SILENT, clip_of, render


@given(st.floats(0, 360_000))
def test_a_timestamp_reads_back_to_the_millisecond(seconds: float) -> None:
    found = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3})", timestamp(seconds, ","))
    assert found is not None
    hours, minutes, rest, milliseconds = map(int, found.groups())
    assert ((hours * 60 + minutes) * 60 + rest) * 1000 + milliseconds == round(seconds * 1000)


def test_srt_numbers_its_cues_and_leaves_silence_out() -> None:
    assert render("srt") == (
        "1\n00:00:00,500 --> 00:00:01,400\nhello world\n\n2\n00:00:01,500 --> 00:00:03,000\nbye\n\n"
    )
    assert render("srt", SILENT) == ""


def test_vtt_begins_with_its_name_and_escapes_markup() -> None:
    assert render("vtt", clip_of(ODD)) == (
        'WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nsay "hi" to &lt;b&gt;&amp;me --&gt; you\n\n'
    )


@given(st.text())
def test_no_text_breaks_its_srt_cue(text: str) -> None:
    written = render("srt", clip_of(text))
    assert written.count("-->") == (1 if written else 0)
    assert len(written.split("\n")) == (5 if written else 1)


@given(st.text("ab 你好，", max_size=40), st.integers(1, 12))
def test_lines_keep_to_their_width_and_lose_nothing(text: str, width: int) -> None:
    written = format_named("srt", SubtitleOptions(max_line_width=width)).render(clip_of(text))
    lines = written.split("\n")[2:-2]
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= width or " " not in line for line in lines)


def test_more_lines_than_allowed_become_cues_with_the_times_of_their_words() -> None:
    written = format_named("srt", SubtitleOptions(max_line_width=5, max_line_count=1)).render(CLIP)
    assert "1\n00:00:00,500 --> 00:00:00,900\nhello\n\n2\n00:00:00,900 --> 00:00:01,400\nworld\n" in written


def test_highlighted_words_get_a_cue_each() -> None:
    written = format_named("vtt", SubtitleOptions(highlight_words=True)).render(CLIP)
    assert "00:00:00.500 --> 00:00:00.900\n<u>hello</u> world" in written
    assert "00:00:00.900 --> 00:00:01.400\nhello <u>world</u>" in written


def test_a_highlighted_cue_stays_between_its_words() -> None:
    words = (Word("hello", 0.5, 0.9), Word("world", 1.2, 1.4))
    written = format_named("vtt", SubtitleOptions(highlight_words=True)).render(clip_of("", words))
    assert "00:00:00.900 --> 00:00:01.200\nhello world\n" in written


def test_words_of_a_line_are_counted_unless_its_width_is_given() -> None:
    words = tuple(Word(text, at / 2, at / 2 + 0.5) for at, text in enumerate(["one", "two", "three"]))
    cues = read_srt(format_named("srt", SubtitleOptions(max_words_per_line=2)).render(clip_of("", words)))
    assert cues == [(0.0, 1.0, "one two"), (1.0, 1.5, "three")]
    both = SubtitleOptions(max_words_per_line=1, max_line_width=40, max_line_count=1)
    assert read_srt(format_named("srt", both).render(clip_of("", words))) == [(0.0, 2.0, "one two three")]
    untimed = format_named("srt", SubtitleOptions(max_words_per_line=2)).render(clip_of("one two three"))
    assert read_srt(untimed) == [(0.0, 2.0, "one two\nthree")]


def test_a_long_pause_ends_a_cue_that_may_be_cut() -> None:
    words = (Word("hello", 0.5, 0.9), Word("world", 4.0, 4.4))
    options = SubtitleOptions(max_line_width=40, max_line_count=2)
    assert read_srt(format_named("srt", options).render(clip_of("", words))) == [
        (0.5, 0.9, "hello"),
        (4.0, 4.4, "world"),
    ]
    assert len(read_srt(format_named("srt").render(clip_of("hello world", words)))) == 1


def read_srt(text: str) -> list[tuple[float, float, str]]:
    """An independent reader of SubRip and WebVTT: start, end (seconds) and text of each cue."""
    cues = []
    for block in re.split(r"\n\n+", text.strip()):
        lines = block.split("\n")
        at = next((n for n, line in enumerate(lines) if "-->" in line), None)
        if at is not None:
            times = [time.replace(",", ".").split(":") for time in lines[at].split(" --> ")]
            start, end = (int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in times)
            cues.append((start, end, "\n".join(lines[at + 1 :])))
    return cues


spoken = st.lists(
    st.tuples(st.text("ab<&你好", min_size=1, max_size=6), st.integers(1, 900), st.integers(0, 5000)), max_size=12
)
limits = st.none() | st.integers(1, 20)
subtitles = st.builds(SubtitleOptions, limits, limits, limits, st.booleans())


@given(spoken, subtitles, st.sampled_from(["srt", "vtt"]))
def test_subtitles_read_back_in_order_with_every_word_within_its_limits(
    parts: list[tuple[str, int, int]], options: SubtitleOptions, name: str
) -> None:
    words, at = [], 0
    for text, length, gap in parts:
        words.append(Word(text, at / 1000, (at + length) / 1000))
        at += length + gap
    clip = Utterance("x", "x.wav", segments=(Segment(0.0, at / 1000, join_words(words), words=tuple(words)),))
    cues = read_srt(format_named(name, options).render(clip))
    edges = [edge for start, end, _ in cues for edge in (start, end)]
    assert edges == sorted(edges)
    lines = [line for _, _, text in cues for line in html.unescape(re.sub("</?u>", "", text)).split("\n")]
    if not options.highlight_words:
        assert "".join(lines).replace(" ", "") == "".join(word.text for word in words)
    if options.max_line_count is not None and options.max_line_width is not None:
        assert all(text.count("\n") < options.max_line_count for _, _, text in cues)
    if options.max_line_width is not None:
        assert all(len(line) <= options.max_line_width or " " not in line for line in lines)
    elif options.max_words_per_line is not None:
        assert all(len(line.split()) <= options.max_words_per_line for line in lines)


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="max_line_width is 0"):
        SubtitleOptions(max_line_width=0)
