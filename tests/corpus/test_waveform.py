"""Changes of a waveform keep type, finiteness, length and time laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.corpus.waveform import CODECS, add_noise, change_speed, limit_band, overlay, surround, transcode
from osum.errors import InputError
from osum.utterance import Word


def tone(seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype("float32")


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


# Codecs


@pytest.mark.parametrize("codec", CODECS)
@settings(deadline=None, max_examples=15)
@given(size=st.integers(0, 6000), seed=st.integers(0, 99))
def test_a_codec_keeps_length_and_scale_and_gives_the_same_twice(codec, size, seed):
    clip = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    coded = transcode(clip, codec)
    assert coded.dtype == np.float32 and coded.size == size and np.abs(coded).max(initial=0) <= 1
    np.testing.assert_array_equal(coded, transcode(clip, codec))


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_loses_something_but_not_the_sound(codec):
    clip = tone()
    error = (transcode(clip, codec) - clip)[2000:-2000]
    assert 1e-6 < (error**2).sum() / (clip[2000:-2000] ** 2).sum() < 0.05


@pytest.mark.parametrize("codec", CODECS)
@settings(deadline=None, max_examples=10)
@given(size=st.integers(8000, 40000), seed=st.integers(0, 99))
def test_a_codec_does_not_delay(codec, size, seed):
    """Noise of the telephone's band is most like what comes back where it stands, to 1 ms."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    clip = np.fft.irfft(spectrum * ((hertz > 200) & (hertz < 3000)), size)
    clip = (0.3 * clip / np.abs(clip).max()).astype(np.float32)
    alike = np.fft.irfft(np.fft.rfft(transcode(clip, codec), 2 * size) * np.fft.rfft(clip, 2 * size).conj())
    delay = int(alike.argmax())
    assert min(delay, 2 * size - delay) <= SAMPLE_RATE // 1000


def test_a_codec_that_libsndfile_lacks_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(CODECS, "opus", ("WAV", "OPUS", 16000))
    with pytest.raises(InputError, match="libsndfile has no OPUS: update soundfile, or leave 'opus' out"):
        transcode(tone(), "opus")


# Another sound


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(-400, 400))
def test_an_overlay_is_the_sum_of_both_and_moves_the_words_with_the_speech(size, event_size, start):
    clip, event = np.full(size, 0.25, np.float32), np.full(event_size, 0.5, np.float32)
    mixed, (word,) = overlay(clip, (Word("a", 0.5, 0.7, 0.9),), event, start)
    front = max(-start, 0)
    expected = [
        0.25 * (0 <= place < size) + 0.5 * (start <= place < start + event_size)
        for place in range(-front, max(size, start + event_size))
    ]
    assert mixed.tolist() == expected
    assert word == Word("a", 0.5 + front / SAMPLE_RATE, 0.7 + front / SAMPLE_RATE, 0.9)
