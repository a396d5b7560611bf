"""How far the probabilities of labels can be trusted, and the temperature that makes them more so.

The calibration error takes bins of equal count, not of equal width as Guo et al. 2017 (arXiv 1706.04599): a sure
model leaves most bins of equal width nearly empty, and the error of a bin with few clips is chance that only adds up
(Nixon et al. 2019, arXiv 1904.01685). It still errs upwards on few clips, and so does its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from osum.errors import InputError
from osum.scoring.resampling import BY_UTTERANCE, Counts, Floats, Resampling, Score, check_pairs, divide

BINS = 15
"""As Guo et al.; fewer where a bin would hold less than `CLIPS_PER_BIN`."""
CLIPS_PER_BIN = 10
CURVE_POINTS = 100
TEMPERATURES = (0.05, 20.0)
"""Between them a temperature is looked for."""
_HALVINGS = 60  # of the range of log temperatures: down to the last bit of a float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be trusted."""

    error: Score
    """Expected calibration error, a fraction."""
    bins: tuple[tuple[float, float, int], ...]
    """Mean probability of the named label, accuracy, and count, of each bin that holds clips."""
    risk_coverage: tuple[tuple[float, float], ...]
    """Share of clips answered, the surest first, and the share of wrong ones among them."""
    risk: float
    """Area under that curve: the share of wrong ones, averaged over all shares answered."""


def calibration(probabilities: ArrayLike, right: ArrayLike, resampling: Resampling = BY_UTTERANCE) -> Calibration:
    """How well the probability of the named label predicts whether it is right.

    Args:
        probabilities: (N,) of the label that was named.
        right: (N,) whether it is the true one.
        resampling: groups and seed; bins stay where the whole set puts them.

    Raises:
        InputError: the two do not pair, or a probability is outside 0 to 1.
    """
    sure, hit = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=np.float64)
    check_pairs(sure, hit)  # type: ignore[arg-type]
    if not ((sure >= 0) & (sure <= 1)).all():
        wrong = sure[~((sure >= 0) & (sure <= 1))][0]
        raise InputError(f"probability {wrong:g}: give the named label's, between 0 and 1")
    counts = _bin_counts(sure, hit)
    sizes, surenesses, hits = np.split(counts.rows.sum(axis=0), 3)
    curve = _risks(sure, hit)
    points = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
    return Calibration(
        error=counts.score(resampling),
        bins=tuple((float(p / n), float(h / n), int(n)) for n, p, h in zip(sizes, surenesses, hits, strict=True)),
        risk_coverage=tuple((float((at + 1) / len(curve)), float(curve[at])) for at in points),
        risk=float(curve.mean()),
    )


def probabilities_at(log_scores: ArrayLike, temperature: float) -> Floats:
    """(N, L) probabilities of scores (N, L) that are divided by a temperature above 0; the likeliest label stays."""
    scores = np.asarray(log_scores, dtype=np.float64)
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return weights / weights.sum(axis=1, keepdims=True)


def negative_log_likelihood(log_scores: ArrayLike, truth: ArrayLike, temperature: float = 1.0) -> float:
    """Mean of -log P(true label) in nats, the scores divided by a temperature.

    Args:
        log_scores: (N, L) of each label, normalised or not.
        truth: (N,) index of the true label.
        temperature: above 0.
    """
    scores, at = _scores(log_scores, truth)
    scaled = (scores - scores.max(axis=1, keepdims=True)) / temperature
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(at)), at]).mean())


def fit_temperature(log_scores: ArrayLike, truth: ArrayLike) -> float:
    """The likeliest temperature within `TEMPERATURES` (Guo et al. 2017, section 4.2).

    1 / T has a normal prior of mean 1 and deviation 1: a few clips without a mistake would else make a model certain,
    and many clips drown it. The sum is convex in 1 / T, so its one flat place is found by halving: there the score
    that is expected under the probabilities equals the score of what is true, but for the prior.

    Args:
        log_scores: (N, L) of each label, normalised or not.
        truth: (N,) index of the true label.

    Raises:
        InputError: scores that are not finite, or a truth outside the labels.
    """
    scores, at = _scores(log_scores, truth)
    centred = scores - scores.max(axis=1, keepdims=True)
    true = centred[np.arange(len(at)), at].sum()

    def too_sure(temperature: float) -> bool:
        expected = (probabilities_at(centred, temperature) * centred).sum()
        return bool(expected - true + 1 / temperature - 1 > 0)

    low, high = np.log(TEMPERATURES)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_sure(float(np.exp(middle))) else (low, middle)
    return float(np.exp((low + high) / 2))


def log_scores_of(probabilities: Sequence[Sequence[float]]) -> Floats:
    """(N, L) logarithms of distributions; a probability too small for a float counts as the smallest there is."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), np.finfo(np.float64).tiny))


def _scores(log_scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    scores, at = np.asarray(log_scores, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    check_pairs(at, scores)  # type: ignore[arg-type]
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise InputError(f"log scores of shape {scores.shape}: give finite ones of shape (clips, labels)")
    if not ((at >= 0) & (at < scores.shape[1])).all():
        raise InputError(f"true labels {at.min()} to {at.max()}: give indices from 0 to {scores.shape[1] - 1}")
    return scores, at


def _bin_counts(sure: Floats, hit: Floats) -> Counts:
    """A row holds, for each bin, whether the clip is in it, its probability, and whether it is right."""
    wanted = min(BINS, max(1, len(sure) // CLIPS_PER_BIN))
    edges = np.unique(np.quantile(sure, np.arange(1, wanted) / wanted))
    # Equal probabilities share a bin, so bins may hold unequal counts, or none.
    _, places = np.unique(np.searchsorted(edges, sure, side="left"), return_inverse=True)
    member = np.eye(places.max() + 1)[places]
    rows = np.hstack([member, member * sure[:, None], member * hit[:, None]])

    def error(sums: Floats) -> Floats:
        sizes, surenesses, hits = np.split(sums, 3, axis=1)
        return divide(np.abs(surenesses - hits).sum(axis=1), sizes.sum(axis=1))

    return Counts("calibration_error", rows, error, {"bins": float(member.shape[1])})


def _risks(sure: Floats, hit: Floats) -> Floats:
    """(N,) share of wrong ones among the n surest, n = 1 to N; equal probabilities count as their mean."""
    _, places, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
    wrong = np.bincount(places, weights=1 - hit) / sizes
    return np.cumsum(np.repeat(wrong, sizes)) / np.arange(1, len(sure) + 1)
