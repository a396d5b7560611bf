"""`osum label` and `osum transcribe`: what is read, what is written where, and how failures are reported."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import MakeClip, Run, StandIn
from osum.cli import label
from osum.cli.outputs import ALL, PARQUET, TABLE
from osum.corpus.manifest import read_manifest
from osum.errors import OsumError
from osum.results.formats import FORMATS

pytestmark = pytest.mark.usefixtures("model")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pipe_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


# Formats on standard output


def test_the_names_in_help_are_those_that_osum_knows() -> None:
    assert (TABLE, *FORMATS, PARQUET, ALL) == label.FORMATS


def test_without_options_a_table_is_drawn(osum: Run, clip: MakeClip) -> None:
    code, out, err = osum("label", clip())
    assert code == 0
    assert "hello there" in out
    assert "female" in out
    assert "1 answered, 0 failed, 0.3 s of audio" in err


def test_one_recording_is_a_json_object(osum: Run, clip: MakeClip) -> None:
    row = json.loads(osum("label", clip(), "-f", "json").out)
    assert (row["version"], row["id"], row["text"], row["model"]) == (1, "clip", "hello there", "stand-in")


def test_several_recordings_are_a_json_array(osum: Run, clip: MakeClip) -> None:
    out = osum("label", clip("a.wav"), clip("b.wav"), "-f", "json").out
    assert [row["id"] for row in json.loads(out)] == ["a", "b"]


@pytest.mark.parametrize("spelling", ["-f", "--format", "--output-format", "--output_format"])
def test_every_spelling_of_the_format_is_taken(osum: Run, clip: MakeClip, spelling: str) -> None:
    assert osum("label", clip(), spelling, "JSONL").out.count("\n") == 1


@pytest.mark.parametrize("form", ["srt", "vtt", "textgrid", "audacity"])
def test_a_format_for_one_recording_refuses_two(osum: Run, clip: MakeClip, form: str) -> None:
    code, out, err = osum("label", clip("a.wav"), clip("b.wav"), "-f", form)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "give -o FOLDER" in err


# Inputs


def test_folders_and_globs_are_searched_and_nothing_is_asked_twice(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip("a.wav"), clip("in/b.wav")
    out = osum("label", tmp_path, tmp_path / "*.wav", tmp_path / "a.wav", "-f", "txt").out
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(tmp_path / "a.wav"), str(tmp_path / "in/b.wav")]


def test_paths_may_stand_on_both_sides_of_an_option(osum: Run, clip: MakeClip) -> None:
    assert osum("label", clip("a.wav"), "-f", "jsonl", clip("b.wav")).out.count("\n") == 2


def test_a_manifest_keeps_its_fields_and_its_stretch(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip(seconds=1.0)
    row = {"id": "x/1", "path": "clip.wav", "start": 0.5, "speaker": "ann", "room": 7}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    found = json.loads(osum("label", tmp_path / "in.jsonl", "-f", "jsonl").out)
    assert (found["id"], found["speaker"], found["room"], found["duration"]) == ("x/1", "ann", 7, 0.5)


def test_each_channel_is_a_row_of_its_own(osum: Run, clip: MakeClip) -> None:
    out = osum("label", clip(channels=2), "--channel", "each", "-f", "jsonl").out
    assert [(row["id"], row["channel"]) for row in map(json.loads, out.splitlines())] == [
        ("clip-ch0", 0),
        ("clip-ch1", 1),
    ]


def test_a_channel_that_is_not_there_is_an_error(osum: Run, clip: MakeClip) -> None:
    code, _, err = osum("label", clip(), "--channel", "3")
    assert code == 1
    assert "no channel 3" in err


def test_standard_input_is_a_recording(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, clip().read_bytes())
    row = json.loads(osum("label", "-", "-f", "json").out)
    assert (row["id"], row["path"], row["text"]) == ("stdin", "-", "hello there")


def test_a_keyboard_is_no_recording(osum: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert "standard input is the keyboard" in osum("label", "-").err


def test_noise_on_standard_input_is_reported_as_such(osum: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"no audio")
    code, _, err = osum("label", "-", "--quiet")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("osum: error: -: is no audio")


def test_paths_are_read_from_a_list(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{clip('a.wav')}\n\n{clip('b.wav')}\n")
    assert osum("label", "--files-from", tmp_path / "list.txt", "-f", "jsonl").out.count("\n") == 2


def test_a_list_that_is_not_there_is_an_error(osum: Run, tmp_path: Path) -> None:
    assert "--files-from" in osum("label", "--files-from", tmp_path / "no.txt").err


def test_no_input_is_an_error(osum: Run) -> None:
    assert "no input" in osum("label").err


def test_an_empty_manifest_is_an_error(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n")
    code, _, err = osum("label", tmp_path / "in.jsonl")
    assert (code, err.count("\n")) == (1, 1)
    assert "no rows" in err


def test_a_broken_manifest_names_its_line(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "1"}\n')
    assert "in.jsonl:1: " in osum("label", tmp_path / "in.jsonl").err


# Outputs


def test_a_known_suffix_is_one_file_that_trains(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip("in/a.wav"), clip("in/b.wav")
    assert osum("label", tmp_path / "in", "-o", tmp_path / "out/rows.jsonl").out == ""
    assert [row.path for row in read_manifest(tmp_path / "out/rows.jsonl")] == [
        str(tmp_path / "in/a.wav"),
        str(tmp_path / "in/b.wav"),
    ]


def test_a_manifest_next_to_its_clips_names_them_shortly(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    osum("label", clip("in/a.wav"), "-o", tmp_path / "in/rows.jsonl")
    assert rows_of(tmp_path / "in/rows.jsonl")[0]["path"] == "a.wav"


def test_a_folder_mirrors_the_inputs(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip("in/x/a.wav"), clip("in/y/a.wav"), clip("in/b.wav")
    osum("label", tmp_path / "in", "-o", tmp_path / "out", "-f", "srt")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.srt")) == [
        "b.srt",
        "x/a.srt",
        "y/a.srt",
    ]


def test_two_suffixes_of_one_name_do_not_collide(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    osum("label", clip("a.wav"), clip("a.flac"), "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.wav.json", "a.flac.json"}


def test_two_ids_of_one_name_do_not_collide_and_stay_inside(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    rows = [{"id": "../../up", "path": str(clip()), "start": start} for start in (0.0, 0.1)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    osum("label", tmp_path / "in.jsonl", "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"up.json", "up-2.json"}


def test_all_formats_of_whisper_at_once(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    osum("transcribe", clip(), "--output_format", "all", "--output_dir", tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".txt", ".vtt", ".srt", ".tsv", ".json"}


def test_results_are_never_replaced_unasked(osum: Run, clip: MakeClip, tmp_path: Path, no_model: None) -> None:
    (tmp_path / "out.json").write_text("mine")
    code, _, err = osum("label", clip(), "-o", tmp_path / "out.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "--overwrite" in err
    assert (tmp_path / "out.json").read_text() == "mine"


def test_results_are_replaced_when_asked(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("mine")
    osum("label", clip(), "-o", tmp_path / "out.txt", "--overwrite")
    assert (tmp_path / "out.txt").read_text() == "hello there\n"


def test_a_taken_file_in_a_folder_stops_the_run(osum: Run, clip: MakeClip, tmp_path: Path, no_model: None) -> None:
    clip("in/a.wav"), clip("in/b.wav")
    (tmp_path / "a.json").write_text("mine")
    assert "a.json exists" in osum("label", tmp_path / "in", "-o", tmp_path).err


def test_an_unwritable_place_is_found_before_the_model_runs(osum: Run, clip: MakeClip, no_model: None) -> None:
    code, _, err = osum("label", clip(), "-o", "/proc/nowhere/out.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be written" in err


def test_a_file_in_place_of_a_folder_is_found_before_the_model_runs(osum: Run, clip: MakeClip, no_model: None) -> None:
    assert "cannot be written" in osum("label", clip(), "-o", clip("taken.bin.wav") / "out").err


def test_a_format_and_a_suffix_must_agree(osum: Run, clip: MakeClip, tmp_path: Path, no_model: None) -> None:
    assert "make the two agree" in osum("label", clip(), "-f", "srt", "-o", tmp_path / "out.json").err


def test_a_failed_run_leaves_what_was_there(
    osum: Run, clip: MakeClip, tmp_path: Path, model: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OsumError("no luck")

    monkeypatch.setattr(model, "label_files", fail)
    (tmp_path / "out.json").write_text("mine")
    assert osum("label", clip(), "-o", tmp_path / "out.json", "--overwrite").code == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["clip.wav", "out.json"]
    assert (tmp_path / "out.json").read_text() == "mine"


def test_an_interrupted_run_keeps_the_rows_it_has(
    osum: Run, clip: MakeClip, tmp_path: Path, model: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_then_stop(items: Any, *_: object) -> Any:
        yield from islice(items, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "label_files", two_then_stop)
    code, _, err = osum("label", *(clip(f"{n}.wav") for n in range(4)), "-o", tmp_path / "out.txt")
    assert (code, (tmp_path / "out.txt").read_text().count("\n")) == (130, 2)
    assert "2 of 4 done, 0 of them failed\n" in err


# Failures


def test_one_bad_recording_of_ten_leaves_nine_results(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    for number in range(10):
        clip(f"in/{number}.wav")
    (tmp_path / "in/4.wav").write_text("this is text")
    code, _, err = osum("label", tmp_path / "in", "-o", tmp_path / "out", "--quiet")
    assert code == 1
    assert err.count("osum: error: ") == 1
    assert len(list((tmp_path / "out").glob("*.json"))) == 9


def test_what_failed_is_listed_and_leaves_the_list_when_it_is_answered(
    osum: Run, clip: MakeClip, tmp_path: Path
) -> None:
    good, bad, failed = clip("in/good.wav"), tmp_path / "in/bad.wav", tmp_path / "out/failed.jsonl"
    bad.write_text("")
    assert osum("label", good.parent, "-o", tmp_path / "out").code == 1
    assert [row.id for row in read_manifest(failed)] == ["bad"]
    bad.write_bytes(good.read_bytes())
    assert osum("label", failed, "-o", tmp_path / "out").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.json", "bad.json"}


def test_other_runs_failures_stay_listed(osum: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        osum("label", tmp_path / f"{name}.wav", "-o", tmp_path / f"{name}.json")
    assert [row.id for row in read_manifest(tmp_path / "failed.jsonl")] == ["a", "b"]


def test_a_failure_alone_writes_no_empty_subtitles(osum: Run, tmp_path: Path) -> None:
    osum("label", tmp_path / "no.wav", "-o", tmp_path / "out.srt")
    assert not (tmp_path / "out.srt").exists()


def test_missing_files_alone_load_no_model(osum: Run, tmp_path: Path, no_model: None) -> None:
    code, _, err = osum("label", tmp_path / "no.wav")
    assert (code, err.count("\n")) == (1, 1)
    assert "no such file" in err


def test_a_folder_without_audio_is_reported_next_to_good_answers(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = osum("label", tmp_path / "empty", clip(), "-f", "txt", "--quiet")
    assert (code, out.count("hello there"), err.count("\n")) == (1, 1, 1)
    assert "no audio in it" in err


# What is asked, and what is reported


def test_an_unknown_task_is_found_before_anything_is_written(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    code, _, err = osum("label", clip(), "--tasks", "emotoin", "-o", tmp_path / "out.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean 'emotion'" in err
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_prompt_language_is_an_error(osum: Run, clip: MakeClip) -> None:
    assert "no prompts in 'fr'" in osum("label", clip(), "--prompt-language", "fr").err


def test_options_reach_the_model(osum: Run, clip: MakeClip, model: StandIn) -> None:
    osum("label", clip(), "--tasks", "SER,gender", "--prompt-language", "zh", "--batch-size", 2, "--release-decoding")
    assert (model.options.tasks, model.options.prompt_language, model.options.batch_size) == ("SER,gender", "zh", 2)
    assert (model.options.generation.num_beams, model.options.generation.seed) == (4, 777)


def test_a_doubt_reaches_the_model_and_must_be_a_probability(osum: Run, clip: MakeClip, model: StandIn) -> None:
    osum("label", clip(), "--min-confidence", 0.5, "--num-workers", 2, "--vad", "energy")
    assert (model.options.min_confidence, model.options.num_workers, model.options.vad) == (0.5, 2, "energy")
    code, _, err = osum("label", clip(), "--min-confidence", "50")
    assert (code, err.count("\n")) == (2, 1)


def test_the_end_counts_every_label_and_marks_guesses(osum: Run, clip: MakeClip) -> None:
    err = osum("label", clip("a.wav"), clip("b.wav")).err
    assert "SGC: female 2\n" in err
    assert "SSR: everyday speech 2" in err


def test_quiet_reports_errors_only(osum: Run, clip: MakeClip) -> None:
    assert osum("label", clip(), "--quiet").err == ""


def test_a_dry_run_shows_the_plan_and_writes_nothing(osum: Run, clip: MakeClip, tmp_path: Path, no_model: None) -> None:
    path = clip(seconds=0.5)
    code, out, err = osum("label", path, "-o", tmp_path / "out", "--dry-run")
    assert (code, out.split()) == (0, ["0.50", "s", str(path), "->", str(tmp_path / "out/clip.json")])
    assert "1 recordings, 0.5 s" in err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_finds_bad_files(osum: Run, tmp_path: Path, no_model: None) -> None:
    (tmp_path / "bad.wav").write_text("this is text")
    assert osum("label", tmp_path, "--dry-run").code == 1


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        (["--tasks", "SERR"], 2, "did you mean"),
        (["--model", "nanno"], 1, "model 'nanno' is unknown"),
        (["--prompt-language", "fr"], 2, "no prompts in 'fr'"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(
    osum: Run, clip: MakeClip, words: list[str], code: int, reported: str, no_model: None
) -> None:
    ran = osum("label", clip(), "--dry-run", *words)
    assert (ran.code, ran.out, ran.err.count("\n"), reported in ran.err) == (code, "", 1, True)


def test_a_dry_run_of_a_model_on_the_hub_fetches_nothing(
    osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch, no_model: None
) -> None:
    monkeypatch.setattr("osum.checkpoints.locate.fetch", None)
    ran = osum("label", clip(), "--dry-run", "--model", "owner/name")
    assert ran.code == 0 and "owner/name is not on this machine yet; its tasks are not checked" in ran.err


def test_a_dry_run_shows_what_a_run_that_continues_would_answer(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip("in/a.wav")
    (tmp_path / "in/b.wav").write_text("this is text")
    command = ("label", tmp_path / "in", "-o", tmp_path / "rows.jsonl", "--resume")
    osum(*command)
    before = (tmp_path / "rows.jsonl").read_text()
    new = clip("in/c.wav")
    code, out, err = osum(*command, "--dry-run")
    assert (code, out.count("\n"), str(new) in out) == (1, 1, True)
    assert "2 answered before (1 of them failed), 1 recordings, 0.3 s of audio" in err
    assert (tmp_path / "rows.jsonl").read_text() == before


def test_a_dry_run_names_standard_input(osum: Run, monkeypatch: pytest.MonkeyPatch, no_model: None) -> None:
    pipe_in(monkeypatch, b"")
    assert "osum: error: -: is empty" in osum("label", "-", "--dry-run").err
