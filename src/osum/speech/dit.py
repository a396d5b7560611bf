"""The flow of the real-time baseline: a diffusion transformer whose attention is cut into blocks of frames.

Module names are those of the released weights. Shapes: B clips, F mel frames, N codes, M mel bins, D width.
Sources: DiT (arXiv 2212.09748), F5-TTS (arXiv 2410.06885); specification of token2wav 11.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.speech.ecapa import Ecapa, EcapaConfig
from osum.speech.estimator import sinusoids

ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class DitConfig:
    """Sizes of the transformer, and what its layers see."""

    width: int = 1024
    num_layers: int = 22
    num_heads: int = 16
    head_size: int = 64
    feed_forward: int = 2048
    code_width: int = 512
    num_codes: int = 4399
    """Rows of the table; speech codes and what else the release keeps there."""
    num_bins: int = 80
    speaker_size: int = 192
    time_width: int = 256
    """Sinusoids of the time."""
    frames_per_code: int = 4
    block: int = 24
    """Frames of a block."""
    forward_layers: tuple[int, ...] = (0,)
    """Layers that also see the next block."""
    backward_layers: tuple[int, ...] = (5, 10, 15)
    """Layers that also see the block before."""
    num_steps: int = 10
    """Euler steps of the solver."""
    ecapa: EcapaConfig = field(default_factory=EcapaConfig)


class DitTimeEmbedding(nn.Module):
    """Sinusoids through two linear layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.time_mlp = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """(B,) to (B, D)."""
        return self.time_mlp(sinusoids(time, self.inputs))


class CodeEmbedding(nn.Module):
    """A row for each code, held for its frames."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.repeats = config.frames_per_code
        self.text_embed = nn.Embedding(config.num_codes, config.code_width)

    def forward(self, codes: Tensor, num_frames: int) -> Tensor:
        """(B, N) to (B, F, D_code): cut, or filled with zeros."""
        rows = self.text_embed(codes).repeat_interleave(self.repeats, dim=1)
        return functional.pad(rows, (0, 0, 0, num_frames - rows.shape[1]))


class InputEmbedding(nn.Module):
    """Noisy mel, both speaker vectors and codes, side by side, to the transformer's width."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.spk_encoder = Ecapa(config.ecapa)
        inputs = config.num_bins + config.ecapa.embedding_size + config.code_width + config.speaker_size
        self.proj = nn.Linear(inputs, config.width)

    def forward(self, x: Tensor, prompt_vector: Tensor, codes: Tensor, speaker: Tensor) -> Tensor:
        """(B, F, M), (B, E'), (B, F, D_code), (B, E) to (B, F, D)."""
        vectors = (vector[:, None].expand(-1, x.shape[1], -1) for vector in (prompt_vector, speaker))
        prompt_vector, speaker = vectors
        return self.proj(torch.cat([x, prompt_vector, codes, speaker], dim=-1))


class Rotary(nn.Module):
    """Angles of the rotary positions; the release stores their rates."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.inv_freq: Tensor
        self.register_buffer("inv_freq", ROTARY_BASE ** -(torch.arange(0, head_size, 2) / head_size))

    def forward(self, num_frames: int) -> Tensor:
        """(F, head / 2) complex turns of places counted from the window's beginning."""
        angles = torch.arange(num_frames, device=self.inv_freq.device)[:, None] * self.inv_freq.float()
        return torch.polar(torch.ones_like(angles), angles)


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring pairs of (B, H, F, head) turned as complex numbers."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())  # type: ignore[no-untyped-call]
    return torch.view_as_real(pairs * turns).flatten(-2).to(x)


class DitAttention(nn.Module):
    """Attention with rotary positions inside a mask of blocks."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        inner = config.num_heads * config.head_size
        self.num_heads = config.num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(config.width, inner) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, config.width))

    def forward(self, x: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        """(B, F, D) and a boolean mask (F, F) of query by key to (B, F, D)."""
        split = (*x.shape[:2], self.num_heads, -1)
        q, k, v = (layer(x).view(split).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v))
        out = functional.scaled_dot_product_attention(rotated(q, turns), rotated(k, turns), v, attn_mask=mask)
        return self.to_out(out.transpose(1, 2).flatten(2))


class DitFeedForward(nn.Module):
    """Two linear layers around the approximate GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(width, inner), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(first, nn.Identity(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        return self.ff(x)


class Modulation(nn.Module):
    """The time's say in a layer: `rows` vectors of shifts, scales and gates."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.linear = nn.Linear(width, rows * width)

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        """(B, D) to `rows` times (B, 1, D)."""
        return self.linear(functional.silu(time))[:, None].chunk(self.rows, dim=-1)


def normed(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then the time's scale and shift."""
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class DitBlock(nn.Module):
    """Attention and feed-forward, modulated by the time."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.attn_norm = Modulation(config.width, 6)
        self.attn = DitAttention(config)
        self.ff = DitFeedForward(config.width, config.feed_forward)

    def forward(self, x: Tensor, time: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.attn_norm(time)
        x = x + gate * self.attn(normed(x, shift, scale), turns, mask)
        return x + ff_gate * self.ff(normed(x, ff_shift, ff_scale))


def block_mask(num_frames: int, block: int, backward: bool, forward: bool) -> Tensor:
    """(F, F) query by key: a frame sees its own block, and the one before or behind where asked."""
    number = torch.arange(num_frames) // block
    ahead = number[None, :] - number[:, None]
    return (-int(backward) <= ahead) & (ahead <= int(forward))


class Dit(nn.Module):
    """The velocity of every frame at one time of the flow, and the solver.

    Example:
        >>> config = DitConfig(32, 2, 2, 16, 64, 24, 320, ecapa=EcapaConfig(channels=16))
        >>> dit = Dit(config).eval()
        >>> x, codes, vectors = torch.randn(1, 48, 80), torch.zeros(1, 12, dtype=torch.long), torch.randn(1, 128)
        >>> dit.velocity(x, codes, torch.zeros(1), vectors, torch.randn(1, 192)).shape
        torch.Size([1, 48, 80])
    """

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.config = config
        self.time_embed = DitTimeEmbedding(config.time_width, config.width)
        self.text_embed = CodeEmbedding(config)
        self.input_embed = InputEmbedding(config)
        self.rotary_embed = Rotary(config.head_size)
        self.transformer_blocks = nn.ModuleList(DitBlock(config) for _ in range(config.num_layers))
        self.norm_out = Modulation(config.width, 2)
        self.proj_out = nn.Linear(config.width, config.num_bins)

    def prompt_vector(self, prompt_mel: Tensor) -> Tensor:
        """The prompt's mel (B, F, M) to what `forward` and `velocity` take, (B, E')."""
        return self.input_embed.spk_encoder(prompt_mel)

    def forward(self, noise: Tensor, codes: Tensor, prompt_vector: Tensor, speaker: Tensor) -> Tensor:
        """Solve from noise (B, F, M) for codes (B, N); returns the mel (B, F, M)."""
        x = noise
        for time, following in pairwise(torch.linspace(0, 1, self.config.num_steps + 1, device=x.device)):
            x = x + (following - time) * self.velocity(x, codes, time.expand(len(x)), prompt_vector, speaker)
        return x

    def velocity(self, x: Tensor, codes: Tensor, time: Tensor, prompt_vector: Tensor, speaker: Tensor) -> Tensor:
        """(B, F, M), codes (B, N), times (B,), speaker vectors (B, E'), (B, E) to (B, F, M)."""
        config, num_frames = self.config, x.shape[1]
        embedded = self.time_embed(time)
        x = self.input_embed(x, prompt_vector, self.text_embed(codes, num_frames), speaker)
        turns = self.rotary_embed(num_frames)
        for number, block in enumerate(self.transformer_blocks):
            sees = number in config.backward_layers, number in config.forward_layers
            x = block(x, embedded, turns, block_mask(num_frames, config.block, *sees).to(x.device))
        scale, shift = self.norm_out(embedded)  # the other way round than in the blocks
        return self.proj_out(normed(x, shift, scale))
