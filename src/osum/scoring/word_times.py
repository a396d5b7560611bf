"""How far word times are off, over the words that truth and answer share.

Words are matched where a Levenshtein alignment of their normalised texts calls them equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osum.errors import MissingExtraError
from osum.scoring.normalize import normalize
from osum.scoring.resampling import Counts, Floats, Metric, check_pairs, divide, ratio
from osum.utterance import Word

HISTOGRAM_STEP, HISTOGRAM_REACH = 20, 500  # ms
NEAR = (50, 100, 200)  # ms


@Metric[Sequence[Word], Sequence[Word]]
def aas(
    references: Sequence[Sequence[Word]],
    hypotheses: Sequence[Sequence[Word]],
    normalizer: Callable[[str], str] = normalize,
) -> Counts:
    """Mean distance of starts and ends in ms over the units that both name (accumulated averaging shift).

    `detail` has their share (`coverage`). Defined in arXiv 2301.12343.
    """
    distances = _distances(references, hypotheses, normalizer)
    counts = [
        (*np.abs(found).sum(axis=0), len(found), len(words)) for found, words in zip(distances, references, strict=True)
    ]
    rows = np.array(counts, dtype=np.float64)
    starts, ends, matched, units = rows.sum(axis=0).tolist()
    detail = {
        "start_ms": ratio(starts, matched),
        "end_ms": ratio(ends, matched),
        "coverage": ratio(matched, units),
        "matched": matched,
        "units": units,
    }
    return Counts("aas", rows, lambda sums: divide(sums[:, 0] + sums[:, 1], 2 * sums[:, 2]), detail)


@dataclass(frozen=True, slots=True)
class WordTimes:
    """Distances of starts and ends, both counted, over the words that truth and answer share, in ms."""

    median: float
    """Of the absolute distance."""
    within: Mapping[int, float]
    """Share of distances of at most 50, 100 and 200 ms."""
    histogram: tuple[int, ...]
    """Counts of signed distances by `HISTOGRAM_STEP` ms from -`HISTOGRAM_REACH`; the ends hold what is beyond.

    A distance is the answer's time less the true one: below 0 is early.
    """


def word_times(
    references: Sequence[Sequence[Word]],
    hypotheses: Sequence[Sequence[Word]],
    normalizer: Callable[[str], str] = normalize,
) -> WordTimes:
    """How the distances that `aas` averages are spread; nan where no word is shared."""
    distances = np.concatenate([found.ravel() for found in _distances(references, hypotheses, normalizer)])
    # Times are written to 10 ms, and 0.1 s is not 100 ms to the last bit of a float.
    far = np.round(np.abs(distances), 6)
    edges = np.arange(-HISTOGRAM_REACH, HISTOGRAM_REACH + HISTOGRAM_STEP, HISTOGRAM_STEP)
    inside = np.clip(np.round(distances, 6), edges[0], edges[-1])
    return WordTimes(
        median=float(np.median(far)) if len(far) else math.nan,
        within={limit: ratio(float((far <= limit).sum()), len(far)) for limit in NEAR},
        histogram=tuple(np.histogram(inside, edges)[0].tolist()),
    )


def levenshtein() -> Any:
    """jiwer's own edit distance, called without jiwer's transforms; benchmarks/scoring.py times it."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as missing:
        raise MissingExtraError("jiwer", "eval") from missing
    return Levenshtein


def _distances(
    references: Sequence[Sequence[Word]], hypotheses: Sequence[Sequence[Word]], normalizer: Callable[[str], str]
) -> list[Floats]:
    """(M, 2) for each utterance: signed distances of start and end, in ms, of the M words that both name."""
    check_pairs(references, hypotheses)
    opcodes = levenshtein().opcodes
    return [_of_clip(*pair, normalizer, opcodes) for pair in zip(references, hypotheses, strict=True)]


def _of_clip(
    reference: Sequence[Word], hypothesis: Sequence[Word], normalizer: Callable[[str], str], opcodes: Any
) -> Floats:
    names = [[normalizer(word.text) for word in words] for words in (reference, hypothesis)]
    matched = [
        (there, here)
        for block in opcodes(*names)
        if block.tag == "equal"
        for there, here in zip(
            reference[block.src_start : block.src_end], hypothesis[block.dest_start : block.dest_end], strict=True
        )
    ]
    seconds = [(here.start - there.start, here.end - there.end) for there, here in matched]
    return 1000 * np.array(seconds, dtype=np.float64).reshape(-1, 2)
