"""What a run tells to trackers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from osum.training.report import Report


def test_trackio_gets_what_the_log_gets_and_a_run_that_goes_on_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    out = tmp_path / "mine"
    out.mkdir()
    for step in (1, 2):
        report = Report(out, 2, ("trackio",), {"steps": 2, "tasks": {"ASR": 1.0}}, True)
        report.row(step, {"loss": 1 / step, "valid": {"wer": 0.5}})
        trackio.finish()
    with closing(sqlite3.connect(tmp_path / "trackio" / "osum.db")) as told:
        found = [(step, json.loads(row)) for step, row in told.execute("select step, metrics from metrics")]
        runs = told.execute("select count(distinct run_id) from metrics").fetchone()
    assert found == [(step, {"valid/wer": 0.5, "loss": 1 / step}) for step in (1, 2)] and runs == (1,)
