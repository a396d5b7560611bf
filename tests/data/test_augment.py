"""Augmentation keeps type, finiteness, length and time laws, and depends on its generator only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.data.augment import Augmentation, add_noise, augment, change_speed, limit_band, surround
from osum.utterance import Word

ALWAYS = Augmentation(1.0, (0.9, 1.1), 1.0, 0.6, 1.0, (0.1, 0.4), 1.0, (5, 30), 1.0)


def tone(seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype("float32")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40000), st.integers(0, 2**32 - 1), st.booleans())
def test_any_clip_stays_finite_float32_within_full_scale(size, seed, silent):
    rng = np.random.default_rng(seed)
    clip = np.zeros(size, np.float32) if silent else rng.uniform(-1, 1, size).astype(np.float32)
    changed, _ = augment(clip, rng, noises=[tone(0.1)], options=ALWAYS)
    assert changed.dtype == np.float32 and np.isfinite(changed).all()
    assert np.abs(changed).max(initial=0) <= 1
    assert size / 1.1 - 2 <= changed.size <= size / 0.9 + 1.2 * SAMPLE_RATE + 2


def test_the_same_seed_gives_the_same_clip():
    first, second = (augment(tone(), np.random.default_rng(5), options=ALWAYS)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_words_move_with_the_sound(seed):
    clip = np.concatenate([np.zeros(8000, np.float32), tone(0.5), np.zeros(8000, np.float32)])
    options = Augmentation(1.0, (0.9, 1.1), 1.0, 0.6, 0.0, noise_probability=0.0, band_probability=0.0)
    changed, (word,) = augment(clip, np.random.default_rng(seed), (Word("a", 0.5, 1.0),), options=options)
    loud = np.flatnonzero(np.abs(changed) > 0.05 * np.abs(changed).max()) / SAMPLE_RATE
    assert (loud[0], loud[-1]) == pytest.approx((word.start, word.end), abs=0.01)


def test_speed_divides_the_length():
    changed, words = change_speed(tone(2.0), (Word("a", 1.0, 2.0),), 1.25)
    assert changed.size == pytest.approx(1.6 * SAMPLE_RATE, abs=2)
    assert (words[0].start, words[0].end) == (0.8, 1.6)


def test_silence_adds_its_length():
    changed, words = surround(tone(1.0), (Word("a", 0.0, 1.0),), 0.25, 0.5)
    assert changed.size == 1.75 * SAMPLE_RATE and words[0].start == 0.25


def test_noise_has_the_asked_ratio():
    clip, noise = tone(), np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    added = add_noise(clip, noise, 10.0) - clip
    assert 10 * np.log10((clip**2).sum() / (added**2).sum()) == pytest.approx(10.0, abs=0.1)


def test_the_band_limit_takes_out_what_is_above():
    assert np.abs(limit_band(tone(frequency=6000), 4000)[2000:-2000]).max() < 1e-3
    np.testing.assert_allclose(
        limit_band(tone(frequency=1000), 4000)[4000:-4000], tone(frequency=1000)[4000:-4000], atol=1e-2
    )
