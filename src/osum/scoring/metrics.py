"""How good answers are: error rates, time shifts and label scores, each with counts and a 95 % interval.

1. Every utterance becomes one row of counts (errors and units, a cell of the confusion matrix ...).
2. A score is a function of the summed rows.
3. The interval resamples rows, or sums of rows per group (such as speaker), and scores each sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osum.errors import InputError, MissingExtraError
from osum.scoring.normalize import mixed_units, normalize
from osum.utterance import Word

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Summed counts (R, K) to scores (R,); nan where a score is not defined."""

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


_BY_UTTERANCE = Resampling()


def wer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    resampling: Resampling = _BY_UTTERANCE,
    normalizer: Callable[[str], str] = normalize,
) -> Score:
    """Word error rate; words are what spaces part."""
    return _error_rate("wer", (references, hypotheses), lambda text: normalizer(text).split(), resampling)


def cer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    resampling: Resampling = _BY_UTTERANCE,
    normalizer: Callable[[str], str] = normalize,
) -> Score:
    """Character error rate; the spaces that are left after normalising count, as in jiwer."""
    return _error_rate("cer", (references, hypotheses), normalizer, resampling)


def mer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    resampling: Resampling = _BY_UTTERANCE,
    normalizer: Callable[[str], str] = normalize,
) -> Score:
    """Mixed error rate: Chinese by character, other words whole, as the papers of OSUM count."""
    return _error_rate("mer", (references, hypotheses), lambda text: mixed_units(normalizer(text)), resampling)


def aas(
    references: Sequence[Sequence[Word]],
    hypotheses: Sequence[Sequence[Word]],
    resampling: Resampling = _BY_UTTERANCE,
    normalizer: Callable[[str], str] = normalize,
) -> Score:
    """Mean distance of starts and ends in ms over the units that both name; `coverage` says how many do."""
    _check_pairs(references, hypotheses)
    levenshtein = _levenshtein()
    rows = np.array([_shifts(*pair, normalizer, levenshtein) for pair in zip(references, hypotheses, strict=True)])
    starts, ends, matched, units = rows.sum(axis=0)
    detail = {
        "start_ms": _ratio(starts, matched),
        "end_ms": _ratio(ends, matched),
        "coverage": _ratio(matched, units),
        "matched": matched,
        "units": units,
    }
    return _score("aas", rows, lambda sums: _divide(sums[:, 0] + sums[:, 1], 2 * sums[:, 2]), detail, resampling)


def accuracy(
    references: Sequence[str], hypotheses: Sequence[str | None], resampling: Resampling = _BY_UTTERANCE
) -> Score:
    """Share of right labels; None, an answer without a label, is wrong."""
    _check_pairs(references, hypotheses)
    right = [reference == hypothesis for reference, hypothesis in zip(references, hypotheses, strict=True)]
    rows = np.column_stack([np.array(right, dtype=np.float64), np.ones(len(right))])
    unlabelled = sum(hypothesis is None for hypothesis in hypotheses)
    detail = {"right": float(sum(right)), "unlabelled": float(unlabelled)}
    return _score("accuracy", rows, lambda sums: _divide(sums[:, 0], sums[:, 1]), detail, resampling)


def macro_f1(
    references: Sequence[str], hypotheses: Sequence[str | None], resampling: Resampling = _BY_UTTERANCE
) -> Score:
    """Mean F1 over the labels that occur in the references; `detail` holds each label's."""

    def f1(right: Floats, named: Floats, true: Floats) -> Floats:
        return np.where(true > 0, _divide(2 * right, named + true), np.nan)

    return _label_score("macro_f1", (references, hypotheses), f1, resampling)


def unweighted_recall(
    references: Sequence[str], hypotheses: Sequence[str | None], resampling: Resampling = _BY_UTTERANCE
) -> Score:
    """Mean recall over the labels that occur in the references (balanced accuracy)."""

    def recall(right: Floats, named: Floats, true: Floats) -> Floats:  # noqa: ARG001
        return _divide(right, true)

    return _label_score("unweighted_recall", (references, hypotheses), recall, resampling)


METRICS: Mapping[str, Callable[..., Score]] = {
    metric.__name__: metric for metric in (wer, cer, mer, aas, accuracy, macro_f1, unweighted_recall)
}
"""Every metric by the name that a `Task` lists."""
ERROR_RATES: Mapping[str, Callable[..., Score]] = {"en": wer, "zh": cer}
"""Language to the error rate that is usual for it."""


# Counts


def _error_rate(
    name: str,
    pairs: tuple[Sequence[str], Sequence[str]],
    units_of: Callable[[str], Sequence[str]],
    resampling: Resampling,
) -> Score:
    _check_pairs(*pairs)
    levenshtein = _levenshtein()
    counts = []
    for reference, hypothesis in zip(*pairs, strict=True):
        units = units_of(reference)
        kinds = [edit.tag for edit in levenshtein.editops(units, units_of(hypothesis))]
        counts.append((kinds.count("replace"), kinds.count("delete"), kinds.count("insert"), len(units)))
    rows = np.array(counts, dtype=np.float64)
    sums = rows.sum(axis=0)
    if sums[3] == 0:
        raise InputError(f"{name} of {len(rows)} utterances: no reference holds a word; leave out silent clips")
    detail = dict(zip(("substitutions", "deletions", "insertions", "units"), sums.tolist(), strict=True))
    return _score(name, rows, lambda sums: _divide(sums[:, :3].sum(axis=1), sums[:, 3]), detail, resampling)


def _shifts(
    reference: Sequence[Word], hypothesis: Sequence[Word], normalizer: Callable[[str], str], levenshtein: Any
) -> tuple[float, float, int, int]:
    """Summed start and end distances in ms, matched units, units of the reference."""
    names = [[normalizer(word.text) for word in words] for words in (reference, hypothesis)]
    starts = ends = 0.0
    matched = 0
    for block in levenshtein.opcodes(*names):
        if block.tag != "equal":
            continue
        there = reference[block.src_start : block.src_end]
        here = hypothesis[block.dest_start : block.dest_end]
        starts += sum(abs(a.start - b.start) for a, b in zip(there, here, strict=True))
        ends += sum(abs(a.end - b.end) for a, b in zip(there, here, strict=True))
        matched += len(there)
    return starts * 1000, ends * 1000, matched, len(reference)


def _label_score(
    name: str,
    pairs: tuple[Sequence[str], Sequence[str | None]],
    per_label: Callable[[Floats, Floats, Floats], Floats],
    resampling: Resampling,
) -> Score:
    """Mean of a per-label score; a row holds, for each label, whether it was right, named and true."""
    _check_pairs(*pairs)
    labels = sorted(set(pairs[0]))
    true, named = ([[label == one for label in labels] for one in side] for side in pairs)
    both = np.array([true, named], dtype=np.float64)
    rows = np.concatenate([both[0] * both[1], both[1], both[0]], axis=1)

    def scores(sums: Floats) -> Floats:
        right, named, true = np.split(sums, 3, axis=1)
        return per_label(right, named, true)

    detail = dict(zip(labels, scores(rows.sum(axis=0, keepdims=True))[0].tolist(), strict=True))
    return _score(name, rows, lambda sums: _mean_of_defined(scores(sums)), detail, resampling)


# Intervals


def _score(name: str, rows: Floats, statistic: Statistic, detail: Mapping[str, float], resampling: Resampling) -> Score:
    value = float(statistic(rows.sum(axis=0, keepdims=True))[0])
    low, high = _interval(_grouped(rows, resampling.groups), statistic, resampling)
    # A percentile interval of a biased statistic may miss the value itself: widen it so far.
    return Score(name, value, len(rows), min(low, value), max(high, value), detail)


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


def _interval(rows: Floats, statistic: Statistic, resampling: Resampling) -> tuple[float, float]:
    """Percentiles of the statistic over resampled rows (N, K); equal rows are drawn together, as one cell."""
    cells, sizes = np.unique(rows, axis=0, return_counts=True)
    draw = np.random.default_rng(resampling.seed)
    block = max(1, _MAX_CELLS // len(cells))
    values = []
    for done in range(0, resampling.resamples, block):
        times = min(block, resampling.resamples - done)
        weights = draw.multinomial(len(rows), sizes / len(rows), size=times)
        values.append(statistic(weights @ cells))
    drawn = np.concatenate(values)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, _INTERVAL)
    return float(low), float(high)


def _mean_of_defined(scores: Floats) -> Floats:
    defined = np.isfinite(scores)
    return _divide(np.where(defined, scores, 0).sum(axis=1), defined.sum(axis=1))


def _divide(top: Floats, bottom: Floats | NDArray[np.int64]) -> Floats:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else math.nan


def _check_pairs(references: Sequence[object], hypotheses: Sequence[object]) -> None:
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise InputError("a metric got one text: give lists, such as wer(['a b'], ['a c'])")
    if len(references) != len(hypotheses) or not len(references):
        raise InputError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: give as many of each, and one at least"
        )


def _levenshtein() -> Any:
    """jiwer's own edit distance: called directly it takes 2 s where jiwer takes 11 (100,000 pairs of 20 words)."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as missing:
        raise MissingExtraError("jiwer", "eval") from missing
    return Levenshtein
