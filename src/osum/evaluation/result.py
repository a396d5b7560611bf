"""Result: all that is counted from one benchmark's predictions of one model: what `report.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from osum.scoring import Calibration, Confusion, Score, WordTimes


@dataclass(frozen=True, slots=True)
class Result:
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
