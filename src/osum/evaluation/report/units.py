"""Unit: how a metric's values are shown, which way is better, and what a full circle of the radar means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from osum.evaluation.report.markup import DASH
from osum.scoring import Score


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """How values of one metric are shown."""

    title: str
    factor: float = 100
    """From a score's value to the number that is shown."""
    sign: str = "%"
    lower: bool = False
    """Less is better."""
    digits: int = 1
    worst: float | None = 0
    """The number at the radar's centre; None: that of the worst model shown, rounded up."""
    best: float = 100
    """The number at its rim."""

    @property
    def head(self) -> str:
        """`WER % ↓`."""
        return " ".join(part for part in (self.title, self.sign, "↓" if self.lower else "↑") if part)

    def number(self, value: float | None, digits: int | None = None) -> str:
        """A score's value as it is shown, a dash for none."""
        if value is None or not math.isfinite(value):
            return DASH
        return f"{self.factor * value:.{self.digits if digits is None else digits}f}"

    def interval(self, score: Score, digits: int | None = None) -> str:
        """`76.8 [65.5, 84.6]`."""
        value = self.number(score.value, digits)
        if value == DASH or not math.isfinite(score.low):
            return value
        return f"{value} [{self.number(score.low, digits)}, {self.number(score.high, digits)}]"


def _error(title: str) -> MetricUnit:
    return MetricUnit(title, lower=True, worst=100, best=0)


UNITS: Mapping[str, MetricUnit] = {
    "wer": _error("WER"),
    "cer": _error("CER"),
    "mer": _error("MER"),
    "aas": MetricUnit("AAS", factor=1, sign="ms", lower=True, worst=None, best=0),
    "accuracy": MetricUnit("accuracy"),
    "macro_f1": MetricUnit("macro F1"),
    "unweighted_recall": MetricUnit("unweighted recall"),
    "choice": MetricUnit("right choice"),
    "named_choice": MetricUnit("right choice"),
    "refusal": MetricUnit("refused"),
    "instructions": MetricUnit("instructions followed"),
    "free": MetricUnit("accuracy of the free answer"),
    "judge": MetricUnit("judge, of 10", factor=1, sign="", digits=2, best=10),
    "bleu": MetricUnit("BLEU", sign=""),
}


def unit_of(metric: str) -> MetricUnit:
    """Of a metric by name; one that is not known here is shown as it is."""
    return UNITS.get(metric) or MetricUnit(metric.replace("_", " "), factor=1, sign="", digits=3, best=1)
