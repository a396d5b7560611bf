"""Waveforms to the features that each network of this folder reads, as its release computes them.

Knows no weights. Shapes: B clips, S samples, M mel bins, F frames. Sources: specification of token2wav 7 and 13;
the filters are librosa's and Kaldi's, by `transformers.audio_utils`; checked against stored outputs of the originals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from osum.audio import SAMPLE_RATE

KALDI_FFT = 512
KALDI_WINDOW, KALDI_HOP = 400, 160  # samples, 25 and 10 ms
PRE_EMPHASIS = 0.97
PEAK_FLOOR = 1e-8  # added to a peak that is divided by
EPSILON = 1.1920929e-7  # Kaldi's floor of an energy, float32's epsilon
RESAMPLER_ZEROS = 6  # zero crossings on each side of the windowed sinc
RESAMPLER_ROLLOFF = 0.99


@dataclass(frozen=True)
class MelConfig:
    """The mel spectrogram that a flow writes and its vocoder reads."""

    sampling_rate: int = 22_050
    """Hz, of the waveform that the mel is computed from."""
    fft_size: int = 1024
    window: int = 1024
    """Samples of the Hann window."""
    hop_length: int = 256
    """Samples per frame."""
    num_bins: int = 80
    max_frequency: float = 8000.0
    """Hz."""
    power_floor: float = 1e-9
    """Added to the power before its root."""


@cache
def slaney_filters(sampling_rate: int, fft_size: int, num_bins: int, max_frequency: float) -> Tensor:
    """(M, fft_size / 2 + 1) area-normalised triangles on Slaney's scale, equal to librosa's."""
    bank = mel_filter_bank(fft_size // 2 + 1, num_bins, 0.0, max_frequency, sampling_rate, "slaney", "slaney")
    return torch.from_numpy(bank.T).float()


def _magnitude_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """Mel-weighted magnitudes (B, M, F), F = floor(S / hop)."""
    side = (config.fft_size - config.hop_length) // 2
    window = torch.hann_window(config.window, device=wave.device)
    padded = functional.pad(wave[:, None], (side, side), mode="reflect")[:, 0]
    spectrum = torch.stft(
        padded, config.fft_size, config.hop_length, config.window, window, center=False, return_complex=True
    )  # (B, fft / 2 + 1, F)
    magnitude = (torch.view_as_real(spectrum).square().sum(-1) + config.power_floor).sqrt()
    filters = slaney_filters(config.sampling_rate, config.fft_size, config.num_bins, config.max_frequency)
    return filters.to(wave) @ magnitude


def log_magnitude_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """Natural logarithm of a magnitude mel: (B, S) in [-1, 1] to (B, M, F), F = floor(S / hop) (7.1).

    Digital silence gives ln 1e-5 = -11.5129.
    """
    return _magnitude_mel(wave, config).clamp(min=1e-5).log()


def decibel_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """Decibels scaled to [-1, 1], of a waveform whose peak is set to 1: (B, S) to (B, M, F) (13)."""
    wave = wave / (wave.abs().amax(dim=1, keepdim=True) + PEAK_FLOOR)
    decibels = 20 * _magnitude_mel(wave, config).clamp(min=10**-5.75).log10() - 20
    return (2 * (decibels + 115) / 115 - 1).clamp(-1, 1)


def whisper_log_mel(wave: Tensor, num_bins: int = 128) -> Tensor:
    """Whisper's log-mel at 16 kHz, not padded to 30 s: (S,) to (M, F), F = floor(S / 160) (7.2).

    The dynamic range is that of the one clip. Digital silence gives -1.5.
    """
    window = torch.hann_window(KALDI_WINDOW, device=wave.device)
    spectrum = torch.stft(wave, KALDI_WINDOW, KALDI_HOP, window=window, center=True, return_complex=True)
    power = spectrum[:, :-1].abs().square()  # (201, F)
    mel = slaney_filters(SAMPLE_RATE, KALDI_WINDOW, num_bins, SAMPLE_RATE / 2).to(wave) @ power
    log_mel = mel.clamp(min=1e-10).log10()
    return (torch.maximum(log_mel, log_mel.amax() - 8) + 4) / 4


@cache
def kaldi_filters(num_bins: int) -> Tensor:
    """(M, 257) triangles, equally wide and with straight sides on Kaldi's mel scale, 20 Hz to 8 kHz."""
    bank = mel_filter_bank(
        KALDI_FFT // 2 + 1,
        num_bins,
        20.0,
        SAMPLE_RATE / 2,
        SAMPLE_RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(bank.T).float()


def kaldi_fbank(wave: Tensor, num_bins: int = 80) -> Tensor:
    """Kaldi's log filter bank of whole frames at 16 kHz, undithered: (S,) in [-1, 1] to (F, M) (7.3).

    The waveform is not scaled to 16 bit, so the floor ln 2^-23 = -15.9424 is reached by quiet audio.
    """
    frames = wave.unfold(0, KALDI_WINDOW, KALDI_HOP)  # (F, 400)
    frames = frames - frames.mean(dim=1, keepdim=True)
    earlier = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    povey = torch.hann_window(KALDI_WINDOW, periodic=False, device=wave.device) ** 0.85
    spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * earlier) * povey, n=KALDI_FFT)  # (F, 257)
    return (spectrum.abs().square() @ kaldi_filters(num_bins).T.to(wave)).clamp(min=EPSILON).log()


@cache
def resampling_kernel(old: int, new: int) -> tuple[Tensor, int]:
    """The windowed-sinc filter (new, 1, taps) of rates that share no factor, and its width on one side (7.4)."""
    base = RESAMPLER_ROLLOFF * min(old, new)
    width = math.ceil(RESAMPLER_ZEROS * old / base)
    phase = torch.arange(0, -new, -1)[:, None, None] / new  # float32 here, as in the release
    time = (phase + torch.arange(-width, width + old, dtype=torch.float64) / old) * base
    time = time.clamp(-RESAMPLER_ZEROS, RESAMPLER_ZEROS)
    taps = torch.sinc(time) * torch.cos(math.pi * time / (2 * RESAMPLER_ZEROS)).square() * (base / old)
    return taps.float(), width


def resample(wave: Tensor, old_rate: int, new_rate: int) -> Tensor:
    """(B, S) from one rate to another by a windowed sinc, as torchaudio's default does: (B, ceil(S new / old))."""
    if old_rate == new_rate:
        return wave
    factor = math.gcd(old_rate, new_rate)
    old, new = old_rate // factor, new_rate // factor
    kernel, width = resampling_kernel(old, new)
    padded = functional.pad(wave[:, None], (width, width + old))
    out = functional.conv1d(padded, kernel.to(wave), stride=old)  # (B, new, blocks)
    return out.transpose(1, 2).flatten(1)[:, : math.ceil(new * wave.shape[1] / old)]
