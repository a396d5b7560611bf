"""Subtitles: what is written reads back, in order and within its limits."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.errors import InputError
from osum.results.formats import format_named
from osum.results.subtitle_options import SubtitleOptions
from osum.results.subtitles import subtitles_of, timestamp
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


def test_words_of_a_line_are_counted_whether_its_width_is_given_or_not() -> None:
    words = tuple(Word(text, at / 2, at / 2 + 0.5) for at, text in enumerate(["one", "two", "three"]))
    cues = read_srt(format_named("srt", SubtitleOptions(max_words_per_line=2)).render(clip_of("", words)))
    assert cues == [(0.0, 1.0, "one two"), (1.0, 1.5, "three")]
    both = SubtitleOptions(max_words_per_line=1, max_line_width=40, max_line_count=1)
    alone = [(0.0, 0.5, "one"), (0.5, 1.0, "two"), (1.0, 1.5, "three")]
    assert read_srt(format_named("srt", both).render(clip_of("", words))) == alone
    narrow = SubtitleOptions(max_words_per_line=2, max_line_width=6, max_line_count=2)
    assert read_srt(format_named("srt", narrow).render(clip_of("", words))) == [
        (0.0, 1.0, "one\ntwo"),
        (1.0, 1.5, "three"),
    ]
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
    if options.max_words_per_line is not None:
        assert all(len(line.split()) <= options.max_words_per_line for line in lines)


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="max_line_width is 0"):
        SubtitleOptions(max_line_width=0)


# Any rows and options

wild = st.floats(-5, 20) | st.sampled_from([0.0, 1.0, 1.0001, 1e6])
texts = st.text("ab-> <&你好，。\n\t", max_size=30)
words = st.lists(st.builds(Word, st.text("ab-><&你好， ", max_size=9), wild, wild), max_size=8).map(tuple)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    found = draw(words)
    text = draw(st.just(join_words(found)) | texts)  # the words are those of the text, or any others
    return Segment(draw(wild), draw(wild), text, words=found)


rows = st.lists(segments(), max_size=4).map(tuple)
wishes = st.none() | st.floats(0.001, 30)
any_options = st.builds(SubtitleOptions, limits, limits, limits, st.booleans(), wishes, wishes)


def squashed(text: str) -> str:
    return re.sub("-{2,}>", "->", re.sub(r"\s", "", text))


def written_text(found: tuple[Segment, ...]) -> str:
    ordered = sorted(found, key=lambda segment: round(max(segment.start, 0.0) * 1000))
    return "".join(segment.text if segment.text.split() else join_words(segment.words) for segment in ordered)


def cues_of(found: tuple[Segment, ...], options: SubtitleOptions, name: str) -> list[tuple[int, int, str]]:
    written = format_named(name, options).render(Utterance("x", "x.wav", segments=found))
    return [(round(start * 1000), round(end * 1000), text) for start, end, text in read_srt(written)]


@settings(max_examples=300)
@given(rows, any_options, st.sampled_from(["srt", "vtt"]))
def test_every_cue_has_a_length_and_ends_before_the_next_starts(
    found: tuple[Segment, ...], options: SubtitleOptions, name: str
) -> None:
    cues = cues_of(found, options, name)
    assert all(start < end for start, end, _ in cues)
    assert all(before[1] <= after[0] for before, after in pairwise(cues))


@settings(max_examples=300)
@given(rows, any_options.map(lambda options: replace(options, highlight_words=False)), st.sampled_from(["srt", "vtt"]))
def test_no_character_of_the_text_is_lost_doubled_or_moved(
    found: tuple[Segment, ...], options: SubtitleOptions, name: str
) -> None:
    texts = [text if name == "srt" else html.unescape(text) for _, _, text in cues_of(found, options, name)]
    expected = "".join(written_text(found).split())
    assert squashed("".join(texts)) == squashed(expected)


@settings(max_examples=300)
@given(rows, any_options)
def test_limits_are_kept_whatever_the_text(found: tuple[Segment, ...], options: SubtitleOptions) -> None:
    for _, _, text in cues_of(found, options, "vtt"):
        lines = [html.unescape(line) for line in re.sub("</?u>", "", text).split("\n")]
        assert options.max_line_count is None or len(lines) <= options.max_line_count
        if options.max_line_width is not None:
            assert all(0 < len(line) <= options.max_line_width for line in lines)
        if options.max_words_per_line is not None:
            assert all(num_words(line) <= options.max_words_per_line for line in lines)


@given(words, any_options)
def test_each_part_of_a_text_with_word_times_is_underlined_once(
    found: tuple[Word, ...], options: SubtitleOptions
) -> None:
    text = join_words(found)
    clip = clip_of(text, found)
    cues = subtitles_of(clip, replace(options, highlight_words=True)).cues
    assert "".join(cue.marked.text for cue in cues if cue.marked) == "".join(text.split())


def num_words(line: str) -> int:
    return len(re.findall("[你好]|[^\\s你好]*[^\\s你好，。][^\\s你好]*", line))


@given(rows, any_options)
def test_a_cue_is_shown_as_long_as_wished_or_a_note_says_why_not(
    found: tuple[Segment, ...], options: SubtitleOptions
) -> None:
    options = replace(options, highlight_words=False)
    document = subtitles_of(Utterance("x", "x.wav", duration=10.0, segments=found), options)
    short = [
        cue
        for cue in document.cues
        if cue.end - cue.start < (options.min_cue_seconds or 0) * 1000
        or cue.num_characters > (options.max_characters_per_second or inf) * (cue.end - cue.start) / 1000 + 1e-6
    ]
    assert len(document.notes) == len(short)
    for before, after in pairwise(document.cues):
        assert before not in short or before.end == after.start
    assert all(cue.end >= 10_000 for cue in document.cues[-1:] if cue in short)


@given(rows, any_options)
def test_options_of_length_change_nothing_but_the_ends(found: tuple[Segment, ...], options: SubtitleOptions) -> None:
    clip = Utterance("x", "x.wav", duration=10.0, segments=found)
    wished = subtitles_of(clip, options).cues
    plain = subtitles_of(clip, replace(options, min_cue_seconds=None, max_characters_per_second=None)).cues
    assert [(cue.start, cue.text()) for cue in wished] == [(cue.start, cue.text()) for cue in plain]
    assert all(a.end >= b.end for a, b in zip(wished, plain, strict=True))


def test_a_cue_is_made_longer_up_to_the_next_and_a_note_says_so() -> None:
    options = SubtitleOptions(min_cue_seconds=2.0)
    clip = Utterance(
        "x", "x.wav", duration=5.0, segments=(Segment(0, 1, "a"), Segment(1.5, 2, "b"), Segment(4, 4.5, "c"))
    )
    document = subtitles_of(clip, options)
    assert [(cue.start, cue.end) for cue in document.cues] == [(0, 1500), (1500, 3500), (4000, 5000)]
    assert document.notes == (
        "the cue at 00:00:00.000 is shown for 1.500 s, not 2.000 s: the next cue starts",
        "the cue at 00:00:04.000 is shown for 1.000 s, not 2.000 s: the recording ends",
    )


def test_a_reading_speed_counts_characters_without_spaces() -> None:
    (cue,) = subtitles_of(clip_of("ab cd 你好" * 5), SubtitleOptions(max_characters_per_second=10)).cues
    assert (cue.start, cue.end) == (0, 3000)


def test_text_without_word_times_is_cut_by_its_characters() -> None:
    options = SubtitleOptions(max_line_width=4, max_line_count=1)
    assert read_srt(format_named("srt", options).render(clip_of("ab cdefgh你好"))) == [
        (0.0, 0.4, "ab"),
        (0.4, 1.2, "cdef"),
        (1.2, 2.0, "gh你好"),
    ]


def test_a_long_word_is_broken_at_the_width_and_keeps_its_own_time() -> None:
    options = SubtitleOptions(max_line_width=4, max_line_count=1)
    long = (Word("ab", 0.0, 0.5), Word("cdefghij", 1.0, 2.0))
    assert read_srt(format_named("srt", options).render(clip_of("ab cdefghij", long))) == [
        (0.0, 0.5, "ab"),
        (1.0, 1.5, "cdef"),
        (1.5, 2.0, "ghij"),
    ]


def test_a_word_that_runs_backward_shares_the_room_between_its_neighbours() -> None:
    bad = (Word("aa", 0.0, 0.5), Word("bb", 9.0, 8.0), Word("cc", 1.5, 2.0))
    options = SubtitleOptions(max_words_per_line=1)
    assert read_srt(format_named("srt", options).render(clip_of("aa bb cc", bad))) == [
        (0.0, 0.5, "aa"),
        (0.5, 1.5, "bb"),
        (1.5, 2.0, "cc"),
    ]


def test_segments_that_overlap_or_have_no_length_become_cues_in_a_row() -> None:
    clip = Utterance("x", "x.wav", segments=(Segment(0, 2, "a"), Segment(1, 1, "b"), Segment(1, 3, "c")))
    assert read_srt(render("srt", clip)) == [(0.0, 1.0, "a"), (1.0, 1.001, "b"), (1.001, 3.0, "c")]


@pytest.mark.parametrize("name", ["min_cue_seconds", "max_characters_per_second"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_wish_that_is_no_number_over_zero_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}"):
        SubtitleOptions(**{name: value})
