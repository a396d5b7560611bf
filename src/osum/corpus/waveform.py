"""What can be done to a waveform: speed, silence around it, echo, noise, band, loudness, codec, another sound on it.

Word times move with the sound. Nothing is drawn here but the tail of an echo, from the generator that is passed in.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import soundfile
import soxr

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.errors import InputError
from osum.utterance import Word

Codec = Literal["mulaw", "gsm", "opus", "vorbis", "mp3"]
CODECS: dict[str, tuple[str, str, int]] = {
    "mulaw": ("WAV", "ULAW", 8000),  # telephone
    "gsm": ("WAV", "GSM610", 8000),  # old mobile telephone
    "opus": ("OGG", "OPUS", SAMPLE_RATE),  # calls over the internet
    "vorbis": ("OGG", "VORBIS", SAMPLE_RATE),
    "mp3": ("MP3", "MPEG_LAYER_III", SAMPLE_RATE),
}
"""Name to libsndfile's container and coding, and the rate in Hz that it codes at."""

PEAK = 0.98
QUIET = 1e-4
"""Level below which a clip counts as silent; noise is set against this level."""
FRAME = SAMPLE_RATE // 100
_FLOOR = 10 ** (-30 / 20)  # below the loudest frame by this, a frame counts as silence


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
    length = fast_length(samples.size + size)
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(tail, length), length)
    return wet[: samples.size].astype(np.float32)


def add_noise(samples: Float32, noise: Float32, snr: float) -> Float32:
    """Put noise (S,) `snr` dB below the clip's level; (S,) to (S,)."""
    gain = max(level(samples), QUIET) / max(level(noise), 1e-9) * 10 ** (-snr / 20)
    return (samples + np.float32(gain) * noise).astype(np.float32)


def limit_band(samples: Float32, highest: float) -> Float32:
    """Take out what is above `highest` Hz, with a soft edge of 300 Hz; (S,) to (S,)."""
    length = fast_length(samples.size)
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    mask = np.clip((highest - frequencies) / 300 + 1, 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, length) * mask, length)[: samples.size].astype(np.float32)


def transcode(samples: Float32, codec: str) -> Float32:
    """Code and decode in memory, with libsndfile's own rate; no delay, (S,) to (S,).

    Raises:
        InputError: libsndfile lacks the codec.
    """
    container, coding, rate = CODECS[codec]
    if not soundfile.check_format(container, coding):
        raise InputError(f"libsndfile has no {coding}: update soundfile, or leave {codec!r} out of `codecs`")
    if samples.size == 0:
        return samples.astype(np.float32)
    file = io.BytesIO()
    sent = soxr.resample(np.pad(samples, (0, FRAME)), SAMPLE_RATE, rate, quality="LQ")
    soundfile.write(file, np.clip(sent, -1, 1), rate, format=container, subtype=coding)
    file.seek(0)
    received = soxr.resample(soundfile.read(file, dtype="float32")[0], rate, SAMPLE_RATE, quality="LQ")
    return np.clip(fit(received, samples.size), -1, 1)


def overlay(samples: Float32, words: tuple[Word, ...], event: Float32, start: int) -> tuple[Float32, tuple[Word, ...]]:
    """Add an event (E,) from sample `start` on; (S,) to the length of both.

    An event that begins before the speech (start < 0) moves the speech and its words by as much.
    """
    front = max(-start, 0)
    mixed = np.zeros(front + max(samples.size, start + event.size), np.float32)
    mixed[front : front + samples.size] += samples
    mixed[front + start : front + start + event.size] += event
    shift = front / SAMPLE_RATE
    moved = tuple(Word(w.text, w.start + shift, w.end + shift, w.confidence) for w in words)
    return mixed / np.float32(max(1.0, float(np.abs(mixed).max(initial=0.0)) / PEAK)), moved


def loud_part(samples: Float32) -> slice:
    """The samples from the first to the last frame that is not silence."""
    frames = samples[: samples.size // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(level > _FLOOR * level.max(initial=0.0))
    return slice(int(loud[0]) * FRAME, (int(loud[-1]) + 1) * FRAME) if loud.size else slice(0, samples.size)


def set_level(samples: Float32, decibels: float) -> Float32:
    """Bring the clip to a loudness without clipping; silence stays silence."""
    gain = 10 ** (decibels / 20) / max(level(samples), QUIET)
    peak = float(np.abs(samples).max(initial=0.0)) * gain
    return (samples * np.float32(gain * min(1.0, PEAK / max(peak, PEAK)))).astype(np.float32)


def fit(samples: Float32, size: int) -> Float32:
    """Cut or filled up with zeros to (size,)."""
    return np.pad(samples[:size], (0, max(size - samples.size, 0))).astype(np.float32)


def level(samples: Float32) -> float:
    """RMS of a clip (S,)."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def fast_length(size: int) -> int:
    """A length with a fast Fourier transform: 2, 3 or 5 times a power of two, at least `size`."""
    power = 1 << max(size - 1, 1).bit_length()
    return next(length for length in (power // 8 * 5, power // 4 * 3, power) if length >= size)
