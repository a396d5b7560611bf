"""ECAPA-TDNN: the voice of a prompt's mel as one vector, for the DiT flow.

Module names are those of SpeechBrain. Shapes: B clips, C channels, F frames.
Sources: ECAPA-TDNN (arXiv 2005.07143); specification of token2wav 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ATTENTION_FLOOR = 1e-12  # of a variance


@dataclass(frozen=True)
class EcapaConfig:
    """Sizes of the speaker encoder."""

    num_mel_bins: int = 80
    channels: int = 512
    kernel: int = 5
    """Of the first layer; those of the residual blocks have 3."""
    dilations: tuple[int, ...] = (2, 3, 4)
    """Of the residual blocks."""
    scale: int = 8
    """Parts of a residual block's middle."""
    squeeze_channels: int = 128
    attention_channels: int = 128
    embedding_size: int = 128


class Conv(nn.Module):
    """A convolution that keeps the length, reflected at the ends."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=padding, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F)."""
        return self.conv(x)


class Norm(nn.Module):
    """BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        return self.norm(x)


class Tdnn(nn.Module):
    """Convolution, ReLU, BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, kernel, dilation)
        self.norm = Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F)."""
        return self.norm(self.conv(x).relu())


class Res2Net(nn.Module):
    """Parts of the channels, each convolved after the one before was added; the first passes."""

    def __init__(self, channels: int, scale: int, dilation: int) -> None:
        super().__init__()
        width = channels // scale
        self.blocks = nn.ModuleList(Tdnn(width, width, 3, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        first, *parts = x.chunk(len(self.blocks) + 1, dim=1)
        outputs = [first]
        for number, (part, block) in enumerate(zip(parts, self.blocks, strict=True)):
            outputs.append(block(part + outputs[-1] if number else part))
        return torch.cat(outputs, dim=1)


class SqueezeExcite(nn.Module):
    """Channels weighted by what the clip's mean says."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, inner)
        self.conv2 = Conv(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        return x * self.conv2(self.conv1(x.mean(-1, keepdim=True)).relu()).sigmoid()


class EcapaBlock(nn.Module):
    """Res2Net between two layers, squeezed, excited, and added."""

    def __init__(self, config: EcapaConfig, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.tdnn1 = Tdnn(width, width)
        self.res2net_block = Res2Net(width, config.scale, dilation)
        self.tdnn2 = Tdnn(width, width)
        self.se_block = SqueezeExcite(width, config.squeeze_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        return x + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by attention that sees the plain ones."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.tdnn = Tdnn(3 * channels, inner)
        self.conv = Conv(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, 2 C, 1)."""
        plain = _moments(x, torch.full_like(x, 1 / x.shape[-1]))
        seen = torch.cat([x, *(moment.expand_as(x) for moment in plain)], dim=1)
        weights = self.conv(self.tdnn(seen).tanh()).softmax(-1)
        return torch.cat(_moments(x, weights), dim=1)


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and biased deviation over time, (B, C, 1) each."""
    mean = (weights * x).sum(-1, keepdim=True)
    variance = (weights * (x - mean).square()).sum(-1, keepdim=True)
    return mean, variance.clamp(min=ATTENTION_FLOOR).sqrt()


class Ecapa(nn.Module):
    """A prompt's mel to its speaker vector.

    Example:
        >>> Ecapa(EcapaConfig(channels=16)).eval()(torch.randn(1, 300, 80)).shape
        torch.Size([1, 128])
    """

    def __init__(self, config: EcapaConfig) -> None:
        super().__init__()
        width, wide = config.channels, config.channels * len(config.dilations)
        self.blocks = nn.ModuleList([Tdnn(config.num_mel_bins, width, config.kernel)])
        self.blocks.extend(EcapaBlock(config, dilation) for dilation in config.dilations)
        self.mfa = Tdnn(wide, wide)
        self.asp = AttentiveStatistics(wide, config.attention_channels)
        self.asp_bn = Norm(2 * wide)
        self.fc = Conv(2 * wide, config.embedding_size)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, F, M) to (B, E)."""
        x, outputs = mel.transpose(1, 2), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = self.mfa(torch.cat(outputs[1:], dim=1))
        return self.fc(self.asp_bn(self.asp(x)))[..., 0]
