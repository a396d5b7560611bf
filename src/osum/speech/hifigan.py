"""HiFi-GAN: a mel spectrogram to a waveform, by transposed convolutions alone.

Module names are those of the original. Shapes: B clips, M mel bins, F mel frames, S samples.
Sources: HiFi-GAN (arXiv 2010.05646); specification of token2wav 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from osum.speech.vocoder import LEAKY_SLOPE, VocoderResidualBlock


@dataclass(frozen=True)
class HifiGanConfig:
    """Sizes of HiFi-GAN."""

    channels: int = 512
    """At the rate of the mel; each upsampling halves them."""
    upsample_rates: tuple[int, ...] = (6, 5, 4, 2)
    upsample_kernels: tuple[int, ...] = (12, 11, 8, 4)
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return math.prod(self.upsample_rates)


class HifiGan(nn.Module):
    """The generator.

    Example:
        >>> HifiGan(80, HifiGanConfig(channels=16))(torch.zeros(1, 80, 3)).shape
        torch.Size([1, 720])
    """

    def __init__(self, num_bins: int, config: HifiGanConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.conv_pre = weight_norm(nn.Conv1d(num_bins, width, 7, padding=3))
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            up = nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(weight_norm(up))
            width //= 2
            self.resblocks.extend(
                VocoderResidualBlock(width, size, config.dilations, lambda _: nn.LeakyReLU(LEAKY_SLOPE))
                for size in config.kernels
            )
        self.conv_post = weight_norm(nn.Conv1d(width, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) to (B, S) within -1 and 1."""
        x, num_kernels = self.conv_pre(mel), len(self.config.kernels)
        for level, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, LEAKY_SLOPE))
            blocks = self.resblocks[level * num_kernels : (level + 1) * num_kernels]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return self.conv_post(functional.leaky_relu(x)).tanh()[:, 0]
