"""Speech codes to a mel spectrogram with a fixed look-ahead: a flow of causal convolutions, for small voices.

1. Codes are embedded; a convolution looks `look_ahead` codes forward, and nothing behind it looks forward at all.
2. Every code becomes a whole number of mel frames.
3. The flow starts from noise and takes a few Euler steps, each by causal convolutions over mel, code and speaker.

So a frame depends on a fixed number of frames before it and codes behind it: computed with these, it is the frame of
the whole. Worked example, 4 frames a code, look-ahead 2: frames 0 to 3 are final when codes 0, 1 and 2 are known.
Shapes: B clips, N codes, F mel frames, M mel bins, W width, E speaker vector.
Source: flow matching as in CosyVoice (arXiv 2407.05407) 2.3, without prompt and guidance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.errors import CheckpointError
from osum.model.encoder import length_mask
from osum.speech.features import MelConfig
from osum.speech.flow import SIGMA_MIN, FlowBatch, FlowDraws


@dataclass(frozen=True)
class CausalFlowConfig:
    """Sizes of the flow, and how it is solved."""

    num_codes: int = 1024
    code_rate: int = 25
    """Codes per second."""
    look_ahead: int = 3
    """Codes to come that a frame waits for."""
    width: int = 256
    speaker_size: int = 192
    kernel: int = 3
    code_dilations: tuple[int, ...] = (1, 2, 4)
    """Of the convolutions over codes."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    """Of the convolutions over frames, which every step goes through."""
    num_steps: int = 4
    """Euler steps of the solver."""


class CausalBlock(nn.Module):
    """A depthwise convolution that looks back alone, then two layers over channels, all added to the input."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)  # of each frame alone: one over time would look at all of it
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, F) to (B, W, F)."""
        hidden = self.norm(self.conv(functional.pad(x, (self.past, 0))).transpose(1, 2))  # (B, F, W)
        return x + self.outer(functional.gelu(self.inner(hidden))).transpose(1, 2)


class CausalFlow(nn.Module):
    """Codes and a speaker to a mel.

    Example:
        >>> flow = CausalFlow(CausalFlowConfig(num_codes=8, width=16), MelConfig(16_000, 1024, 640, 160)).eval()
        >>> flow.mel_of(torch.tensor([[1, 2, 3]]), torch.zeros(1, 192), torch.randn(1, 80, 12)).shape
        torch.Size([1, 80, 12])
    """

    def __init__(self, config: CausalFlowConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.frames_per_code, rest = divmod(mel.sampling_rate, mel.hop_length * config.code_rate)
        if rest:
            raise CheckpointError(
                f"{config.code_rate} codes and {mel.sampling_rate / mel.hop_length:g} frames a second: a code must be "
                "a whole number of frames; choose another hop_length"
            )
        width = config.width
        self.embedding = nn.Embedding(config.num_codes, width)
        self.ahead = nn.Conv1d(width, width, 2 * config.look_ahead + 1)
        self.code_blocks = nn.Sequential(*(CausalBlock(width, config.kernel, d) for d in config.code_dilations))
        self.speaker = nn.Linear(config.speaker_size, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.before = nn.Conv1d(mel.num_bins + width, width, 1)
        self.blocks = nn.Sequential(*(CausalBlock(width, config.kernel, d) for d in config.dilations))
        self.after = nn.Conv1d(width, mel.num_bins, 1)

    @property
    def history(self) -> int:
        """Codes before one that its frames depend on."""
        config = self.config
        of_codes = config.look_ahead + (config.kernel - 1) * sum(config.code_dilations)
        of_frames = config.num_steps * (config.kernel - 1) * sum(config.dilations)
        return of_codes + math.ceil(of_frames / self.frames_per_code)

    def condition(self, codes: Tensor) -> Tensor:
        """Codes (B, N) to what each of their frames is to say, (B, W, F)."""
        side = self.config.look_ahead
        x = self.ahead(functional.pad(self.embedding(codes).transpose(1, 2), (side, side)))  # (B, W, N)
        return self.code_blocks(x).repeat_interleave(self.frames_per_code, dim=2)

    def mel_of(self, codes: Tensor, speaker: Tensor, noise: Tensor) -> Tensor:
        """Codes (B, N), speaker vectors (B, E) and noise (B, M, F) to the mel (B, M, F), F = N * `frames_per_code`."""
        condition, x = self.condition(codes) + self._spoken_by(speaker), noise
        for step in range(self.config.num_steps):
            time = x.new_full((len(x),), step / self.config.num_steps)
            x = x + self.velocity(x, time, condition) / self.config.num_steps
        return x

    def velocity(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Where the mel moves from (B, M, F), at times (B,) from 0 to 1, towards a condition (B, W, F)."""
        half = self.config.width // 2
        turns = torch.exp(-math.log(10_000) * torch.arange(half, device=x.device) / half) * 1000 * time[:, None]
        at = self.time(torch.cat([turns.sin(), turns.cos()], dim=1))[..., None]  # (B, W, 1)
        return self.after(self.blocks(self.before(torch.cat([x, condition], dim=1)) + at))

    def loss(self, batch: FlowBatch, draws: FlowDraws) -> Tensor:
        """Mean squared error of the velocity over the frames that have a code and are real."""
        frames = min(batch.codes.shape[1] * self.frames_per_code, batch.mel.shape[2])
        lengths = torch.minimum(batch.code_lengths * self.frames_per_code, batch.mel_lengths)
        mask = length_mask(lengths, frames)[:, None].to(batch.mel)  # (B, 1, F)
        mel, noise = batch.mel[..., :frames], draws.noise[..., :frames]
        condition = (self.condition(batch.codes) + self._spoken_by(batch.speaker))[..., :frames]
        at = draws.time[:, None, None]
        noisy = (1 - (1 - SIGMA_MIN) * at) * noise + at * mel
        error = (self.velocity(noisy, draws.time, condition) - (mel - (1 - SIGMA_MIN) * noise)) * mask
        return error.square().sum() / (mask.sum() * mel.shape[1])

    def _spoken_by(self, speaker: Tensor) -> Tensor:
        """Speaker vectors (B, E) to (B, W, 1)."""
        return self.speaker(functional.normalize(speaker, dim=1))[..., None]
