"""Results out: what is written reads back, whatever the words hold."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from osum.errors import InputError
from osum.results.formats import FORMATS, format_named, format_of
from osum.results.table import table
from osum.utterance import Segment, Utterance, Word
from tests.results.rows import CLIP, FAILED, ODD, SILENT, clip_of, render, write

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
