"""Random changes of a clip that leave its labels true: speed, silence around it, echo, noise, band, loudness.

Everything is drawn from the generator that is passed in, so a seed gives the same clip. Knows nothing of
labels; word times move with the sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from osum.audio import SAMPLE_RATE
from osum.data.packed import Float32
from osum.utterance import Word

_PEAK = 0.98
_QUIET = 1e-4  # level below which a clip counts as silent and noise is set against this level


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how strongly each change is made."""

    speed_probability: float = 0.5
    speed: tuple[float, float] = (0.9, 1.1)
    silence_probability: float = 0.5
    max_silence: float = 0.6
    """Seconds, at either end."""
    echo_probability: float = 0.25
    decay: tuple[float, float] = (0.1, 0.4)
    """Seconds to -60 dB."""
    noise_probability: float = 0.6
    snr: tuple[float, float] = (5.0, 30.0)
    """dB."""
    band_probability: float = 0.5
    band: tuple[float, float] = (3400.0, 8000.0)
    """Hz, the highest frequency that stays."""
    level: tuple[float, float] = (-35.0, -10.0)
    """dB of full scale, the loudness (RMS) of the clip in the end."""


DEFAULT = Augmentation()


def augment(
    samples: Float32,
    rng: np.random.Generator,
    words: tuple[Word, ...] = (),
    noises: Sequence[Float32] = (),
    options: Augmentation = DEFAULT,
) -> tuple[Float32, tuple[Word, ...]]:
    """A changed copy of a clip (S,) and of its word times; 16 kHz float32 in and out.

    Args:
        samples: the clip.
        rng: decides everything.
        words: times in seconds of the clip.
        noises: recordings (S,) to put below the clip, beside white to brown noise.
        options: how often and how strongly.
    """
    if rng.random() < options.speed_probability:
        samples, words = change_speed(samples, words, rng.uniform(*options.speed))
    if rng.random() < options.silence_probability:
        lead, trail = rng.uniform(0, options.max_silence, size=2)
        samples, words = surround(samples, words, lead, trail)
    if samples.size == 0:
        return samples.astype(np.float32), words
    if rng.random() < options.echo_probability:
        samples = echo(samples, rng.uniform(*options.decay), rng)
    if rng.random() < options.noise_probability:
        samples = add_noise(samples, _noise(samples.size, noises, rng), rng.uniform(*options.snr))
    if rng.random() < options.band_probability:
        samples = limit_band(samples, rng.uniform(*options.band))
    return _set_level(samples, rng.uniform(*options.level)), words


def change_speed(samples: Float32, words: tuple[Word, ...], speed: float) -> tuple[Float32, tuple[Word, ...]]:
    """Play faster (speed > 1) or slower, pitch and all: (S,) to about (S / speed,)."""
    changed = soxr.resample(samples, speed, 1.0, quality="LQ") if samples.size else samples
    return changed.astype(np.float32), tuple(Word(w.text, w.start / speed, w.end / speed, w.confidence) for w in words)


def surround(samples: Float32, words: tuple[Word, ...], lead: float, trail: float) -> tuple[Float32, tuple[Word, ...]]:
    """Zeros of `lead` and `trail` seconds before and behind the clip."""
    front, back = round(lead * SAMPLE_RATE), round(trail * SAMPLE_RATE)
    shift = front / SAMPLE_RATE
    moved = tuple(Word(w.text, w.start + shift, w.end + shift, w.confidence) for w in words)
    return np.pad(samples, (front, back)).astype(np.float32), moved


def echo(samples: Float32, decay: float, rng: np.random.Generator) -> Float32:
    """A small room: the sound and an exponentially dying noise tail of `decay` seconds to -60 dB; (S,) to (S,)."""
    size = max(round(decay * SAMPLE_RATE), 2)
    tail = rng.standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    tail[: SAMPLE_RATE // 500] = 0  # 2 ms until the first wall answers
    tail *= rng.uniform(0.1, 0.5) / max(float(np.sqrt((tail**2).sum())), 1e-9)
    tail[0] = 1.0
    length = _fast_length(samples.size + size)
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(tail, length), length)
    return wet[: samples.size].astype(np.float32)


def add_noise(samples: Float32, noise: Float32, snr: float) -> Float32:
    """Put noise (S,) `snr` dB below the clip's level; (S,) to (S,)."""
    gain = max(_level(samples), _QUIET) / max(_level(noise), 1e-9) * 10 ** (-snr / 20)
    return (samples + np.float32(gain) * noise).astype(np.float32)


def limit_band(samples: Float32, highest: float) -> Float32:
    """Take out what is above `highest` Hz, with a soft edge of 300 Hz; (S,) to (S,)."""
    length = _fast_length(samples.size)
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    mask = np.clip((highest - frequencies) / 300 + 1, 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, length) * mask, length)[: samples.size].astype(np.float32)


def _noise(size: int, noises: Sequence[Float32], rng: np.random.Generator) -> Float32:
    """A recorded noise from a random place, repeated as needed, or noise between white and brown; (size,)."""
    usable = [noise for noise in noises if noise.size]
    if usable and rng.random() < 0.5:
        noise = usable[rng.integers(len(usable))]
        return np.resize(np.roll(noise, -int(rng.integers(noise.size))), size).astype(np.float32)
    length = _fast_length(size)
    spectrum = np.fft.rfft(rng.standard_normal(length, dtype=np.float32))
    spectrum /= np.maximum(np.arange(spectrum.size), 1) ** rng.uniform(0, 1)
    return np.fft.irfft(spectrum, length)[:size].astype(np.float32)


def _set_level(samples: Float32, decibels: float) -> Float32:
    """Bring the clip to a loudness without clipping; silence stays silence."""
    gain = 10 ** (decibels / 20) / max(_level(samples), _QUIET)
    peak = float(np.abs(samples).max(initial=0.0)) * gain
    return (samples * np.float32(gain * min(1.0, _PEAK / max(peak, _PEAK)))).astype(np.float32)


def _level(samples: Float32) -> float:
    """RMS of a clip (S,)."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def _fast_length(size: int) -> int:
    """A length with a fast Fourier transform: 2, 3 or 5 times a power of two, at least `size`."""
    power = 1 << max(size - 1, 1).bit_length()
    return next(length for length in (power // 8 * 5, power // 4 * 3, power) if length >= size)
