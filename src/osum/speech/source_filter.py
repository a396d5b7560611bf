"""A mel spectrogram and its fundamental to a waveform: a pulse train and noise through filters that a network chooses.

1. The source is a train of pulses with the pitch of F0, flat up to the Nyquist frequency, and white noise.
2. For each mel frame a network gives a filter for both: the mel's own envelope, corrected; the pulses' has a phase.
3. Windowed spectra of the source times the filters are added up, three windows over each sample.

All of it works at the rate of the mel, so that one processor core learns it, and it looks `look_ahead` frames forward.
Worked example, look-ahead 2: the samples of frame 0 are final when frames 0 to 3 are known.
Shapes: B clips, M mel bins, F mel frames, S samples, N spectrum bins.
Sources: neural source-filter models (arXiv 1904.12088); differentiable signal processing (arXiv 2001.04643).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from osum.speech.causal import CausalStack, Past, with_past
from osum.speech.features import MelConfig, slaney_filters
from osum.speech.mel_decoder import F0_CENTRE, MEL_CENTRE, MEL_SCALE

WINDOWS = 3
"""Hops of a window: the fewest over which squared Hann windows add up to a constant."""
LOUDEST = 4.0
"""Natural logarithm of the largest gain."""


@dataclass(frozen=True)
class SourceFilterConfig:
    """Sizes of the vocoder; 1.9 million parameters by default."""

    width: int = 256
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    look_ahead: int = 2
    """Mel frames to come that a filter waits for."""
    peak: float = 0.99
    """Largest sample of the waveform."""


class SourceFilterPast(NamedTuple):
    """What the next piece of a waveform needs."""

    layers: Past
    mel: Tensor | None
    """(B, look-ahead, M) frames that wait for their filter."""
    turns: Tensor
    """(B,) float64 periods of the fundamental so far, to within a whole number."""
    source: Tensor | None
    """(B, S, 2) the last pulses and noise."""
    overlap: Tensor | None
    """(B, S) sums of windows to which more will be added."""


class SourceFilter(nn.Module):
    """Mel and F0 to a waveform.

    Example:
        >>> vocoder = SourceFilter(SourceFilterConfig(width=8), MelConfig(16_000, 1024, 640, 160)).eval()
        >>> vocoder(torch.zeros(1, 80, 10), torch.full((1, 10), 100.0), torch.zeros(1, 1600)).shape
        torch.Size([1, 1600])
    """

    envelope: Tensor
    envelope_offset: Tensor
    window: Tensor

    def __init__(self, config: SourceFilterConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.hop, self.sampling_rate = config, mel.hop_length, mel.sampling_rate
        self.size = WINDOWS * mel.hop_length
        self.delay = config.look_ahead + 1
        """Frames by which samples come later than their mel."""
        self.num_bins = self.size // 2 + 1
        self.stack = CausalStack(
            mel.num_bins + 1, config.width, 2 * config.look_ahead + 1, config.kernel, config.dilations
        )
        self.after = nn.Linear(config.width, 3 * self.num_bins)
        nn.init.zeros_(self.after.weight)
        nn.init.zeros_(self.after.bias)
        with torch.device("cpu"):  # from numbers, even where a model without numbers is made
            weights, offset = _envelope(mel, self.num_bins)
        self.register_buffer("envelope", weights, persistent=False)
        self.register_buffer("envelope_offset", offset, persistent=False)
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)

    def forward(self, mel: Tensor, hz: Tensor, noise: Tensor, turns: Tensor | None = None) -> Tensor:
        """Mel (B, M, F), Hz (B, F) and standard normal noise (B, S) to the whole waveform (B, S)."""
        late = self.delay
        mel = torch.cat([mel, mel[..., -1:].expand(-1, -1, late)], dim=2)
        hz = torch.cat([hz, hz[:, -1:].expand(-1, late)], dim=1)
        noise = nn.functional.pad(noise, (0, late * self.hop))
        wave, _ = self.feed(mel, hz, noise, self.start(mel, turns))
        return wave[:, late * self.hop :]

    def start(self, like: Tensor, turns: Tensor | None = None) -> SourceFilterPast:
        """Before the first frame of mels (B, M, F), on their device."""
        zeros = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        return SourceFilterPast(None, None, zeros if turns is None else turns, None, None)

    def feed(self, mel: Tensor, hz: Tensor, noise: Tensor, past: SourceFilterPast) -> tuple[Tensor, SourceFilterPast]:
        """Mel (B, M, F), Hz (B, F), noise (B, S) to the samples (B, S) of frames `delay` before them, and the past."""
        pitch = torch.log2(hz / F0_CENTRE)
        given = torch.cat([(mel - MEL_CENTRE) / MEL_SCALE, pitch[:, None]], dim=1).transpose(1, 2)
        hidden, layers = self.stack(given, past.layers)  # row j: frame j - look_ahead
        late, kept_mel = with_past(mel.transpose(1, 2), past.mel, self.config.look_ahead)
        pulses, turns = self.pulses(hz, past.turns)
        source, kept = with_past(torch.stack([pulses, noise], dim=2), past.source, WINDOWS * self.hop)
        frames = source[:, : source.shape[1] - self.hop].unfold(1, self.size, self.hop)  # (B, F, 2, size)
        spectrum = torch.fft.rfft(frames * self.window)  # (B, F, 2, N)
        spoken = (spectrum * self.filters(hidden, late[:, : hidden.shape[1]])).sum(2)
        pieces = torch.fft.irfft(spoken, n=self.size) * self.window / (WINDOWS * 3 / 8)
        wave, overlap = self._add_up(pieces, past.overlap)
        return wave.clamp(-self.config.peak, self.config.peak), SourceFilterPast(layers, kept_mel, turns, kept, overlap)

    def filters(self, hidden: Tensor, mel: Tensor) -> Tensor:
        """Layers (B, F, W) and their frames' mel (B, F, M) to the gains of pulses and noise, complex (B, F, 2, N)."""
        loud, phase, hiss = self.after(hidden).chunk(3, dim=2)
        envelope = mel @ self.envelope + self.envelope_offset
        gains = torch.stack([envelope + loud, envelope + hiss - 1], dim=2).clamp(max=LOUDEST).exp()
        return torch.polar(gains, torch.stack([phase, torch.zeros_like(phase)], dim=2))

    def pulses(self, hz: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Hz (B, F) to a train of band-limited pulses (B, S) of unit power, and the periods (B,) at its end.

        The sum of K cosines with the angles a, 2a ... has a closed form, sin((K + 1/2) a) / (2 sin(a / 2)) - 1/2.
        """
        each = hz.double().repeat_interleave(self.hop, dim=1)  # (B, S)
        periods = turns[:, None] + (each / self.sampling_rate).cumsum(1)
        half = (periods.frac() - (periods.frac() > 0.5).double()) * math.pi  # of the angle, within a quarter turn
        count = (self.sampling_rate / 2 / each).floor()
        sine = half.sin()
        near = sine.abs() < 1e-6
        summed = torch.where(near, count, ((2 * count + 1) * half).sin() / torch.where(near, 1, 2 * sine) - 0.5)
        return (summed * (2 / count).sqrt()).float(), periods[:, -1].frac()

    def _add_up(self, pieces: Tensor, overlap: Tensor | None) -> tuple[Tensor, Tensor]:
        """Windows (B, F, size), each a hop later, to the samples (B, S) that are whole, and the sums that are not."""
        parts = pieces.view(*pieces.shape[:2], WINDOWS, self.hop)
        num_frames = pieces.shape[1]
        total = pieces.new_zeros(len(pieces), num_frames + WINDOWS - 1, self.hop)
        if overlap is not None:
            total[:, : WINDOWS - 1] = overlap
        total = total + sum(
            nn.functional.pad(parts[:, :, place], (0, 0, place, WINDOWS - 1 - place)) for place in range(WINDOWS)
        )
        return total[:, :num_frames].flatten(1), total[:, num_frames:]


def _envelope(mel: MelConfig, num_bins: int) -> tuple[Tensor, Tensor]:
    """Weights (M, N) and offsets (N,) that make logarithms of gains of a log-mel, linear between the bins' centres."""
    filters = slaney_filters(mel.sampling_rate, mel.fft_size, mel.num_bins, mel.max_frequency)  # (M, fft / 2 + 1)
    places = torch.arange(filters.shape[1]) * mel.sampling_rate / mel.fft_size
    centres = (filters * places).sum(1) / filters.sum(1)  # Hz
    at = torch.linspace(0, mel.sampling_rate / 2, num_bins).clamp(float(centres[0]), float(centres[-1]))
    above = torch.searchsorted(centres, at).clamp(1, len(centres) - 1)
    share = (at - centres[above - 1]) / (centres[above] - centres[above - 1])
    weights = torch.zeros(len(centres), num_bins)
    weights[above - 1, torch.arange(num_bins)] = 1 - share
    weights[above, torch.arange(num_bins)] = share
    of_noise = math.sqrt(mel.window * 3 / 8)  # magnitude of white noise of unit power in a spectrum
    return weights, -(filters.sum(1).log() @ weights) - math.log(of_noise)
