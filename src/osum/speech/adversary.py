"""What teaches a vocoder to sound real: networks that judge waveforms, and the three losses between them and it.

1. Every judge sees a real and a made waveform, and learns to say 1 of the one and 0 of the other.
2. The vocoder learns to be given 1, and to give the judges' layers the values that the real waveform gives them.
3. Both are one sum: judges are held still where they judge for the vocoder, and see its waveform detached where they
   learn. So one optimiser serves both.

Part of training alone. Shapes: B clips, S samples, P period, N bins, F frames.
Sources: HiFi-GAN (arXiv 2010.05646) 2.3 and 2.4; UnivNet (arXiv 2106.07889) 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1


@dataclass(frozen=True)
class AdversaryConfig:
    """Sizes of the judges."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    """Samples so far apart are judged side by side."""
    fft_sizes: tuple[int, ...] = (512, 1024, 2048)
    """Of the spectra that are judged."""
    channels: int = 32


class AdversaryLosses(NamedTuple):
    """The three losses, each a mean."""

    adversarial: Tensor
    """Of the vocoder: how far from 1 the judges' answers are."""
    features: Tensor
    """Of the vocoder: how far the judges' layers are from those of the real waveform."""
    judges: Tensor
    """Of the judges."""


class _Judge(nn.Module):
    """Convolutions over a picture of a waveform, each behind the one before."""

    layers: nn.ModuleList

    def picture(self, wave: Tensor) -> Tensor:
        """(B, S) to (B, 1, H, W)."""
        raise NotImplementedError

    def forward(self, wave: Tensor) -> list[Tensor]:
        """What each layer gives; the last is the verdict."""
        x, found = self.picture(wave), []
        for layer in self.layers[:-1]:
            x = functional.leaky_relu(layer(x), SLOPE)
            found.append(x)
        return [*found, self.layers[-1](x)]


class PeriodJudge(_Judge):
    """Looks at every P-th sample together."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels]
        layers = [nn.Conv2d(one, other, (5, 1), (3, 1), (2, 0)) for one, other in pairwise(widths)]
        layers += [nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0))]
        layers += [nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))]
        self.layers = nn.ModuleList(map(weight_norm, layers))

    def picture(self, wave: Tensor) -> Tensor:
        """(B, S) to (B, 1, S / P, P)."""
        padded = functional.pad(wave, (0, -wave.shape[1] % self.period))
        return padded.view(len(wave), 1, -1, self.period)


class SpectrumJudge(_Judge):
    """Looks at a magnitude spectrum."""

    def __init__(self, fft_size: int, channels: int) -> None:
        super().__init__()
        self.fft_size = fft_size
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)
        widths = [1, channels, channels, channels, channels]
        strides = [(1, 1), (1, 2), (1, 2), (1, 2)]
        pairs = zip(pairwise(widths), strides, strict=True)
        layers = [nn.Conv2d(one, other, (3, 9), stride, (1, 4)) for (one, other), stride in pairs]
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 3, padding=1)]
        self.layers = nn.ModuleList(map(weight_norm, layers))

    def picture(self, wave: Tensor) -> Tensor:
        """(B, S) to (B, 1, F, N)."""
        hop = self.fft_size // 4
        found = torch.stft(wave, self.fft_size, hop, window=self.window, pad_mode="constant", return_complex=True)
        return torch.view_as_real(found).square().sum(-1).add(1e-9).sqrt().transpose(1, 2)[:, None]


class Adversary(nn.Module):
    """All judges.

    Example:
        >>> judges = Adversary(AdversaryConfig(periods=(2,), fft_sizes=(64,), channels=2))
        >>> wave = torch.randn(1, 1000)
        >>> float(judges(wave, wave).features)
        0.0
    """

    def __init__(self, config: AdversaryConfig) -> None:
        super().__init__()
        judges = [PeriodJudge(period, config.channels) for period in config.periods]
        spectra = [SpectrumJudge(size, config.channels) for size in config.fft_sizes]
        self.judges = nn.ModuleList([*judges, *spectra])

    def forward(self, real: Tensor, made: Tensor) -> AdversaryLosses:
        """Real and made waveforms (B, S) to their losses."""
        self.requires_grad_(False)
        with torch.no_grad():
            wanted = [judge(real) for judge in self.judges]
        given = [judge(made) for judge in self.judges]
        self.requires_grad_(True)
        adversarial = sum((1 - layers[-1]).square().mean() for layers in given)
        features = sum(
            functional.l1_loss(mine, theirs)
            for one, other in zip(given, wanted, strict=True)
            for mine, theirs in zip(one[:-1], other[:-1], strict=True)
        )
        judged = [(judge(real)[-1], judge(made.detach())[-1]) for judge in self.judges]
        judges = sum((1 - true).square().mean() + false.square().mean() for true, false in judged)
        return AdversaryLosses(*map(torch.as_tensor, (adversarial, features, judges)))
