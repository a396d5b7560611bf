"""A shifted voice: each factor does what it says, and nothing else moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.corpus.voice_shift import shift_voice


def clicked(size: int, place: int) -> np.ndarray:
    """Faint noise (S,) and a click of 2 ms around a sample."""
    clip = 1e-4 * np.random.default_rng(size).standard_normal(size)
    clip[place - 16 : place + 17] += 0.5 * np.hanning(33)
    return clip.astype(np.float32)


def loudest(samples: np.ndarray) -> float:
    """Seconds of the greatest amplitude."""
    return int(np.abs(samples).argmax()) / SAMPLE_RATE


def voice(pitch: float, formant: float) -> np.ndarray:
    """A second of a buzz of `pitch` Hz that is strongest around `formant` Hz, on partials 30 dB below."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    partials = pitch * np.arange(1, int(7500 / pitch))
    loud = np.exp(-0.5 * ((partials - formant) / 300) ** 2) + 0.03
    return (0.1 * (loud[:, None] * np.sin(2 * np.pi * partials[:, None] * seconds)).sum(0)).astype(np.float32)


def pitch_and_formant(samples: np.ndarray, near: float) -> tuple[float, float]:
    """By autocorrelation, less than an octave off `near`, and the centre of the spectrum, in Hz."""
    power = np.abs(np.fft.rfft(samples[2000:-2000] * np.hanning(samples.size - 4000))) ** 2
    hertz = np.fft.rfftfreq(samples.size - 4000, 1 / SAMPLE_RATE)
    lags = np.arange(int(SAMPLE_RATE / near / 1.4), int(SAMPLE_RATE / near * 1.4))
    return SAMPLE_RATE / lags[np.fft.irfft(power)[lags].argmax()], (power * hertz).sum() / power.sum()


@settings(deadline=None, max_examples=25)
@given(st.floats(0.8, 1.25), st.floats(0.85, 1.2), st.integers(130, 260))
def test_pitch_and_formants_move_each_by_its_factor(pitch, formants, hertz):
    plain = voice(hertz, 1500)
    _, centre = pitch_and_formant(plain, hertz)
    assert pitch_and_formant(shift_voice(plain, pitch, formants), hertz) == (
        pytest.approx(hertz * pitch, rel=0.03),
        pytest.approx(centre * formants, rel=0.12),
    )


def test_a_voice_that_is_not_shifted_stays():
    np.testing.assert_allclose(shift_voice(voice(180, 1500), 1.0, 1.0)[600:-600], voice(180, 1500)[600:-600], atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5000), st.floats(0.5, 2.0), st.floats(0.5, 2.0), st.booleans())
def test_a_shift_keeps_the_length_and_silence(size, pitch, formants, silent):
    clip = np.zeros(size, np.float32) if silent else np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    shifted = shift_voice(clip, pitch, formants)
    assert shifted.dtype == np.float32 and shifted.size == size and np.isfinite(shifted).all()
    assert not (silent and shifted.any())


def test_a_shift_keeps_the_place_of_a_sound():
    for factor in (0.8, 1.25):
        assert loudest(shift_voice(clicked(32000, 20000), factor, 1.0)) == pytest.approx(1.25, abs=0.016)
