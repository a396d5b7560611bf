"""`osum calibrate`: what it leaves, what it says, and that bad rows cost nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engine.tiny_checkpoint import write_checkpoint

import osum as package
from cli.conftest import MakeClip, Run
from osum.tasks import TaskSet

TAG = "SGC-only"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model")


@pytest.fixture
def manifest(tmp_path: Path, clip: MakeClip) -> Path:
    """Twelve clips of four speakers, every second one a woman's."""
    clip("voice.wav")
    rows = [
        {
            "id": f"clip{index}",
            "path": "voice.wav",
            "end": 0.1 + index / 100,
            "speaker": f"s{index % 4}",
            "labels": {"gender": ("female", "male")[index % 2]},
        }
        for index in range(12)
    ]
    return write(tmp_path / "valid.jsonl", rows)


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_checkpoint_gets_its_temperatures(osum: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated"
    ran = osum("calibrate", manifest, "--model", model, "-o", out, "--tasks", f"{TAG},SAP-only", "--min-clips", 10)
    assert ran.code == 0, ran.err
    assert "SGC-only" in ran.out and "gender" in ran.out
    assert "SAP-only, age: left alone: 0 labelled clips, 10 are needed" in ran.out
    assert ran.err.splitlines()[-1] == f"osum: {out}: 1 temperatures from 12 clips, 0 left out"
    tasks = TaskSet.load(out / "tasks.json")
    (fitted,) = json.loads((out / "calibration.json").read_text())["fitted"]
    assert tasks[TAG].temperature == fitted["temperature"]
    assert tasks["SAP-only"].temperature is None
    assert (fitted["clips"], fitted["speakers"], fitted["after"]["error"]["count"]) == (12, 4, 12)
    assert (out / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_labels_stay_and_probabilities_move(osum: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    assert osum("calibrate", manifest, "--model", model, "-o", model, "--tasks", TAG, "--min-clips", 1).code == 0
    row = json.loads((model / "tasks.json").read_text())
    warmth = next(task["temperature"] for task in row["tasks"] if task["name"] == TAG)
    voice = tmp_path / "voice.wav"
    plain = package.load(write_checkpoint(tmp_path / "plain")).label(voice, tasks=TAG, withhold=False).summary[TAG]
    reported = package.load(model).label(voice, tasks=TAG, withhold=False).summary[TAG]
    assert (reported.label, warmth == 1) == (plain.label, False)
    powers = {label: value ** (1 / warmth) for label, value in plain.distribution.items()}
    assert reported.distribution == pytest.approx({label: one / sum(powers.values()) for label, one in powers.items()})
    doubtful = package.load(model).label(voice, tasks=TAG, withhold=False, min_confidence=reported.probability + 1e-3)
    assert doubtful.summary[TAG].label == "unknown"


def test_bad_rows_are_a_line_each_and_the_others_count(osum: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    rows = rows_of(manifest)
    odd = {**rows[0], "id": "odd", "labels": {"gender": "robot"}}
    gone = {**rows[0], "id": "gone", "path": "gone.wav"}
    mixed = write(tmp_path / "mixed.jsonl", [*rows, "no row", odd, gone])
    others = [{**row, "speaker": f"other {row['speaker']}"} for row in rows]
    valid = write(tmp_path / "others.jsonl", others)
    words = ("--model", model, "-o", tmp_path / "out", "--tasks", TAG, "--min-clips", 12, "--valid", valid)
    ran = osum("calibrate", mixed, *words)
    reported = [line for line in ran.err.splitlines() if line.startswith("osum: error")]
    assert ran.code == 1 and len(reported) == 3
    assert "mixed.jsonl:13: not JSON" in reported[0] and "gone.wav" in reported[2]
    assert "odd: gender of 'odd' is 'robot': use one of female, male" in reported[1]
    assert "from 24 clips, 3 left out" in ran.err
    assert (tmp_path / "out" / "tasks.json").exists()


def test_nothing_is_written_where_nothing_is_known(osum: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    ran = osum("calibrate", manifest, "--model", model, "-o", tmp_path / "out", "--tasks", "SAP-only")
    assert ran.code == 1 and not (tmp_path / "out").exists()
    assert "nothing was calibrated: give more clips with labels, or a lower --min-clips" in ran.err


def test_a_place_that_is_taken_is_refused_before_the_model_is_asked(osum: Run, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    ran = osum("calibrate", manifest, "-o", tmp_path / "out")
    assert ran.code == 1 and "exists and is not empty" in ran.err
    assert osum("calibrate", manifest, "-o", tmp_path / "out", "--overwrite").code == 1
    assert (tmp_path / "out" / "thesis.tex").exists()
