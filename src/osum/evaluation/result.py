"""Result: all that is counted from one benchmark's predictions of one model: what `report.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from osum.scoring import Score


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of true (rows) and named (columns) labels; the last column counts answers without a label."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """(L, L + 1)."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be trusted."""

    error: Score
    """Expected calibration error, a fraction."""
    bins: tuple[tuple[float, float, int], ...]
    """Mean probability of the named label, accuracy, and count, of each bin that holds clips."""
    risk_coverage: tuple[tuple[float, float], ...]
    """Share of clips answered, the surest first, and the share of wrong ones among them."""


@dataclass(frozen=True, slots=True)
class WordTimes:
    """Distances of starts and ends, both counted, over the words that truth and answer share, in ms."""

    median: float
    within: Mapping[int, float]
    """Share of distances of at most 50, 100 and 200 ms."""
    histogram: tuple[int, ...]
    """Counts of signed distances by `HISTOGRAM_STEP` ms from -`HISTOGRAM_REACH`; the ends hold what lies beyond."""


HISTOGRAM_STEP, HISTOGRAM_REACH = 20, 500  # ms


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
    """The benchmark's metric under each published prompt, where they were asked."""
    unreadable: float | None = None
    """Share of free answers that hold no label of the set."""
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    times: WordTimes | None = None
    real_time_factor: float | None = None
    """Machine seconds per second of audio; None where it was not measured."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What is needed to run it again: versions, seed, prompt set, normaliser, device, list hash ..."""
