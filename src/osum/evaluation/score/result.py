"""Result: all that is counted from one benchmark's predictions of one model: what `report.json` holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osum.errors import InputError, ManifestError
from osum.evaluation.sets.benchmark import Declaration
from osum.files import atomic_file
from osum.records import from_row, to_row
from osum.scoring import Calibration, Confusion, Difference, Score, WordTimes

REPORT = "report.json"
"""File in the folder of results."""
DECLARED = "declared"
"""Field of `BenchmarkResult.run`: the test set, where it is in no catalogue."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One model on one benchmark."""

    benchmark: str
    model: str
    metric: str
    score: Score
    """By the benchmark's metric, fixed prompt; of the likeliest label where there is one, else of what was said."""
    resampled_by: str
    """`speaker` where at least five are known, else `clip`."""
    clips: int
    failed: int
    """Clips without an answer; they count as wrong."""
    others: Mapping[str, Score] = field(default_factory=dict)
    """Further metrics by name: `unweighted_recall`, `macro_f1`, `free` (accuracy of what was said) ..."""
    prompts: tuple[Score, ...] = ()
    """The benchmark's metric under each published prompt, where they were asked; `osum.scoring.spread` sums them up."""
    unreadable: float | None = None
    """Share of free answers that hold no label of the set."""
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    times: WordTimes | None = None
    real_time_factor: float | None = None
    """Machine seconds per second of audio; None where it was not measured."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What is needed to run it again: versions, seed, prompt set, normaliser, device, list hash ..."""

    @property
    def declared(self) -> Declaration | None:
        """The test set, where it is in no catalogue.

        Raises:
            ManifestError, InputError: what stands there is none.
        """
        return from_row(Declaration, self.run[DECLARED]) if DECLARED in self.run else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same clips of one benchmark."""

    benchmark: str
    first: str
    second: str
    difference: Difference
    """Of the benchmark's metric: the first model's score less the second's."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is counted from a folder of predictions."""

    results: tuple[BenchmarkResult, ...]
    """By benchmark, then model."""
    comparisons: tuple[Comparison, ...] = ()
    version: int = 1
    """Of this form."""


def write_report(path: Path, report: Report) -> None:
    """Write `report.json`; equal reports are equal bytes, and nan is null."""
    row = {"version": report.version, **to_row(report)}
    with atomic_file(path) as out:
        out.write(json.dumps(row, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n")


def read_report(path: Path) -> Report:
    """Read `report.json`.

    Raises:
        InputError: it cannot be read, or is no report of this version.
    """
    try:
        return from_row(Report, json.loads(path.read_text("utf8")))
    except (OSError, ValueError, ManifestError) as fault:
        raise InputError(f"report {path} cannot be read ({fault}): count it again with osum score") from fault
