"""The flow's encoder of speech codes: transformer layers with relative positions, in WeNet's names.

The original calls it a conformer, but builds it without convolution and without macaron layers.
Shapes: B clips, N codes, D width, H heads. Source: specification of token2wav 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_NORM_EPSILON = 1e-12  # the release's, of the norms inside a block


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder."""

    width: int = 512
    num_heads: int = 8
    feed_forward: int = 2048
    num_layers: int = 6


def distance_table(length: int, width: int) -> Tensor:
    """(2 N - 1, D) sinusoids of the distances N - 1 down to -(N - 1), sine and cosine in turn."""
    distances = torch.arange(length - 1, -length, -1).float()[:, None]
    rates = torch.exp(torch.arange(0, width, 2).float() * -(math.log(10_000.0) / width))
    return torch.stack([(distances * rates).sin(), (distances * rates).cos()], dim=2).flatten(1)


def by_distance(scores: Tensor) -> Tensor:
    """Scores by (query, distance) to scores by (query, key): (B, H, N, 2 N - 1) to (B, H, N, N).

    1. Column N - 1 - (i - j) of row i is the score of key j, so row i needs its columns N - 1 - i onward.
    2. One zero in front of each row, read with rows of length N, moves row i to the left by N - 1 - i.
    3. The first N columns are what is wanted.

    Example, N = 2: rows [a b c], [d e f] give [b c], [d e].
    """
    batch, heads, length, columns = scores.shape
    padded = functional.pad(scores, (1, 0)).view(batch, heads, columns + 1, length)
    return padded[:, :, 1:].reshape(batch, heads, length, columns)[..., :length]


class RelativeAttention(nn.Module):
    """Attention whose scores add one term of content and one of distance (Transformer-XL, arXiv 1901.02860)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, self.num_heads = config.width, config.num_heads
        head = width // config.num_heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(width, width) for _ in range(4))
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u, self.pos_bias_v = (nn.Parameter(torch.zeros(config.num_heads, head)) for _ in range(2))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D), positions (2 N - 1, D) and a mask (B, 1, 1, N) of what is real to (B, N, D)."""
        q, k, v, p = (
            self._heads(y) for y in (self.linear_q(x), self.linear_k(x), self.linear_v(x), self._at(positions))
        )
        u, w = self.pos_bias_u[:, None], self.pos_bias_v[:, None]  # (H, 1, D / H)
        scores = (q + u) @ k.transpose(2, 3) + by_distance((q + w) @ p.transpose(2, 3))  # (B, H, N, N)
        scores = (scores / math.sqrt(q.shape[-1])).masked_fill(~mask, -torch.inf)
        return self.linear_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _at(self, positions: Tensor) -> Tensor:
        return self.linear_pos(positions)[None]

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], self.num_heads, -1).transpose(1, 2)  # (B, H, N, D / H)


class ConformerFeedForward(nn.Module):
    """Two linear layers around SiLU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.w_2(functional.silu(self.w_1(x)))


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(config)
        self.feed_forward = ConformerFeedForward(config.width, config.feed_forward)
        self.norm_mha, self.norm_ff = (nn.LayerNorm(config.width, eps=BLOCK_NORM_EPSILON) for _ in range(2))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        return x + self.feed_forward(self.norm_ff(x))


class InputLayer(nn.Module):
    """Linear, norm, and the factor sqrt(D); positions enter in the attention alone."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.scale = math.sqrt(width)
        self.out = nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D_in) to (B, N, D)."""
        return self.out(x) * self.scale


class ConformerEncoder(nn.Module):
    """Embedded codes to hidden states, one for each code."""

    def __init__(self, inputs: int, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = InputLayer(inputs, config.width)
        self.encoders = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_layers))
        self.after_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D_in) and a mask (B, N) of what is real to (B, N, D)."""
        positions = distance_table(x.shape[1], self.config.width).to(x)
        x = self.embed(x)
        for layer in self.encoders:
            x = layer(x, positions, mask[:, None, None])
        return self.after_norm(x)
