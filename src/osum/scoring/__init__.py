"""How good answers are; no model."""

from osum.scoring.metrics import (
    ERROR_RATES,
    METRICS,
    Resampling,
    Score,
    aas,
    accuracy,
    cer,
    macro_f1,
    mer,
    unweighted_recall,
    wer,
)
from osum.scoring.normalize import mixed_units, normalize

__all__ = [
    "ERROR_RATES",
    "METRICS",
    "Resampling",
    "Score",
    "aas",
    "accuracy",
    "cer",
    "macro_f1",
    "mer",
    "mixed_units",
    "normalize",
    "unweighted_recall",
    "wer",
]
