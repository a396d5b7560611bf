"""What a run reports: to people, lines that they can read; to trackers and the log, all of it."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from osum.training.report import TrainingReport, large, span
from osum.training.trainer import Trainer
from training.conftest import MakeConfig


def test_trackio_gets_what_the_log_gets_and_a_run_that_continues_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    out = tmp_path / "mine"
    out.mkdir()
    for step in (1, 2):
        report = TrainingReport(out, 2, ("trackio",), {"steps": 2, "tasks": {"ASR": 1.0}}, True)
        report.row(step, {"loss": 1 / step, "valid": {"wer": 0.5}})
        trackio.finish()
    with closing(sqlite3.connect(tmp_path / "trackio" / "osum.db")) as reported:
        found = [(step, json.loads(row)) for step, row in reported.execute("select step, metrics from metrics")]
        runs = reported.execute("select count(distinct run_id) from metrics").fetchone()
    assert found == [(step, {"valid/wer": 0.5, "loss": 1 / step}) for step in (1, 2)] and runs == (1,)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.name.startswith("osum.")]


def test_a_run_says_what_learns_on_what_and_a_line_for_each_step_that_is_logged(
    config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = config(learn="adaptor+lora", ctc_weight=0, label_weight=0, learning_rate=3e-3)
    out = Trainer(settings).run().parent
    lines = said(caplog)
    assert lines[0] == f"{out}: step 0 of 4, on cpu, float32"
    assert re.fullmatch(r"learns: adaptor [\d.]+ k, lora [\d.]+ k parameters; the model has [\d.]+ k", lines[1])
    assert re.fullmatch(r"train: 8 rows, 0\.00\d+ hours and \d steps per epoch, [\d.]+ epochs in all", lines[2])
    assert lines[3] == "valid: 3 rows every 2 steps; best/ keeps the checkpoint with the lowest loss"
    assert lines[4].split("  ")[-1].strip() == "left"
    assert lines[4].split() == ["step", "answers", "rate", "audio", "s/s", "memory", "left"]
    assert re.fullmatch(r" +1/4 +\d+\.\d{3} +\d\.\de-\d\d +\d+ +[\d.]+ GB +\d:\d\d:\d\d", lines[5])
    assert re.match(r"step-2 is written; validation: answers [\d.]+; the best loss so far, kept as best/$", lines[7])
    assert lines[-1] == f"done: {out / 'step-4'}" and not any("{" in line for line in lines)
    row = json.loads((out / "log.jsonl").read_text("utf8").splitlines()[0])
    assert {"loss", "ctc", "label", "token", "norm", "rate", "tokens_per_second"} < set(row)


def test_a_run_without_validation_says_what_that_means(
    config: MakeConfig, tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "train.jsonl").write_bytes((data / "train.jsonl").read_bytes())
    settings = config(data=str(tmp_path), mixture={"all": str(data / "train.jsonl")}, steps=1)
    Trainer(settings).run()
    reported = f"valid: none ({tmp_path / 'valid.jsonl'} is not there): nothing is validated, and no best/ is kept"
    assert [line for line in said(caplog) if line.startswith(reported)]
    assert "step-1 is written" in said(caplog)


def test_of_several_processes_the_first_reports(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = TrainingReport(tmp_path, 4, (), {}, False)
    report.count(1.0, 10)
    report.step(1, {"loss": 1.0, "ctc": 1.0, "label": 1.0, "token": 1.0, "spelling": 1.0, "rate": 1e-3})
    report.validated(1, {}, False, "loss")
    report.close(tmp_path)
    assert not said(caplog) and not list(tmp_path.iterdir())


def test_spans_and_counts_are_written_for_people() -> None:
    assert [span(seconds) for seconds in (0.4, 61, 90_000)] == ["0:00:00", "0:01:01", "1 day, 1:00:00"]
    assert [large(number) for number in (7, 1_500, 9_812_345, 7_973_000_000)] == ["7", "1.5 k", "9.8 M", "8.0 B"]
