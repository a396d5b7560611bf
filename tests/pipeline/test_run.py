"""Runs: what is done, what is not done again, and what a kill costs."""

from __future__ import annotations

import errno
import os
import random
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from killing import die

from osum.corpus.readers import Line, Manifest
from osum.errors import EndpointUnusableError, InputError
from osum.pipeline.folder import RunFolder
from osum.pipeline.row import Row
from osum.pipeline.run import Progress, read_summary, run, units_of
from osum.pipeline.step import STEPS
from pipeline.stage import CALLS, WHOLE, files_of, plan, rows_of, sounds, texts

ROWS = 23


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which steps note what they were asked."""
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv(CALLS, str(path))
    return path


def noted(calls: Path) -> list[str]:
    found = calls.read_text().split("\n")[:-1]
    calls.write_text("")
    return found


def test_a_run_keeps_its_rows_and_counts_the_others(tmp_path: Path) -> None:
    summary = run(plan(*WHOLE), sounds(tmp_path / "in", ROWS), tmp_path / "out")
    tallies = dict(summary.steps)
    assert tallies["00-input"].rows_out == tallies["01-decode"].rows_out == ROWS
    for before, (name, tally) in zip(list(tallies.values()), list(tallies.items())[1:], strict=False):
        assert tally.rows_in == before.rows_out, name
    assert tallies["03-test-guess"].dropped["error: ValueError"] == 1  # the others of its batch go through
    assert tallies["05-test-fault"].dropped == {"error: ZeroDivisionError": 2}  # 13 was left out before
    rows = rows_of(tmp_path / "out")
    assert len(rows) == tallies["06-test-double"].rows_out == 2 * tallies["06-test-double"].rows_in > 0
    assert read_summary(tmp_path / "out") == summary


def test_the_corpus_is_a_manifest_whose_sound_is_the_one_the_steps_made(tmp_path: Path) -> None:
    lines = sounds(tmp_path / "in", 4)
    run(plan({"test-gain": {"gain": 0.5}}), lines, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    made = [line.utterance for line in Manifest(tmp_path / "moved" / "corpus")]
    assert [row.id for row in made if row] == ["0", "1", "2", "3"]
    for line, row in zip(lines, made, strict=True):
        assert row is not None and line.utterance is not None
        assert abs(Row(row).samples - 0.5 * Row(line.utterance).samples).max() < 1e-4


def test_every_label_says_where_it_comes_from(tmp_path: Path) -> None:
    run(plan("test-guess"), texts(9), tmp_path / "out")
    for row in rows_of(tmp_path / "out"):
        score = int(row["labels"]["guess"]) / 100
        made = {"step": "test-guess", "version": 1, "model": "guess", "score": score}
        assert row["provenance"] == {"guess": made}


def test_nothing_is_done_twice(tmp_path: Path, calls: Path) -> None:
    lines = sounds(tmp_path / "in", ROWS)
    run(plan(*WHOLE), lines, tmp_path / "out")
    before = files_of(tmp_path / "out")
    noted(calls)
    run(plan(*WHOLE), lines, tmp_path / "out")
    assert noted(calls) == [] and files_of(tmp_path / "out") == before


def test_a_changed_step_redoes_what_depends_on_it_alone(tmp_path: Path, calls: Path) -> None:
    lines = sounds(tmp_path / "in", ROWS)
    run(plan("test-gain", "test-guess", "test-once", "test-double"), lines, tmp_path / "out")
    noted(calls)
    run(plan("test-gain", "test-guess", "test-once", {"test-fault": {"every": 3}}), lines, tmp_path / "out")
    assert noted(calls) == []
    run(plan("test-gain", {"test-guess": {"name": "other"}}, "test-once"), lines, tmp_path / "out")
    found = noted(calls)
    assert "across" in found and not [word for word in found if word.startswith("gain")]
    assert sorted({path.name for path in (tmp_path / "out/steps").iterdir()}) == [
        "00-input", "01-test-gain", "02-test-guess", "03-test-once",
    ]  # fmt: skip


def test_a_changed_version_redoes_the_step(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = sounds(tmp_path / "in", 3)
    run(plan("test-gain"), lines, tmp_path / "out")
    noted(calls)
    from dataclasses import replace

    monkeypatch.setitem(STEPS, "test-gain", replace(STEPS["test-gain"], version=2))
    run(plan("test-gain"), lines, tmp_path / "out")
    assert len(noted(calls)) == 3


def test_rows_that_come_to_the_end_redo_their_own_shard(tmp_path: Path, calls: Path) -> None:
    run(plan("test-gain"), sounds(tmp_path / "in", 11), tmp_path / "out")
    noted(calls)
    run(plan("test-gain"), sounds(tmp_path / "in", 12), tmp_path / "out")
    assert noted(calls) == ["gain 10", "gain 11"]


def test_a_recording_that_changed_is_done_again(tmp_path: Path, calls: Path) -> None:
    lines = sounds(tmp_path / "in", 11)
    run(plan("test-gain"), lines, tmp_path / "out")
    noted(calls)
    content = (tmp_path / "in/7.wav").read_bytes()
    (tmp_path / "in/7.wav").write_bytes(content[:-200])
    run(plan("test-gain"), lines, tmp_path / "out")
    assert noted(calls) == [f"gain {at}" for at in range(5, 10)]


def test_answers_of_models_are_kept_by_what_they_were_given(tmp_path: Path, calls: Path) -> None:
    lines = sounds(tmp_path / "in", 9)
    run(plan("test-guess"), lines, tmp_path / "out", answers=tmp_path / "answers")
    assert len(noted(calls)) == 9
    run(plan("decode", "test-guess"), lines, tmp_path / "again", answers=tmp_path / "answers")
    assert noted(calls) == []
    assert {row["labels"]["guess"] for row in rows_of(tmp_path / "out")} == {
        row["labels"]["guess"] for row in rows_of(tmp_path / "again")
    }


def test_an_answer_that_a_kill_has_cut_is_asked_again(tmp_path: Path, calls: Path) -> None:
    run(plan("test-guess"), texts(9), tmp_path / "out")
    noted(calls)
    for path in (tmp_path / "out/answers").rglob("*.jsonl"):
        path.write_bytes(path.read_bytes()[:-9])
    for path in (tmp_path / "out/steps/01-test-guess").iterdir():
        path.unlink()
    run(plan("test-guess"), texts(9), tmp_path / "out")
    assert len(noted(calls)) == 2  # the last of each of two shards


@pytest.mark.parametrize("suffix", [".jsonl", ".tar", ".log"])
def test_a_shard_cut_in_half_is_done_again(tmp_path: Path, suffix: str) -> None:
    lines = sounds(tmp_path / "in", 7)
    run(plan("test-gain"), lines, tmp_path / "out")
    whole = files_of(tmp_path / "out")
    broken = next((tmp_path / "out/steps/01-test-gain").glob(f"*{suffix}"))
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2 if suffix != ".log" else 20])
    run(plan("test-gain"), lines, tmp_path / "out")
    assert files_of(tmp_path / "out") == whole


@pytest.mark.parametrize("moment", [0.0, 4e9], ids=["1970", "2096"])
def test_clocks_that_differ_redo_nothing(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, moment: float
) -> None:
    """A machine of the cluster, or the one that continues, lives in another year."""
    lines = sounds(tmp_path / "in", 12)
    run(plan(*WHOLE), lines, tmp_path / "out")
    whole, asked = files_of(tmp_path / "out"), calls.read_text()
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (moment, moment))
    monkeypatch.setattr("time.time", lambda: moment)
    run(plan(*WHOLE), lines, tmp_path / "out")
    assert files_of(tmp_path / "out") == whole and calls.read_text() == asked


def test_two_runs_into_one_folder_are_refused(tmp_path: Path) -> None:
    def second(_: Progress) -> None:
        with pytest.raises(InputError, match="another run is writing"):
            run(plan("decode"), texts(1), tmp_path / "out")

    run(plan("test-double"), texts(1), tmp_path / "out", notice=second)


def test_broken_lines_are_counted_with_their_place(tmp_path: Path) -> None:
    lines = [*texts(3), Line("raw.jsonl:4", fault="not JSON: write one JSON object per line")]
    summary = run(plan("test-double"), lines, tmp_path / "out")
    assert summary.steps[0][1].dropped == {"a broken line of the manifest": 1}
    folder = RunFolder(tmp_path / "out")
    ((_, detail, row),) = folder.dropped(next(units_of(folder, "00-input")))
    assert detail.startswith("raw.jsonl:4: not JSON") and row is None


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows"):
        run(plan("decode"), [], tmp_path / "out")


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), EndpointUnusableError("down for ten minutes")]
)
def test_a_fault_of_the_machine_ends_the_run_and_what_is_there_is_kept(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    asked = STEPS["test-guess"].run.answer

    def failing(self: object, rows: list[Row]) -> object:
        if any(row.id == "10" for row in rows):
            raise fault
        return asked(self, rows)

    monkeypatch.setattr(STEPS["test-guess"].run, "answer", failing)
    with pytest.raises(type(fault)):
        run(plan("test-guess"), texts(ROWS), tmp_path / "out")
    monkeypatch.setattr(STEPS["test-guess"].run, "answer", asked)
    noted(calls)
    run(plan("test-guess"), texts(ROWS), tmp_path / "out")
    assert next(word for word in noted(calls) if word.startswith("ask ")) == "ask 10"


def test_progress_counts_units_and_guesses_what_is_left(tmp_path: Path) -> None:
    told: list[Progress] = []
    run(plan("test-double", "test-guess"), texts(20), tmp_path / "out", notice=told.append)
    assert [progress.done for progress in told] == list(range(1, 9)) and {progress.total for progress in told} == {8}
    assert all(progress.remaining is not None for progress in told) and told[-1].remaining == 0


def test_a_step_with_too_many_faults_is_named(tmp_path: Path) -> None:
    summary = run(plan({"test-fault": {"every": 2}}), texts(20), tmp_path / "out")
    assert summary.faulty(0.1) == ["01-test-fault"] and summary.faulty(0.5) == []


def run_whole(folder: Path, out: Path, fatal: int = 0) -> None:
    """A run, killed at a file operation of a number if one is given."""
    if fatal:
        die(out, fatal)
    run(plan(*WHOLE), sounds(folder, 24), out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are those of POSIX")
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path, processes: ForkServerContext) -> None:
    """Each run is killed at one of its first 160 file operations, and the next continues from there."""
    run_whole(tmp_path / "in", tmp_path / "whole")
    chance, codes = random.Random(5), []
    for number in range(20):
        fatal = chance.randint(1, 160) if number < 19 else 0
        process = processes.Process(target=run_whole, args=(tmp_path / "in", tmp_path / "out", fatal))
        process.start()
        process.join()
        codes.append(process.exitcode)
        if process.exitcode == 0:
            break
    assert codes.pop() == 0 and set(codes) == {-signal.SIGKILL} and len(codes) >= 3
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
