"""What `osum label` costs is reported next to what its imports cost, measured in the same run."""

from __future__ import annotations

import sys
from typing import Any

import label
import pytest

REPORT: dict[str, Any] = {
    "machine": {"cpu": "one", "cores": 2, "threads": 2, "torch": "2"},
    "clips": 1,
    "audio_seconds": 3.0,
    "start": {"import_osum": 0.01, "osum_help": 0.1},
    "cold": [{"tasks": "all", "seconds": 6.0, "peak_mb": 500}],
    "warm": [],
    "sizes": {"checkpoint_mb": 20.0},
}
ONE = {
    "clip": "a.flac",
    "audio_seconds": 3.08,
    "floor": {"seconds": 5.0, "cpu_seconds": 4.5},
    "label": {"seconds": 5.8, "cpu_seconds": 5.2},
}


def test_the_report_says_what_osum_adds() -> None:
    reported = label.markdown(REPORT | {"one_clip": ONE})
    assert "One clip of 3.08 s in a fresh process: 5.80 s, of which `import torch" in reported
    assert "alone takes 5.00 s; osum adds 0.80 s (0.70 s of the processor)." in reported


def test_a_report_from_before_is_shown_without() -> None:
    assert "osum adds" not in label.markdown(REPORT)


def test_floor_and_label_take_turns_and_medians_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(command: list[str]) -> label.Ran:
        asked.append(command[1])
        seconds = [99.0, 1.0, 2.0, 3.0, 4.0, 50.0][(len(asked) - 1) // 2]
        return label.Ran(seconds + (command[1] == "-m"), seconds, 0.0)

    monkeypatch.setattr(label, "run", run)
    found = label.one_clip("nano", "a.flac", 3.08)
    assert asked == ["-c", "-m"] * (1 + label.PAIRS)
    assert (found["floor"]["seconds"], found["label"]["seconds"]) == (3.0, 4.0)


def test_a_process_is_timed_and_a_failing_one_stops_the_measuring() -> None:
    ran = label.run([sys.executable, "-c", "sum(range(10**6))"])
    assert ran.cpu_seconds > 0 and ran.seconds > 0 and ran.peak_mb > 1
    with pytest.raises(SystemExit, match="failed with 3"):
        label.run([sys.executable, "-c", "raise SystemExit(3)"])
