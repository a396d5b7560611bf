"""Features of the classical baseline: a clip as a few hundred numbers made by hand.

1. Statistics: mean and deviation over time, and the deviation of the deltas, of 40 log-mel bands, 20 MFCC, pitch and
   energy, and the voiced share: 187 numbers.
2. Time-normalised cepstra, which keep the order of sounds: the MFCC of the loud part resampled to 16 frames: 208.

Shapes: S samples, F frames, D numbers of a frame.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.errors import MissingExtraError

try:
    import scipy.fft
except ImportError as fault:
    raise MissingExtraError("scipy", "eval") from fault

Floats = NDArray[np.float32]

HOP = SAMPLE_RATE // 100  # samples, 10 ms
WINDOW = SAMPLE_RATE // 40  # samples, 25 ms
PITCH_WINDOW = SAMPLE_RATE // 25  # samples, 40 ms: three periods of the lowest voice
FFT_SIZE = 512
NUM_BANDS, NUM_CEPSTRA = 40, 20
NUM_FRAMES, FRAME_CEPSTRA = 16, 13  # of the time-normalised form
LOWEST_PITCH, HIGHEST_PITCH = 70, 600  # Hz; infants cry up to there
VOICED = 0.45  # normalised autocorrelation from which a frame counts as voiced
OCTAVE_COST = 0.05  # taken off the autocorrelation per octave down, as every multiple of a period is a period too
LOUD = 20.0  # dB below the loudest frame; what is softer is trimmed off a word (30 reads 10 % fewer training words)
STATISTICS_SIZE = 3 * (NUM_BANDS + NUM_CEPSTRA + 2) + 1
FRAMES_SIZE = NUM_FRAMES * FRAME_CEPSTRA
FEATURES_VERSION = "1"
"""Changes with the numbers, so that kept ones are made again."""


def clip_features(samples: Floats) -> tuple[Floats, Floats]:
    """Statistics (187,) and time-normalised cepstra (208,) of a clip (S,)."""
    samples = np.pad(samples, (0, max(0, PITCH_WINDOW + 2 * HOP - samples.size)))
    energy = 10 * np.log10(np.maximum((framed(samples, WINDOW) ** 2).mean(axis=1), 1e-10))  # (F,) dB
    bands = log_mel(samples)  # (F, 40)
    cepstra = scipy.fft.dct(bands, axis=1, norm="ortho")[:, :NUM_CEPSTRA]  # (F, 20)
    pitch = pitch_track(samples)  # (F',) octaves above 1 Hz, 0 where unvoiced
    voiced = pitch[pitch > 0]
    parts = [_over_time(bands), _over_time(cepstra), _over_time(voiced[:, None]), _over_time(energy[:, None])]
    share = np.array([voiced.size / pitch.size])
    return np.concatenate([*parts, share]).astype(np.float32), time_normalised(cepstra[:, :FRAME_CEPSTRA], energy)


def framed(samples: Floats, width: int) -> Floats:
    """Overlapping frames (F, width), one each 10 ms."""
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::HOP]


def log_mel(samples: Floats) -> Floats:
    """Log energies (F, 40) of mel bands."""
    spectrum = scipy.fft.rfft(framed(samples, WINDOW) * np.hanning(WINDOW).astype(np.float32), FFT_SIZE, axis=1)
    return np.log(np.maximum(np.abs(spectrum) ** 2 @ _mel_filters(), 1e-8))


@cache
def _mel_filters() -> Floats:
    """Triangles (257, 40), evenly spaced in mel from 20 Hz to the Nyquist rate."""
    lowest, highest = 2595 * np.log10(1 + np.array([20, SAMPLE_RATE / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, NUM_BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def pitch_track(samples: Floats) -> Floats:
    """log2 of the pitch in Hz of each 40 ms frame (F,), 0 where it is unvoiced.

    The highest peak of the autocorrelation, normalised by that of the window, which falls with the lag too.
    """
    window = np.hanning(PITCH_WINDOW).astype(np.float32)
    frames = framed(samples, PITCH_WINDOW)
    correlation = _autocorrelation((frames - frames.mean(axis=1, keepdims=True)) * window)  # (F, lags)
    power = correlation[:, :1]
    shape = _autocorrelation(window[None])[0]
    normal = correlation / np.maximum(power, 1e-9) / (shape / shape[0])
    shortest, longest = SAMPLE_RATE // HIGHEST_PITCH, SAMPLE_RATE // LOWEST_PITCH
    lags = np.arange(shortest, longest + 1)
    best = shortest + (normal[:, lags] - OCTAVE_COST * np.log2(lags / shortest)).argmax(axis=1)
    peak = normal[np.arange(len(normal)), best]
    voiced = (peak > VOICED) & (power[:, 0] > 1e-3 * power.max())
    return np.where(voiced, np.log2(SAMPLE_RATE / best), 0).astype(np.float32)


def _autocorrelation(frames: Floats) -> Floats:
    longest = SAMPLE_RATE // LOWEST_PITCH
    size = scipy.fft.next_fast_len(PITCH_WINDOW + longest + 1, real=True)
    power = np.abs(scipy.fft.rfft(frames, size, axis=1)) ** 2
    return scipy.fft.irfft(power, size, axis=1)[:, : longest + 1]


def _over_time(track: Floats) -> Floats:
    """Mean, deviation, and deviation of the steps of a track (F, D): (3 D,), zeros where it is too short."""
    if len(track) < 2:
        return np.zeros(3 * track.shape[1], np.float32)
    return np.concatenate([track.mean(axis=0), track.std(axis=0), np.diff(track, axis=0).std(axis=0)])


def time_normalised(cepstra: Floats, energy: Floats) -> Floats:
    """The loud part's cepstra (F, 13) without their mean, read off at 16 even times: (208,)."""
    floor = max(energy.max() - LOUD, np.percentile(energy, 10) + 6)
    loud = np.flatnonzero(energy >= min(floor, energy.max()))
    part = cepstra[loud[0] : loud[-1] + 1]
    times = np.linspace(0, len(part) - 1, NUM_FRAMES)
    before = np.floor(times).astype(int)
    after = np.minimum(before + 1, len(part) - 1)
    weight = (times - before)[:, None]
    resampled = part[before] * (1 - weight) + part[after] * weight  # (16, 13)
    return (resampled - resampled.mean(axis=0)).ravel().astype(np.float32)
