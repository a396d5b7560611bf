"""The flow's velocity network: a 1-D U-Net of residual and transformer blocks, in Matcha-TTS's names.

Shapes: B rows, C channels, F mel frames (at a level's rate), M mel bins. A mask (B, 1, F) is 1 where a frame is real.
Sources: Matcha-TTS (arXiv 2309.03199); specification of token2wav 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TIME_SCALE = 1000.0
NUM_GROUPS = 8


@dataclass(frozen=True)
class EstimatorConfig:
    """Sizes of the U-Net."""

    channels: tuple[int, ...] = (256, 256)
    """Of each level; every level but the last halves the rate."""
    num_heads: int = 8
    head_size: int = 64
    num_blocks: int = 4
    """Transformer blocks behind each residual block."""
    num_mid_blocks: int = 12


def sinusoids(times: Tensor, width: int) -> Tensor:
    """(B,) times in [0, 1] to (B, width): sines, then cosines."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=times.device).float() * -(math.log(10_000.0) / (half - 1)))
    angles = TIME_SCALE * times[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Two linear layers around SiLU."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, width)."""
        return self.linear_2(functional.silu(self.linear_1(x)))


class ConvBlock(nn.Module):
    """Convolution, group norm over all frames (padding too, as in the original), Mish."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(inputs, outputs, 3, padding=1), nn.GroupNorm(NUM_GROUPS, outputs), nn.Mish()
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F)."""
        return self.block(x * mask) * mask


class EstimatorResidualBlock(nn.Module):
    """Two convolution blocks with the time between them."""

    def __init__(self, inputs: int, outputs: int, time_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time_width, outputs))
        self.block1 = ConvBlock(inputs, outputs)
        self.block2 = ConvBlock(outputs, outputs)
        self.res_conv = nn.Conv1d(inputs, outputs, 1)

    def forward(self, x: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """(B, C, F) and the embedded time (B, T) to (B, C', F)."""
        inner = self.block1(x, mask) + self.mlp(time)[..., None]
        return self.block2(inner, mask) + self.res_conv(x * mask)


class EstimatorAttention(nn.Module):
    """Attention without positions; its inner width is heads times head size."""

    def __init__(self, width: int, config: EstimatorConfig) -> None:
        super().__init__()
        inner = config.num_heads * config.head_size
        self.num_heads = config.num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, F, C) and a boolean mask (B, 1, F) of the keys to (B, F, C)."""
        q, k, v = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )  # (B, H, F, head)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        return self.to_out(out.transpose(1, 2).flatten(2))


class GeluLinear(nn.Module):
    """Linear, then GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C')."""
        return functional.gelu(self.proj(x))


class EstimatorFeedForward(nn.Module):
    """Two linear layers around GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GeluLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, config: EstimatorConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = EstimatorAttention(width, config)
        self.norm3 = nn.LayerNorm(width)
        self.ff = EstimatorFeedForward(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, F, C) to (B, F, C)."""
        x = x + self.attn1(self.norm1(x), mask)
        return x + self.ff(self.norm3(x))


class Downsample(nn.Module):
    """Half the frames, rounded up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, ceil(F / 2))."""
        return self.conv(x)


class Upsample(nn.Module):
    """Twice the frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, 2 F)."""
        return self.conv(x)


class Level(nn.ModuleList):
    """A residual block, its transformer blocks and, outside the middle, what changes the rate: items 0, 1, 2."""

    def __init__(
        self, inputs: int, outputs: int, time_width: int, config: EstimatorConfig, resample: nn.Module | None = None
    ) -> None:
        blocks = nn.ModuleList(TransformerBlock(outputs, config) for _ in range(config.num_blocks))
        super().__init__(
            [EstimatorResidualBlock(inputs, outputs, time_width), blocks, *([resample] if resample else [])]
        )

    def forward(self, x: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F), before any change of rate."""
        x = self[0](x, mask, time).transpose(1, 2)
        for block in self[1]:  # type: ignore[attr-defined]
            x = block(x, mask.bool())
        return x.transpose(1, 2)


class Estimator(nn.Module):
    """The velocity of every frame at one time of the flow."""

    def __init__(self, num_bins: int, config: EstimatorConfig) -> None:
        super().__init__()
        inputs, widths = 4 * num_bins, config.channels
        time_width = 4 * widths[0]
        self.time_width = inputs
        self.time_mlp = TimeEmbedding(inputs, time_width)
        self.down_blocks, self.mid_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, width in enumerate(widths):
            resample = _keep_rate(width) if number == len(widths) - 1 else Downsample(width)
            self.down_blocks.append(Level(inputs, width, time_width, config, resample))
            inputs = width
        for _ in range(config.num_mid_blocks):
            self.mid_blocks.append(Level(inputs, inputs, time_width, config))
        outputs = (*widths[-2::-1], widths[0])
        for number, width in enumerate(outputs):
            resample = _keep_rate(width) if number == len(outputs) - 1 else Upsample(width)
            self.up_blocks.append(Level(2 * inputs, width, time_width, config, resample))
            inputs = width
        self.final_block = ConvBlock(inputs, inputs)
        self.final_proj = nn.Conv1d(inputs, num_bins, 1)

    def forward(self, x: Tensor, mask: Tensor, mu: Tensor, t: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
        """Noisy mel, condition and prompt (B, M, F), mask (B, 1, F), times (B,), speaker (B, M) to (B, M, F)."""
        time = self.time_mlp(sinusoids(t, self.time_width))
        speaker = speaker[..., None].expand(-1, -1, x.shape[-1])
        x = torch.cat([x, mu, speaker, prompt], dim=1)
        skips, masks = [], [mask]
        for level in self.down_blocks:
            x = level(x, mask := masks[-1], time)
            skips.append(x)
            x = level[2](x * mask)  # type: ignore[index]
            masks.append(mask[..., ::2] if isinstance(level[2], Downsample) else mask)  # type: ignore[index]
        for level in self.mid_blocks:
            x = level(x, masks[-1], time)
        masks.pop()
        for level in self.up_blocks:
            skip, mask = skips.pop(), masks.pop()
            x = level(torch.cat([x[..., : skip.shape[-1]], skip], dim=1), mask, time)
            x = level[2](x * mask)  # type: ignore[index]
        return self.final_proj(self.final_block(x, mask) * mask) * mask


def _keep_rate(width: int) -> nn.Module:
    return nn.Conv1d(width, width, 3, padding=1)
