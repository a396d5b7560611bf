"""Speech codes to a mel spectrogram and a fundamental frequency, with a fixed look-ahead: for small voices.

1. Each code is embedded; layers over codes look back, and are read `look_ahead` codes late.
2. A code becomes a whole number of mel frames, which layers over frames make smooth.
3. Mel and the logarithm of F0 are what a frame most likely holds: they are learned by their absolute error.

Worked example, 4 frames a code, look-ahead 2: frames 0 to 3 are final when codes 0, 1 and 2 are known.
Shapes: B clips, N codes, F mel frames, M mel bins, E speaker vector, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.errors import CheckpointError
from osum.speech.causal import CausalStack, Past
from osum.speech.features import MelConfig

MEL_CENTRE, MEL_SCALE = -5.0, 2.5
"""Of natural logarithms of magnitudes of speech, so that a network works with numbers around 1."""
F0_CENTRE = 150.0
"""Hz at which a network gives 0; it works in octaves."""
LOWEST, HIGHEST = 55.0, 420.0
"""Hz of the fundamental."""


@dataclass(frozen=True)
class MelDecoderConfig:
    """Sizes of the decoder; 2.6 million parameters by default."""

    num_codes: int = 1024
    code_rate: int = 25
    """Codes per second."""
    look_ahead: int = 4
    """Codes to come that a frame waits for."""
    embedding: int = 128
    width: int = 256
    speaker_size: int = 2
    kernel: int = 5
    code_dilations: tuple[int, ...] = (1, 2, 4)
    """Of the blocks over codes."""
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    """Of the blocks over frames."""


class MelDecoder(nn.Module):
    """Codes and a speaker to mel and F0.

    Example:
        >>> decoder = MelDecoder(MelDecoderConfig(num_codes=8, width=16), MelConfig(16_000, 1024, 640, 160)).eval()
        >>> mel, hz = decoder(torch.tensor([[1, 2, 3]]), torch.tensor([[1.0, 0.0]]))
        >>> mel.shape, hz.shape
        (torch.Size([1, 80, 12]), torch.Size([1, 12]))
    """

    def __init__(self, config: MelDecoderConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.num_bins = config, mel.num_bins
        self.frames_per_code, rest = divmod(mel.sampling_rate, mel.hop_length * config.code_rate)
        if rest:
            raise CheckpointError(
                f"{config.code_rate} codes and {mel.sampling_rate / mel.hop_length:g} frames a second: a code must be "
                "a whole number of frames; choose another hop_length"
            )
        width, reach = config.width, 2 * config.look_ahead + 1
        self.embedding = nn.Embedding(config.num_codes + 1, config.embedding)  # the last row: no code
        self.speaker = nn.Linear(config.speaker_size, width)
        self.codes = CausalStack(config.embedding, width, reach, config.kernel, config.code_dilations)
        self.spread = nn.Linear(width, width * self.frames_per_code)
        self.frames = CausalStack(width, width, 1, config.kernel, config.dilations)
        self.after = nn.Linear(width, mel.num_bins + 1)

    def forward(self, codes: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, N) and speaker vectors (B, E) to the mel (B, M, F) and Hz (B, F) of all, F = N * frames a code."""
        late = self.config.look_ahead
        mel, hz, _ = self.feed(functional.pad(codes, (0, late), value=self.config.num_codes), speaker, None)
        return mel[..., late * self.frames_per_code :], hz[:, late * self.frames_per_code :]

    def feed(
        self, codes: Tensor, speaker: Tensor, past: tuple[Past, Past] | None
    ) -> tuple[Tensor, Tensor, tuple[Past, Past]]:
        """Codes (B, N) to the mel (B, M, F) and Hz (B, F) of the codes `look_ahead` before them, and the past."""
        of_codes, of_frames = past or (None, None)
        x, of_codes = self.codes(self.embedding(codes), of_codes)
        x = self.spread(x + self.speaker(speaker)[:, None]).view(len(x), -1, self.config.width)
        x, of_frames = self.frames(x, of_frames)
        x = self.after(x)  # (B, F, M + 1)
        mel = x[..., : self.num_bins].transpose(1, 2) * MEL_SCALE + MEL_CENTRE
        hz = (F0_CENTRE * torch.exp2(x[..., self.num_bins])).clamp(LOWEST, HIGHEST)
        return mel, hz, (of_codes, of_frames)
