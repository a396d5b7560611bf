"""CAM++: the voice of a clip as one vector.

Module names are those of 3D-Speaker's weights. Shapes: B clips, F frames, M mel bins, C channels.
Sources: CAM++ (arXiv 2303.00332); specification of token2wav 9. All BatchNorms follow the running statistics.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class SpeakerConfig:
    """Sizes of CAM++."""

    num_mel_bins: int = 80
    embedding_size: int = 192
    growth: int = 32
    """Channels that a dense layer adds."""
    bottleneck: int = 4
    """Channels inside a dense layer, in growths."""
    channels: int = 128
    """After the first time-delay layer."""
    head_channels: int = 32
    head_blocks: tuple[int, int] = (2, 2)
    dense_layers: tuple[int, ...] = (12, 24, 16)
    dilations: tuple[int, ...] = (1, 2, 2)
    segment: int = 100
    """Frames of one context segment."""


class CampplusBlock(nn.Module):
    """Two 3x3 convolutions over bins and frames; a first block halves the bins."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, M, F) to (B, C, M / stride, F)."""
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.shortcut(x)).relu()


class Head(nn.Module):
    """The front of 2-D convolutions: bins to an eighth, then folded into channels."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        width = config.head_channels
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1, self.layer2 = (
            nn.Sequential(*(CampplusBlock(width, 1 if number else 2) for number in range(blocks)))
            for blocks in config.head_blocks
        )
        self.conv2 = nn.Conv2d(width, width, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, F) to (B, C * M / 8, F)."""
        x = self.bn1(self.conv1(x[:, None])).relu()
        x = self.layer2(self.layer1(x))
        return self.bn2(self.conv2(x)).relu().flatten(1, 2)


def norm_relu(channels: int) -> nn.Sequential:
    """BatchNorm, then ReLU."""
    return nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU()))


class Delay(nn.Module):
    """Time-delay layer: convolution, BatchNorm, ReLU; every second frame."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 5, stride=2, padding=2, bias=False)
        self.nonlinear = norm_relu(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C', ceil(F / 2))."""
        return self.nonlinear(self.linear(x))


class ContextGate(nn.Module):
    """Context-aware masking: a local convolution, gated by the means of the clip and of each segment."""

    def __init__(self, inputs: int, outputs: int, dilation: int, segment: int) -> None:
        super().__init__()
        self.segment = segment
        self.linear_local = nn.Conv1d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F)."""
        local = self.linear_local(x)
        context = x.mean(-1, keepdim=True) + self._segment_means(x)
        return local * self.linear2(self.linear1(context).relu()).sigmoid()

    def _segment_means(self, x: Tensor) -> Tensor:
        """Each frame's mean over its segment, (B, C, F); the last segment may be shorter."""
        means = functional.avg_pool1d(x, self.segment, self.segment, ceil_mode=True)
        return means.repeat_interleave(self.segment, dim=-1)[..., : x.shape[-1]]


class DenseLayer(nn.Module):
    """One layer of a dense block: what it computes is appended to its input."""

    def __init__(self, inputs: int, config: SpeakerConfig, dilation: int) -> None:
        super().__init__()
        inner = config.bottleneck * config.growth
        self.nonlinear1 = norm_relu(inputs)
        self.linear1 = nn.Conv1d(inputs, inner, 1, bias=False)
        self.nonlinear2 = norm_relu(inner)
        self.cam_layer = ContextGate(inner, config.growth, dilation, config.segment)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C + growth, F)."""
        return torch.cat([x, self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))], dim=1)


class Transit(nn.Module):
    """Between dense blocks: BatchNorm, ReLU, and half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = norm_relu(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C / 2, F)."""
        return self.linear(self.nonlinear(x))


class StatisticsPooling(nn.Module):
    """Mean and unbiased standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, 2 C)."""
        return torch.cat([x.mean(-1), x.std(-1)], dim=1)


class Dense(nn.Module):
    """The embedding: linear, then a BatchNorm without weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.nonlinear = nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(outputs, affine=False)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) to (B, E)."""
        return self.nonlinear(self.linear(x[..., None])[..., 0])


class SpeakerEncoder(nn.Module):
    """Kaldi filter bank to a speaker embedding.

    Example:
        >>> SpeakerEncoder(SpeakerConfig()).eval()(torch.randn(1, 200, 80)).shape
        torch.Size([1, 192])
    """

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.config = config
        self.head = Head(config)
        width = config.channels
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            tdnn=Delay(config.head_channels * config.num_mel_bins // 8, width)
        )
        for number, (layers, dilation) in enumerate(zip(config.dense_layers, config.dilations, strict=True), 1):
            widths = [width + config.growth * count for count in range(layers + 1)]
            parts[f"block{number}"] = nn.Sequential(
                OrderedDict(
                    (f"tdnnd{layer}", DenseLayer(inputs, config, dilation))
                    for layer, (inputs, _) in enumerate(pairwise(widths), 1)
                )
            )
            parts[f"transit{number}"] = Transit(widths[-1])
            width = widths[-1] // 2
        parts |= {"out_nonlinear": norm_relu(width), "stats": StatisticsPooling()}
        parts["dense"] = Dense(2 * width, config.embedding_size)
        self.xvector = nn.Sequential(parts)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, M) log filter bank with each bin's mean over time removed, to (B, E), not normalised."""
        return self.xvector(self.head(features.transpose(1, 2)))
