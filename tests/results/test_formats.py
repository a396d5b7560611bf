"""Results out: what is written reads back, whatever the words hold."""

from __future__ import annotations

import html
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from osum.errors import InputError
from osum.results.formats import FORMATS, SubtitleOptions, format_named, format_of, join_words, timestamp
from osum.results.table import table
from osum.utterance import Answer, Segment, Utterance, VocalEvent, Word

ODD = 'say "hi"\tto\n\n<b>&me --> you'
WORDS = (Word("hello", 0.5, 0.9, 0.87654), Word("world", 0.9, 1.4))
LABELS = {
    "SER": Answer("happy", 0.912345, {"happy": 0.912345, "sad": 0.087655}, "<happy>", evidence="real"),
    "SSR": Answer("日常口语", 0.4, evidence="synthetic"),
    "PITCH": Answer("high"),
}
CLIP = Utterance(
    "set/a b",
    "a b.wav",
    duration=3.0000004,
    language="en",
    segments=(
        Segment(0.5, 1.4, "hello world", words=WORDS, labels=LABELS, confidences=(0.98765, None)),
        Segment(1.5, 3.0, "bye", reply="see you"),
    ),
    extra={"start_note": 0.123456789},
)
SILENT = Utterance("s", "s.wav", segments=(Segment(0, 1, no_speech=True, no_speech_probability=0.98),))
FAILED = Utterance("f", "f.wav", error="f.wav: is empty, 0 bytes")


def render(name: str, utterance: Utterance = CLIP) -> str:
    return FORMATS[name].render(utterance)


def write(name: str, *utterances: Utterance) -> str:
    stream = io.StringIO()
    FORMATS[name].write(utterances, stream)
    return stream.getvalue()


def clip_of(text: str, words: tuple[Word, ...] = (), duration: float | None = None) -> Utterance:
    return Utterance("x", "x.wav", duration=duration, segments=(Segment(0.0, 2.0, text, words=words),))


# json, jsonl


def test_json_reads_back_as_the_same_utterance() -> None:
    exact = CLIP.with_(duration=3.0, segments=(Segment(0.5, 1.4, ODD, words=(Word("你", 0.25, 0.5, 0.875),)),))
    assert Utterance.from_dict(json.loads(render("json", exact))) == exact
    assert Utterance.from_dict(json.loads(render("jsonl", exact))) == exact


def test_json_rounds_times_and_probabilities_and_leaves_foreign_fields() -> None:
    row = json.loads(render("json"))
    answer = row["segments"][0]["labels"]["SER"]
    assert (row["duration"], row["version"], row["start_note"]) == (3.0, 1, 0.123456789)
    assert answer["distribution"] == {"happy": 0.9123, "sad": 0.0877}
    assert row["segments"][0]["words"][0]["confidence"] == 0.8765
    assert row["segments"][0]["confidences"] == [0.9877, None]


def test_json_of_several_is_an_array_even_of_one() -> None:
    assert [row["id"] for row in json.loads(write("json", CLIP, FAILED))] == ["set/a b", "f"]
    assert len(json.loads(write("json", CLIP))) == 1


@given(st.text())
def test_a_jsonl_row_is_one_line_whatever_the_text(text: str) -> None:
    written = render("jsonl", clip_of(text))
    assert written.splitlines() == [written.removesuffix("\n")]
    assert json.loads(written)["segments"][0]["text"] == text


def test_an_undecodable_file_name_survives_json() -> None:
    written = render("json", Utterance("x", "caf\udce9.wav"))
    assert json.loads(written.encode())["path"] == "caf\udce9.wav"


def test_a_number_that_is_none_becomes_null() -> None:
    assert json.loads(render("json", CLIP.with_(duration=float("nan"))))["duration"] is None


# txt, tsv


def test_txt_is_one_line_per_segment_with_the_reply_behind() -> None:
    assert render("txt") == "hello world\nbye\n> see you\n"


def test_txt_of_several_names_the_file_of_each_line() -> None:
    assert write("txt", CLIP.with_(channel=1), FAILED) == (
        "a b.wav#1\thello world\na b.wav#1\tbye\na b.wav#1\t> see you\nf.wav\t\n"
    )


def test_a_manifest_row_without_segments_is_written_by_its_own_fields() -> None:
    row = Utterance("x", "x.wav", start=1.0, duration=2.5, text="hello")
    assert render("txt", row) == "hello\n"
    assert "00:00:01,000 --> 00:00:03,500\nhello" in render("srt", row)


def test_tsv_has_whispers_columns_and_one_per_label() -> None:
    header, first, _, failed = (line.split("\t") for line in write("tsv", CLIP, FAILED).splitlines())
    row = dict(zip(header, first, strict=True))
    assert header[:3] == ["start", "end", "text"]
    assert (row["start"], row["end"], row["emotion"], row["pitch"]) == ("500", "1400", "happy", "high")
    assert dict(zip(header, failed, strict=True))["error"] == FAILED.error


@given(st.text())
def test_every_tsv_row_has_every_column(text: str) -> None:
    header, row = write("tsv", clip_of(text)).removesuffix("\n").split("\n")
    assert header.count("\t") == row.count("\t")


# srt, vtt


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


def test_chinese_characters_are_joined_without_spaces() -> None:
    assert join_words(Word(text, 0, 0) for text in ("你", "好", "hello", "world", "吗")) == "你好 hello world 吗"


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="max_line_width is 0"):
        SubtitleOptions(max_line_width=0)


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


def test_a_textgrid_has_every_tier_without_gaps() -> None:
    tiers = parse_textgrid(render("textgrid"))
    assert_tiled(tiers)
    assert list(tiers) == ["text", "words", "event", "emotion", "style", "gender", "age", "language", "pitch"]
    assert tiers["event"] == [(0.0, 3.0, "")]
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
        ";; set/a_b: no word times from 1.50 to 3.00 s; ask for the task SRWT",
    ]


def test_audacity_labels_are_words_then_what_was_heard() -> None:
    assert render("audacity").splitlines()[:3] == [
        "0.500000\t0.900000\thello",
        "0.900000\t1.400000\tworld",
        "0.500000\t1.400000\temotion: happy",
    ]


# The table


def shown(*utterances: Utterance, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(utterances))
    return console.file.getvalue()


def test_the_table_shows_labels_with_their_probability_and_marks_guesses() -> None:
    written = shown(CLIP)
    assert "happy 91%" in written
    assert "~everyday speech 40%" in written
    assert "~ not learned from real speech" in written
    assert "see you" in written


def test_the_table_says_no_speech_and_errors_as_rows() -> None:
    written = shown(SILENT, FAILED)
    assert "no speech 98%" in written
    assert "error: f.wav: is empty, 0 bytes" in written
    assert "emotion" not in written
    assert "~" not in written


def test_brackets_in_a_text_are_no_markup() -> None:
    assert "[red]hi[/]" in shown(clip_of("[red]hi[/]"))


# Choosing a format


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_renders_anything_and_is_found_by_its_suffix(name: str) -> None:
    for utterance in (CLIP, SILENT, FAILED, clip_of(ODD)):
        assert isinstance(render(name, utterance), str)
    assert format_of(Path(f"out{FORMATS[name].suffix.upper()}")) is FORMATS[name]


def test_an_unknown_format_lists_the_known() -> None:
    assert format_of(Path("out.doc")) is None
    with pytest.raises(InputError, match=r"'doc' is unknown; use one of json, jsonl"):
        format_named("doc")


def test_a_format_of_one_recording_refuses_two() -> None:
    assert write("srt", CLIP) == render("srt")
    with pytest.raises(InputError, match="srt holds one recording, not 2"):
        write("srt", CLIP, FAILED)
