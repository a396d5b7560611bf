"""`osum transcribe`: the text alone, word times and subtitles."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import MakeClip, Run, StandIn

pytestmark = pytest.mark.usefixtures("model")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pipe_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_transcribe_prints_the_text_alone(osum: Run, clip: MakeClip, model: StandIn) -> None:
    assert osum("transcribe", clip()).out == "hello there\n"
    assert model.options.tasks == "ASR"


NEED_WORDS = [
    ["--word_timestamps", "True"],
    ["--word-timestamps"],
    ["-f", "ctm"],
    ["-f", "srt", "--max_line_width", "20", "--max_line_count", "1"],
    ["-f", "vtt", "--highlight-words"],
]


@pytest.mark.parametrize("words", NEED_WORDS)
def test_word_times_are_asked_for_where_they_are_needed(
    osum: Run, clip: MakeClip, model: StandIn, words: list[str]
) -> None:
    osum("transcribe", clip(), *words)
    assert (model.options.tasks, model.options.word_times) == ("ASR", True)


@pytest.mark.parametrize("spelling", ["--max-line-width", "--max_line_width"])
@pytest.mark.parametrize("to_file", [False, True], ids=["standard output", "file"])
def test_subtitles_keep_to_the_line_width(
    osum: Run, clip: MakeClip, model: StandIn, tmp_path: Path, spelling: str, to_file: bool
) -> None:
    place = ["-o", tmp_path / "out.srt"] if to_file else ["-f", "srt"]
    out = osum("transcribe", clip(), spelling, "5", *place).out
    written = (tmp_path / "out.srt").read_text() if to_file else out
    assert "\nhello\nthere\n" in written and model.options.tasks == "ASR"


@pytest.mark.parametrize("wish", [("--min-cue-length", "60"), ("--max-reading-speed", "0.1")])
def test_cues_that_are_shorter_than_wished_are_counted_once(
    osum: Run, clip: MakeClip, model: StandIn, tmp_path: Path, wish: tuple[str, str]
) -> None:
    two = (clip("a.wav"), clip("b.wav"))
    ran = osum("transcribe", *two, *wish, "-f", "all", "-o", tmp_path / "out")
    assert (ran.code, ran.err.count("than wished: 2; the first: "), ran.err.count("the recording ends")) == (0, 1, 1)
    assert "than wished" not in osum("transcribe", *two, *wish, "-f", "txt").err


def test_a_line_count_without_a_width_gets_a_note(osum: Run, clip: MakeClip, model: StandIn) -> None:
    note = "--max-line-count changes nothing without --max-line-width"
    words = ("transcribe", clip(), "-f", "srt", "--max-line-count", "1")
    assert note in osum(*words).err
    assert note not in osum(*words, "--max-line-width", "20").err + osum(*words, "--quiet").err


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "x"])
def test_a_cue_length_over_zero_is_needed(osum: Run, clip: MakeClip, number: str) -> None:
    ran = osum("transcribe", clip(), f"--min-cue-length={number}")
    assert (ran.code, f"{number!r} is no number over 0" in ran.err) == (2, True)


def test_two_ways_to_a_transcript_are_one_too_many(osum: Run, clip: MakeClip) -> None:
    ran = osum("label", clip(), "--transcript", "given", "--transcriber", "nano")
    assert (ran.code, "--transcript given takes the rows' own texts" in ran.err) == (2, True)
    assert "majority needs the setting" in osum("label", clip(), "--transcriber", "majority").err
