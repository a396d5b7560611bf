"""`osum align`: one clip with its text, or the rows of a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine.tiny_checkpoint import checkpoint_of

from cli.conftest import MakeClip, Run
from osum.listening.recognizer import Recognizer


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osum.cli.align.load_model", lambda _: Recognizer(checkpoint_of("speech_first")))


def test_the_words_of_a_text_come_with_their_times(osum: Run, clip: MakeClip) -> None:
    ran = osum("align", clip(seconds=1.0), "--text", "Good morning!")
    lines = [line.split() for line in ran.out.splitlines() if not line.startswith(";;")]
    assert ran.code == 0 and [line[4] for line in lines] == ["Good", "morning!"]
    assert float(lines[0][2]) + float(lines[0][3]) <= float(lines[1][2]) + 1e-6


def test_a_manifest_is_aligned_row_by_row_and_a_bad_row_is_reported(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip("a.wav", 0.5)
    rows = [{"id": "a", "path": "a.wav", "text": "hi there", "speaker": "s1"}, {"id": "b", "path": "a.wav"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    ran = osum("align", tmp_path / "m.jsonl", "-o", tmp_path / "out.jsonl")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text("utf8").splitlines())
    assert ran.code == 1 and "no text to align" in ran.err
    assert (first["text"], first["speaker"], len(first["words"])) == ("hi there", "s1", 2)
    assert "no text to align" in second["error"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a.wav", "b.wav"], "about one recording"),
        (["a.wav"], "unknown format"),
        (["a.wav"], "--text is empty: give what is said"),
    ],
)
def test_wrong_usage_is_one_line(osum: Run, clip: MakeClip, names: list[str], reason: str) -> None:
    options = ["-f", "txt"] if reason == "unknown format" else []
    text = " " if "empty" in reason else "hi"
    ran = osum("align", *(clip(name) for name in names), "--text", text, *options)
    assert ran.code == 2 and reason in ran.err and ran.err.count("\n") == 1


def test_tags_in_a_text_are_an_error_of_their_row(osum: Run, clip: MakeClip) -> None:
    ran = osum("align", clip(), "--text", "good <laugh> morning")
    assert ran.code == 1 and "holds < or >, which mark tags" in ran.err


def test_the_summary_says_how_much_was_aligned(osum: Run, clip: MakeClip) -> None:
    assert "1 answered, 0 failed, 1.0 s of audio" in osum("align", clip(seconds=1.0), "--text", "hi").err


def test_a_recording_that_is_not_there_is_reported(osum: Run) -> None:
    ran = osum("align", "absent.wav", "--text", "hi")
    assert ran.code == 1 and "absent.wav" in ran.err and ran.out == ""
