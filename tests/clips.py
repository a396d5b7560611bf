"""Sound that the tests of reading write, and what they are refused with."""

from __future__ import annotations

import numpy as np
import pytest

from osum import audio
from osum.errors import AudioError

RATE = audio.SAMPLE_RATE


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(S, C) of tones, one pitch per channel."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * 220 * (c + 1) * time) for c in range(channels)], axis=1)


def refusal(source: object, **options: object) -> str:
    with pytest.raises(AudioError) as caught:
        audio.load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
