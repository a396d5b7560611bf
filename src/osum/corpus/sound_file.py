"""Sound out: samples as the bytes of a file of 16-bit numbers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import to_int16


def wav(samples: npt.NDArray[np.floating[Any]], rate: int = SAMPLE_RATE) -> bytes:
    """A waveform (S,) at `rate` Hz as a WAV file; what is louder than full scale is clipped."""
    return _encoded(samples, rate, "WAV")


def flac(samples: npt.NDArray[np.floating[Any]], rate: int = SAMPLE_RATE) -> bytes:
    """A waveform (S,) at `rate` Hz as a FLAC file; what is louder than full scale is clipped."""
    return _encoded(samples, rate, "FLAC")


def _encoded(samples: npt.NDArray[np.floating[Any]], rate: int, form: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(to_int16(np.asarray(samples))), rate, format=form, subtype="PCM_16")
    return buffer.getvalue()
