"""From counts to scores: a value with its 95 % bootstrap interval.

1. Every utterance is one row of counts (errors and units, a cell of the confusion matrix ...).
2. A score is a function of the summed rows.
3. The interval resamples rows, or sums of rows per group (such as speaker), and scores each sum.

Knows nothing of texts or labels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from osum.errors import InputError

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Summed counts (R, K) to scores (R,); nan where a score is not defined."""
Reference = TypeVar("Reference")
Hypothesis = TypeVar("Hypothesis")

RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)  # percentiles
_MAX_CELLS = 4_000_000  # of one block of resampling weights: 32 MB


@dataclass(frozen=True, slots=True)
class Score:
    """A measured value with its 95 % bootstrap interval."""

    name: str
    value: float
    """A fraction, or milliseconds for `aas`; nan where nothing could be measured."""
    count: int
    """Utterances."""
    low: float
    high: float
    detail: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resampling:
    """How the interval is drawn."""

    groups: Sequence[Hashable] | None = None
    """One key per utterance, such as its speaker: whole groups are drawn, as their utterances are alike."""
    seed: int = 0
    resamples: int = RESAMPLES


BY_UTTERANCE = Resampling()
MIN_SPEAKERS = 5
"""Below this the interval draws clips: one or two speakers resampled would give an interval of no width."""


class OfSpeaker(Protocol):
    """A clip, or an answer about one."""

    @property
    def id(self) -> str:
        """Of the clip."""
        ...

    @property
    def speaker(self) -> str | None:
        """Who speaks in it; None where nobody knows."""
        ...


def resampling_of(clips: Sequence[OfSpeaker], seed: int = 0) -> tuple[Resampling, str]:
    """What intervals draw, and its name: speakers where enough are known, else clips."""
    known = {one.speaker for one in clips if one.speaker}
    if len(known) < MIN_SPEAKERS:
        return Resampling(seed=seed), "clip"
    # A clip of nobody is a group of its own.
    return Resampling([(one.speaker or "", "" if one.speaker else one.id) for one in clips], seed), "speaker"


@dataclass(frozen=True, slots=True)
class Counts:
    """What one metric counts in each utterance, and how a score is read from the sum."""

    name: str
    rows: Floats
    """(N, K)."""
    statistic: Statistic
    detail: Mapping[str, float] = field(default_factory=dict)

    def score(self, resampling: Resampling = BY_UTTERANCE) -> Score:
        """The value over all utterances, and its interval."""
        value = float(self.statistic(self.rows.sum(axis=0, keepdims=True))[0])
        low, high = percentiles(self.drawn(resampling))
        # A percentile interval of a biased statistic may miss the value itself: widen it so far.
        return Score(self.name, value, len(self.rows), min(low, value), max(high, value), self.detail)

    def drawn(self, resampling: Resampling) -> Floats:
        """The statistic of every resample, those where it is not defined left out; equal rows are drawn as one cell."""
        rows = _grouped(self.rows, resampling.groups)
        cells, sizes = np.unique(rows, axis=0, return_counts=True)
        draw = np.random.default_rng(resampling.seed)
        block = max(1, _MAX_CELLS // len(cells))
        values = []
        for done in range(0, resampling.resamples, block):
            times = min(block, resampling.resamples - done)
            weights = draw.multinomial(len(rows), sizes / len(rows), size=times)
            values.append(self.statistic(weights @ cells))
        drawn = np.concatenate(values)
        return drawn[np.isfinite(drawn)]


class Metric(Generic[Reference, Hypothesis]):
    """A function that counts pairs, made into one that scores them; `counts` is the function itself."""

    __name__: str

    def __init__(self, counts: Callable[..., Counts]) -> None:
        self.counts = counts
        update_wrapper(self, counts)

    def __call__(
        self,
        references: Sequence[Reference],
        hypotheses: Sequence[Hypothesis],
        resampling: Resampling = BY_UTTERANCE,
        **options: Any,
    ) -> Score:
        """The score of hypotheses against references, pair by pair.

        Args:
            references: (N,) what is right.
            hypotheses: (N,) what was answered.
            resampling: how the interval is drawn.
            **options: of the metric, such as `normalizer`.

        Raises:
            InputError: the two do not pair, or nothing can be counted in them.
        """
        return self.counts(references, hypotheses, **options).score(resampling)


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric under several prompts."""

    mean: float
    deviation: float
    """Standard deviation of a sample; nan for one prompt."""
    low: float
    """Of the worst and best prompt, not an interval."""
    high: float
    count: int


def spread(scores: Sequence[Score]) -> Spread:
    """Mean and spread of one metric over prompts, each prompt counted alike."""
    if not scores:
        raise InputError("spread of no scores: give the score of each prompt")
    values = [score.value for score in scores]
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, min(values), max(values), len(values))


def percentiles(drawn: Floats) -> tuple[float, float]:
    """The 95 % interval of resampled values; nan where there are none."""
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, _INTERVAL)
    return float(low), float(high)


def divide(top: Floats, bottom: Floats | NDArray[np.int64]) -> Floats:
    """Elementwise ratio; nan where the divisor is 0."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def ratio(top: float, bottom: float) -> float:
    """Ratio of two numbers; nan where the divisor is 0."""
    return float(top / bottom) if bottom else math.nan


def check_pairs(references: Sequence[object], hypotheses: Sequence[object]) -> None:
    """Refuse what does not pair.

    Raises:
        InputError: a single text, lists of unequal length, or empty ones.
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise InputError("a metric got one text: give lists, such as wer(['a b'], ['a c'])")
    if len(references) != len(hypotheses) or not len(references):
        raise InputError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: give as many of each, and one at least"
        )


def _grouped(rows: Floats, groups: Sequence[Hashable] | None) -> Floats:
    if groups is None:
        return rows
    if len(groups) != len(rows):
        raise InputError(f"{len(groups)} groups for {len(rows)} utterances: give one group per utterance")
    index: dict[Hashable, int] = {}
    members = [index.setdefault(group, len(index)) for group in groups]
    sums = np.zeros((len(index), rows.shape[1]))
    np.add.at(sums, members, rows)
    return sums
