"""Another voice that says the same: pitch and formants moved apart, the length kept. Needs no model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from osum.corpus.packed import Float32
from osum.corpus.waveform import change_speed, fit

Complex = npt.NDArray[np.complexfloating[Any, Any]]

_FFT, _HOP = 512, 128  # samples; 32 ms hold three periods of a deep voice
_ENVELOPE_ROUNDS = 4  # of the true envelope (Roebel and Rodet 2005), which rests on the partials and not between them
_LIFTER = 24  # samples, 1.5 ms: what is slower in the cepstrum is pitch, up to 660 Hz


def shift_voice(samples: Float32, pitch: float, formants: float) -> Float32:
    """Another voice that says the same: pitch and formants times a factor, the length kept; (S,) to (S,).

    Stands for the voice conversion of events in the paper (2.4), without a model: (1) play the clip faster by
    `pitch`, which moves all frequencies; (2) move its spectral envelope, smoothed in the cepstrum, on to
    `formants`; (3) stretch it back to its length with a phase vocoder.
    """
    played, _ = change_speed(samples, (), pitch)
    spectrum = _stft(played)  # (F, K)
    spectrum = spectrum * _envelope_gain(np.abs(spectrum), pitch / formants)
    return fit(_inverse_stft(_stretch(spectrum, pitch)), samples.size)


def _stft(samples: Float32) -> Complex:
    """Frames centred on every `_HOP`-th sample; (S,) to (F, K)."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (_FFT // 2, _FFT)), _FFT)[::_HOP]
    return np.fft.rfft(frames * _window())


def _inverse_stft(spectrum: Complex) -> Float32:
    """Overlapping frames (F, K) added up to about (F * _HOP,)."""
    frames = np.fft.irfft(spectrum, _FFT) * _window() / 1.5  # four squared windows overlap to 1.5
    blocks = np.zeros((len(frames) + _FFT // _HOP - 1, _HOP))
    for number in range(_FFT // _HOP):
        blocks[number : number + len(frames)] += frames[:, number * _HOP : (number + 1) * _HOP]
    return blocks.ravel()[_FFT // 2 :].astype(np.float32)


def _window() -> Float32:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


def _stretch(spectrum: Complex, factor: float) -> Complex:
    """Phase vocoder: `factor` times as many frames with the same frequencies; (F, K) to about (F * factor, K)."""
    places = np.arange(int((len(spectrum) - 1) * factor)) / factor
    before = places.astype(int)
    part = (places - before)[:, None]
    size = np.abs(spectrum)
    expected = 2 * np.pi * np.arange(spectrum.shape[1]) * _HOP / _FFT  # phase that a bin's own frequency gains a frame
    gained = np.angle(spectrum[1:] * spectrum[:-1].conj() * np.exp(-1j * expected)) + expected
    phase = np.angle(spectrum[0]) + np.cumsum(gained[before], axis=0) - gained[before]
    return ((1 - part) * size[before] + part * size[before + 1]) * np.exp(1j * phase)


def _envelope_gain(size: npt.NDArray[np.floating[Any]], ratio: float) -> npt.NDArray[np.floating[Any]]:
    """What to multiply bins (F, K) with so that their smooth envelope is read at `ratio` times the frequency."""
    log_size = np.log(size + 1e-3 * size.max(initial=0.0) + 1e-9)
    envelope = log_size
    for _ in range(_ENVELOPE_ROUNDS):
        cepstrum = np.fft.irfft(np.maximum(log_size, envelope))
        cepstrum[:, _LIFTER : 1 - _LIFTER] = 0
        envelope = np.fft.rfft(cepstrum).real  # (F, K)
    places = np.minimum(np.arange(size.shape[1]) * ratio, size.shape[1] - 1)
    before = np.minimum(places.astype(int), size.shape[1] - 2)
    part = places - before
    wanted = (1 - part) * envelope[:, before] + part * envelope[:, before + 1]
    return np.exp(np.clip(wanted - envelope, -2.3, 2.3))  # 20 dB
