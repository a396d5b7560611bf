"""How good answers are; no model."""

from osum.scoring.calibration import (
    Calibration,
    calibration,
    fit_temperature,
    log_scores_of,
    negative_log_likelihood,
    probabilities_at,
)
from osum.scoring.metrics import (
    ERROR_RATES,
    METRICS,
    Confusion,
    accuracy,
    bleu,
    bleu_signature,
    bleu_tokenizer,
    cer,
    confusion,
    macro_f1,
    mer,
    unweighted_recall,
    wer,
)
from osum.scoring.normalize import NORMALISERS, Normaliser, mixed_units, normalize
from osum.scoring.paired import Difference, paired_difference
from osum.scoring.resampling import Counts, Metric, Resampling, Score, Spread, spread
from osum.scoring.word_times import HISTOGRAM_REACH, HISTOGRAM_STEP, WordTimes, aas, word_times

__all__ = [
    "ERROR_RATES",
    "HISTOGRAM_REACH",
    "HISTOGRAM_STEP",
    "METRICS",
    "NORMALISERS",
    "Calibration",
    "Confusion",
    "Counts",
    "Difference",
    "Metric",
    "Normaliser",
    "Resampling",
    "Score",
    "Spread",
    "WordTimes",
    "aas",
    "accuracy",
    "bleu",
    "bleu_signature",
    "bleu_tokenizer",
    "calibration",
    "cer",
    "confusion",
    "fit_temperature",
    "log_scores_of",
    "macro_f1",
    "mer",
    "mixed_units",
    "negative_log_likelihood",
    "normalize",
    "paired_difference",
    "probabilities_at",
    "spread",
    "unweighted_recall",
    "wer",
    "word_times",
]
