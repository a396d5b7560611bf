"""Hand-made features: pitch, sizes, and no dependence on silence around a word."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from osum.audio import SAMPLE_RATE
from osum.peers.features import FRAMES_SIZE, STATISTICS_SIZE, clip_features, pitch_track

TIME = np.arange(SAMPLE_RATE) / SAMPLE_RATE


def tone(hertz: float) -> np.ndarray:
    """A second of a tone with overtones."""
    return sum(np.sin(2 * np.pi * hertz * n * TIME) / n for n in range(1, 5)).astype(np.float32) * np.float32(0.2)


@pytest.mark.parametrize("hertz", [90, 150, 250, 450])
def test_pitch_of_a_tone_is_its_frequency(hertz):
    assert 2 ** np.median(pitch_track(tone(hertz))) == pytest.approx(hertz, rel=0.03)


def test_noise_is_unvoiced():
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    assert (pitch_track(noise) > 0).mean() < 0.1


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(SAMPLE_RATE, np.float32), tone(150)])
def test_features_are_finite_and_of_one_size(samples):
    statistics, frames = clip_features(samples)
    assert statistics.shape == (STATISTICS_SIZE,) == (187,) and frames.shape == (FRAMES_SIZE,) == (208,)
    assert np.isfinite(statistics).all() and np.isfinite(frames).all()


def test_time_normalised_features_do_not_depend_on_silence_around_the_word():
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    word = np.concatenate([tone(150)[:4000], tone(300)[:4000]])
    alone, within = (clip_features(np.concatenate([quiet, word, *rest]))[1] for rest in ([quiet], [quiet, quiet]))
    assert np.allclose(alone, within, atol=1e-4)
