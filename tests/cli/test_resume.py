"""`osum label --resume`, `--changed` and `--shard`: runs that continue what others began."""

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


@pytest.fixture
def corpus(clip: MakeClip, tmp_path: Path) -> Path:
    """Six recordings, the fifth of which is broken."""
    for number in range(6):
        clip(f"in/{number}.wav", seconds=0.1 + 0.01 * number)
    (tmp_path / "in/4.wav").write_text("this is text")
    return tmp_path / "in"


def test_a_run_that_was_interrupted_continues(
    osum: Run, corpus: Path, tmp_path: Path, model: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    label_files = model.label_files

    def stop_at_the_third(items: Any, options: Any, *_: Any) -> Any:
        for row in label_files(items, options):
            asked.append(row.id)
            if len(asked) == 3:
                raise KeyboardInterrupt
            yield row

    osum("label", corpus, "-o", tmp_path / "whole.jsonl")
    monkeypatch.setattr(model, "label_files", stop_at_the_third)
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--quiet")
    code, _, err = osum(*command)
    assert (code, err.split("\n")[0]) == (130, "osum: 2 of 6 done, 0 of them failed; continue with --resume")
    assert not (tmp_path / "rows.jsonl").exists()
    assert "has an unfinished run: continue with --resume" in osum(*command).err
    assert osum(*command, "--resume").code == 1
    assert asked == ["0", "1", "2", "2", "3", "4", "5"]
    assert (tmp_path / "rows.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()


def test_a_finished_run_answers_what_is_new_and_nothing_twice(
    osum: Run, corpus: Path, clip: MakeClip, tmp_path: Path
) -> None:
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume")
    assert osum(*command).code == 1
    clip("in/new.wav")
    assert "1 answered" in osum(*command).err
    assert [row["id"] for row in rows_of(tmp_path / "rows.jsonl")] == ["0", "1", "2", "3", "4", "5", "new"]


def test_what_failed_stays_an_error_until_it_is_asked_again(
    osum: Run, corpus: Path, clip: MakeClip, tmp_path: Path
) -> None:
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume")
    assert "1 of 6 failed; ask again with --resume --retry-failed" in osum(*command).err
    clip("in/4.wav")
    assert "1 failed in an earlier run" in osum(*command, "--quiet").err
    code, _, err = osum(*command, "--retry-failed", "--quiet")
    assert (code, err) == (0, "")
    assert [row["id"] for row in rows_of(tmp_path / "rows.jsonl") if "error" in row] == []
    assert len(rows_of(tmp_path / "rows.jsonl")) == 6


def test_a_recording_that_changed_is_reported_and_answered_again_when_asked(
    osum: Run, corpus: Path, clip: MakeClip, tmp_path: Path
) -> None:
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume")
    osum(*command)
    before = {row["id"]: row for row in rows_of(tmp_path / "rows.jsonl")}
    clip("in/1.wav", seconds=0.5)
    clip("in/4.wav", seconds=0.5)
    reported = osum(*command)
    assert "2 recordings have changed since they were answered: --changed answers them again" in reported.err
    assert {row["id"]: row for row in rows_of(tmp_path / "rows.jsonl")} == before
    again = osum(*command, "--changed")
    assert (again.code, "2 recordings have changed since they were answered: they are" in again.err) == (0, True)
    after = {row["id"]: row for row in rows_of(tmp_path / "rows.jsonl")}
    assert [name for name in before if after[name] != before[name]] == ["1", "4"]
    assert after["1"]["duration"] == 0.5 and "error" not in after["4"] and len(after) == 6
    assert "changed" not in osum(*command).err


def test_a_recording_that_is_gone_keeps_its_answer(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps({"id": "a", "path": str(clip("a.wav"))}) + "\n")
    command = ("label", tmp_path / "set.jsonl", "-o", tmp_path / "rows.jsonl", "--resume", "--changed")
    osum(*command)
    before = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "a.wav").unlink()
    assert "changed" not in osum(*command).err
    assert (tmp_path / "rows.jsonl").read_text() == before


def test_what_changed_is_about_an_earlier_run(osum: Run, clip: MakeClip, no_model: None) -> None:
    assert "--changed is about an earlier run: give --resume with it" in osum("label", clip(), "--changed").err


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["--tasks", "ASR"], 'now it is ["ASR"]'),
        (["--max-new-tokens", "3"], "with generation max_new_tokens null, and now it is 3"),
        (["--prompt-language", "zh"], 'with prompt_language null, and now it is "zh"'),
    ],
)
def test_a_run_that_asks_something_else_does_not_continue(
    osum: Run, corpus: Path, tmp_path: Path, words: list[str], reported: str
) -> None:
    osum("label", corpus, "-o", tmp_path / "rows.jsonl", "--quiet")
    before = (tmp_path / "rows.jsonl").read_text()
    code, out, err = osum("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume", *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert reported in err
    assert (tmp_path / "rows.jsonl").read_text() == before


def test_another_batch_size_continues(osum: Run, corpus: Path, tmp_path: Path) -> None:
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume", "--quiet")
    osum(*command)
    assert "failed in an earlier run" in osum(*command, "--batch-size", 2).err


def test_rows_of_nobody_knows_what_do_not_continue(osum: Run, corpus: Path, tmp_path: Path, model: StandIn) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": "0", "path": "0.wav"}\n')
    code, _, err = osum("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be used" in err


@pytest.mark.parametrize("line", ["no json", "[]", '{"id": "x"}', "7"])
def test_a_line_that_is_no_row_is_reported(osum: Run, corpus: Path, tmp_path: Path, line: str) -> None:
    command = ("label", corpus, "-o", tmp_path / "rows.jsonl", "--resume", "--quiet")
    osum(*command)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(line)
    code, _, err = osum(*command)
    assert (code, err.count("\n")) == (1, 1)
    assert "which is no row" in err


def test_a_run_begins_anew_when_asked(osum: Run, corpus: Path, clip: MakeClip, tmp_path: Path) -> None:
    command = ("label", clip("in/0.wav"), "-o", tmp_path / "rows.jsonl", "--quiet")
    osum("label", corpus, "-o", tmp_path / "rows.jsonl")
    assert "exists: continue with --resume, give another -o, or --overwrite" in osum(*command).err
    assert osum(*command, "--overwrite", "--prompt-language", "en").code == 0
    assert len(rows_of(tmp_path / "rows.jsonl")) == 1


def test_nothing_but_missing_files_continues_when_they_are_there(
    osum: Run, clip: MakeClip, tmp_path: Path, model: StandIn
) -> None:
    command = ("label", tmp_path / "a.wav", "-o", tmp_path / "rows.jsonl", "--resume", "--quiet")
    assert osum(*command).code == 1
    clip("a.wav")
    assert osum(*command, "--retry-failed").code == 0
    assert [row["text"] for row in rows_of(tmp_path / "rows.jsonl")] == ["hello there"]


def test_a_manifest_that_repeats_itself_keeps_every_row(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    rows = [{"id": "x", "path": str(clip()), "speaker": speaker} for speaker in ("ann", "ben")]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for _ in range(2):
        osum("label", tmp_path / "in.jsonl", "-o", tmp_path / "rows.jsonl", "--resume")
        assert [row["speaker"] for row in rows_of(tmp_path / "rows.jsonl")] == ["ann", "ben"]


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["--resume"], "not with standard output"),
        (["--resume", "-o", "folder"], "not with the folder folder"),
        (["--resume", "-o", "out.srt"], "not with srt in out.srt"),
        (["--resume", "--overwrite", "-o", "out.jsonl"], "give one of them"),
        (["--retry-failed", "-o", "out.jsonl"], "give --resume with it"),
        (["--resume", "-", "-o", "out.jsonl"], "cannot be read a second time"),
        (["-f", "parquet"], "give -o FILE.parquet"),
    ],
)
def test_what_cannot_continue_is_reported_in_a_line(
    osum: Run, clip: MakeClip, words: list[str], reported: str, no_model: None
) -> None:
    code, out, err = osum("label", clip(), *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reported in err


@pytest.mark.parametrize("word", ["4/4", "-1/4", "1", "a/b", "1/0", "/"])
def test_a_shard_that_is_none_is_wrong_usage(osum: Run, clip: MakeClip, word: str, no_model: None) -> None:
    code, _, err = osum("label", clip(), f"--shard={word}")
    assert (code, err.count("\n")) == (2, 1)


def test_shards_write_files_of_their_own_that_make_up_the_whole(osum: Run, corpus: Path, tmp_path: Path) -> None:
    osum("label", corpus, "-o", tmp_path / "rows.jsonl")
    parts = [tmp_path / f"rows-{index:05d}-of-00003.jsonl" for index in range(3)]
    for index in range(3):
        osum("label", corpus, "-o", tmp_path / "rows.jsonl", "--shard", f"{index}/3", "--resume")
    found = [line for part in parts for line in part.read_text().splitlines()]
    assert sorted(found) == sorted((tmp_path / "rows.jsonl").read_text().splitlines())


def test_shards_share_a_folder(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    rows = [{"id": name, "path": str(clip())} for name in ("up", "../up", "UP", "./up")]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for index in range(3):
        assert osum("label", tmp_path / "in.jsonl", "-o", tmp_path / "out", "--shard", f"{index}/3").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}.json" for name in ("up", "up-2", "UP-3", "up-4")
    }
