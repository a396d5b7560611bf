"""Whether one model is better than another on the same clips: a paired bootstrap of any metric.

Both models are scored on the same drawn clips (or groups), so what makes a clip hard for both cancels out
(Koehn 2004, "Statistical significance tests for machine translation evaluation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osum.errors import InputError
from osum.scoring.resampling import BY_UTTERANCE, Counts, Resampling, percentiles


@dataclass(frozen=True, slots=True)
class Difference:
    """The score of one model less that of another, with its 95 % bootstrap interval."""

    name: str
    value: float
    low: float
    high: float
    p_value: float
    """Two-sided: how often, if there were no difference, resamples would lie so far on one side of 0."""
    count: int
    """Utterances."""


def paired_difference(first: Counts, second: Counts, resampling: Resampling = BY_UTTERANCE) -> Difference:
    """How much higher the first model scores than the second; lower is better for an error rate.

    Args:
        first: `METRIC.counts` of one model's answers.
        second: of the other's, to the same clips in the same order.
        resampling: groups and seed.

    Raises:
        InputError: two metrics, or unequal numbers of clips.
    """
    if first.name != second.name or len(first.rows) != len(second.rows):
        raise InputError(
            f"{first.name} of {len(first.rows)} clips against {second.name} of {len(second.rows)}: "
            "compare one metric on the same clips"
        )
    width = first.rows.shape[1]
    both = Counts(
        first.name,
        np.hstack([first.rows, second.rows]),
        lambda sums: first.statistic(sums[:, :width]) - second.statistic(sums[:, width:]),
    )
    value = float(both.statistic(both.rows.sum(axis=0, keepdims=True))[0])
    drawn = both.drawn(resampling)
    low, high = percentiles(drawn)
    # One is added to both counts, as the data themselves are one more draw: a p-value of 0 cannot be had by drawing.
    sides = [(1 + int((side <= 0).sum())) / (1 + len(drawn)) for side in (drawn, -drawn)]
    return Difference(first.name, value, min(low, value), max(high, value), min(1.0, 2 * min(sides)), len(both.rows))
