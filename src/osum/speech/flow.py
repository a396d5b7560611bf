"""Speech codes and a voice to a mel spectrogram: encoder, length regulator, conditional flow matching.

Knows nothing of waveforms and of streaming. Module names are those of CosyVoice's `flow.pt`.
Shapes: B clips, N codes, F mel frames, M mel bins, E speaker vector, D width.
Sources: CosyVoice (arXiv 2407.05407) 2.3; specification of token2wav 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.model.encoder import length_mask
from osum.speech.conformer import ConformerEncoder, EncoderConfig
from osum.speech.estimator import Estimator, EstimatorConfig
from osum.speech.features import MelConfig

EDGE_CODES = 20
"""Codes at each end of a long clip that are stretched apart from its middle."""
SIGMA_MIN = 1e-6  # noise that is left at the end of the flow
PROMPT_SHARE = 0.3  # longest prompt in training, as a share of the clip
NUM_REGULATOR_LAYERS = 4


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of the flow, and how it is solved."""

    num_codes: int = 4096
    code_rate: int = 25
    """Codes per second."""
    code_width: int = 512
    speaker_size: int = 192
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    num_steps: int = 10
    """Euler steps of the solver."""
    guidance: float = 0.7
    """Strength of classifier-free guidance."""
    condition_dropout: float = 0.2
    """Share of training clips that learn without condition, for the guidance."""


@dataclass(frozen=True)
class FlowDraws:
    """The random numbers of one training step."""

    noise: Tensor
    """(B, M, F) standard normal."""
    time: Tensor
    """(B,) uniform in [0, 1)."""
    keep: Tensor
    """(B,) uniform in [0, 1); a clip keeps its condition where this is above the dropout."""
    prompt: Tensor
    """(B,) uniform in [0, 1); below a half a clip has no prompt, above it up to 30 % of its own beginning."""

    @classmethod
    def sample(cls, mel: Tensor, generator: torch.Generator | None = None) -> FlowDraws:
        """Draws for a batch of mels (B, M, F)."""
        size, device = len(mel), mel.device
        time, keep, prompt = torch.rand(3, size, generator=generator, device=device)
        return cls(torch.randn(mel.shape, generator=generator, device=device), time, keep, prompt)


@dataclass(frozen=True)
class FlowBatch:
    """Training clips, zero-padded."""

    codes: Tensor
    """(B, N)"""
    code_lengths: Tensor
    """(B,)"""
    mel: Tensor
    """(B, M, F)"""
    mel_lengths: Tensor
    """(B,)"""
    speaker: Tensor
    """(B, E)"""


class LengthRegulator(nn.Module):
    """From the rate of codes to the rate of mel frames: linear interpolation, then convolutions."""

    def __init__(self, num_bins: int, edge_frames: int) -> None:
        super().__init__()
        self.edge_frames = edge_frames
        layers: list[nn.Module] = []
        for _ in range(NUM_REGULATOR_LAYERS):
            layers += [nn.Conv1d(num_bins, num_bins, 3, padding=1), nn.GroupNorm(1, num_bins), nn.Mish()]
        self.model = nn.Sequential(*layers, nn.Conv1d(num_bins, num_bins, 1))

    def forward(self, prompt: Tensor, x: Tensor, prompt_frames: int, num_frames: int) -> Tensor:
        """Prompt (B, M, N1) and new part (B, M, N2), stretched apart and convolved together: (B, M, F1 + F2)."""
        pieces = [(prompt, prompt_frames)] if prompt.shape[-1] else []
        return self.model(torch.cat([stretch(*piece) for piece in [*pieces, *self._pieces(x, num_frames)]], dim=-1))

    def _pieces(self, x: Tensor, num_frames: int) -> list[tuple[Tensor, int]]:
        """Head, middle and tail of a long clip; a short one whole."""
        if x.shape[-1] <= 2 * EDGE_CODES:
            return [(x, num_frames)]
        head, middle, tail = x[..., :EDGE_CODES], x[..., EDGE_CODES:-EDGE_CODES], x[..., -EDGE_CODES:]
        edge = self.edge_frames
        return [(head, edge), (middle, num_frames - 2 * edge), (tail, edge)]

    def whole(self, x: Tensor, num_frames: Tensor) -> Tensor:
        """The training form: each clip (B, M, N) stretched as one to the longest of `num_frames` (B,), and masked."""
        out = self.model(stretch(x, longest := int(num_frames.max())))
        return out * length_mask(num_frames, longest)[:, None]


def stretch(x: Tensor, num_frames: int) -> Tensor:
    """Linear interpolation along time at the middles of frames: (B, M, N) to (B, M, F)."""
    return functional.interpolate(x, size=num_frames, mode="linear")


class FlowMatching(nn.Module):
    """Noise to mel along an ordinary differential equation, conditioned on codes, speaker and prompt."""

    def __init__(self, num_bins: int, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.estimator = Estimator(num_bins, config.estimator)

    def forward(self, noise: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
        """Solve from `noise`: all (B, M, F), speaker (B, M); returns the mel (B, M, F)."""
        *_, mel = self.steps(noise, mu, speaker, prompt)
        return mel

    def steps(self, noise: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor) -> Iterator[Tensor]:
        """Yield the state (B, M, F) behind each Euler step."""
        x, time = noise, torch.zeros((), device=noise.device)
        for _, following in pairwise(self.grid().to(noise.device)):
            step = following - time  # the release sums its steps up, so that rounding is its own
            x = x + step * self.velocity(x, time, mu, speaker, prompt)
            time = time + step
            yield x

    def grid(self) -> Tensor:
        """The times of the solver, from 0 to 1, close together at first."""
        return warped(torch.linspace(0, 1, self.config.num_steps + 1))

    def velocity(self, x: Tensor, time: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
        """Classifier-free guidance: one call of the estimator, with and without condition."""
        mask = x.new_ones(2 * len(x), 1, x.shape[-1])
        twice = torch.cat([x, x])
        with_and_without = [torch.cat([given, torch.zeros_like(given)]) for given in (mu, speaker, prompt)]
        mu, speaker, prompt = with_and_without
        given, free = self.estimator(twice, mask, mu, time.expand(len(twice)), speaker, prompt).chunk(2)
        return (1 + self.config.guidance) * given - self.config.guidance * free

    def loss(
        self, mel: Tensor, mask: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor, draws: FlowDraws
    ) -> tuple[Tensor, Tensor]:
        """Mean squared error of the velocity over real frames, and the noisy mel (B, M, F) it was asked at.

        Mel, mu and prompt (B, M, F), mask (B, 1, F) of 0 and 1, speaker (B, M).
        """
        time = warped(draws.time)
        at = time[:, None, None]
        noisy = (1 - (1 - SIGMA_MIN) * at) * draws.noise + at * mel
        keep = (draws.keep > self.config.condition_dropout).to(mel)
        kept = keep[:, None, None]
        found = self.estimator(noisy, mask, mu * kept, time, speaker * keep[:, None], prompt * kept)
        error = ((found - (mel - (1 - SIGMA_MIN) * draws.noise)) * mask).square().sum()
        return error / (mask.sum() * mel.shape[1]), noisy


def warped(time: Tensor) -> Tensor:
    """Uniform times to the flow's: 1 - cos(pi t / 2)."""
    return 1 - torch.cos(time * 0.5 * math.pi)


class Flow(nn.Module):
    """CosyVoice's token-to-mel model.

    Example:
        >>> small = FlowConfig(encoder=EncoderConfig(64, 4, 64, 1), estimator=EstimatorConfig((16, 16), 2, 8, 1, 1))
        >>> flow = Flow(small, MelConfig()).eval()
        >>> flow.num_frames(25)
        86
    """

    def __init__(self, config: FlowConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.input_embedding = nn.Embedding(config.num_codes, config.code_width)
        self.spk_embed_affine_layer = nn.Linear(config.speaker_size, mel.num_bins)
        self.encoder = ConformerEncoder(config.code_width, config.encoder)
        self.encoder_proj = nn.Linear(config.encoder.width, mel.num_bins)
        self.length_regulator = LengthRegulator(mel.num_bins, self.num_frames(EDGE_CODES))
        self.decoder = FlowMatching(mel.num_bins, config)

    def num_frames(self, num_codes: int) -> int:
        """Mel frames of so many codes. The order of operations matters: others differ at some lengths."""
        return int(num_codes / self.config.code_rate * self.mel.sampling_rate / self.mel.hop_length)

    def speaker(self, embedding: Tensor) -> Tensor:
        """Speaker vectors (B, E) to the mel's width (B, M)."""
        return self.spk_embed_affine_layer(functional.normalize(embedding, dim=1))

    def encode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, N) codes, all real or `lengths` (B,) of them, to (B, M, N)."""
        mask = length_mask(codes.new_tensor([codes.shape[1]]) if lengths is None else lengths, codes.shape[1])
        embedded = self.input_embedding(codes) * mask[..., None]
        return self.encoder_proj(self.encoder(embedded, mask)).transpose(1, 2)

    def condition(
        self, codes: Tensor, prompt_codes: Tensor, prompt_frames: int, num_frames: int | None = None
    ) -> Tensor:
        """What the solver is to follow, (B, M, F1 + F2): the prompt's F1 frames, then those of the codes.

        Args:
            codes, prompt_codes: (B, N2), (B, N1).
            prompt_frames: F1.
            num_frames: F2; that of `num_frames(N2)` without it.
        """
        hidden = self.encode(torch.cat([prompt_codes, codes], dim=1))
        prompt, new = torch.split(hidden, [prompt_codes.shape[1], codes.shape[1]], dim=2)
        wanted = self.num_frames(codes.shape[1]) if num_frames is None else num_frames
        return self.length_regulator(prompt, new, prompt_frames, wanted)

    def loss(self, batch: FlowBatch, draws: FlowDraws) -> Tensor:
        """The training loss of clips, whose codes are stretched to the length of their mel.

        Encoder and regulator see each clip alone. The estimator's group norms see the padding, as in the original,
        so batch clips of like length.
        """
        mask = length_mask(batch.mel_lengths, batch.mel.shape[-1])[:, None].to(batch.mel)
        hidden = self.encode(batch.codes, batch.code_lengths)
        clips = zip(hidden, batch.code_lengths, batch.mel_lengths, strict=True)
        mus = [self.length_regulator.whole(clip[None, :, :codes], frames[None])[0].T for clip, codes, frames in clips]
        mu = nn.utils.rnn.pad_sequence(mus, batch_first=True).transpose(1, 2)  # (B, M, F)
        prompted = (batch.mel_lengths * PROMPT_SHARE * (2 * draws.prompt - 1).clamp(min=0)).long()
        prompt = batch.mel * length_mask(prompted, batch.mel.shape[-1])[:, None]
        return self.decoder.loss(batch.mel, mask, mu, self.speaker(batch.speaker), prompt, draws)[0]
