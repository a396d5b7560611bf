"""Speech codes of a waveform: the S3 tokenizer v1, Whisper's encoder up to a codebook in its sixth layer.

Knows nothing of how codes become sound. Module names are those of the released weights.
Shapes: B clips, M mel bins, F mel frames, N codes, D width, H heads.
Sources: CosyVoice (arXiv 2407.05407) 2.1; specification of token2wav 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.model.encoder import length_mask, whisper_sinusoids


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of the S3 tokenizer v1."""

    num_mel_bins: int = 128
    width: int = 1280
    num_heads: int = 20
    num_layers: int = 6
    max_positions: int = 1500
    num_codes: int = 4096
    strides: tuple[int, int] = (2, 2)
    """Of the two convolutions: (2, 2) gives 25 codes a second, (1, 2) would give 50."""


class TokenizerAttention(nn.Module):
    """Whisper's self-attention; the key has no bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) and a mask (B, 1, 1, N) of what is real to (B, N, D)."""
        split = (*x.shape[:2], self.num_heads, -1)
        q, k, v = (layer(x).view(split).transpose(1, 2) for layer in (self.query, self.key, self.value))
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, N, D / H)
        return self.out(out.transpose(1, 2).flatten(2))


class TokenizerBlock(nn.Module):
    """A pre-norm layer of Whisper's encoder."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attn = TokenizerAttention(width, num_heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = x + self.attn(self.attn_ln(x), mask)
        return x + self.mlp(self.mlp_ln(x))


class TokenizerEncoder(nn.Module):
    """Two strided convolutions, stored sinusoids, Whisper's layers, and no final norm."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        first, second = config.strides
        self.strides = config.strides
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.width, 3, stride=first, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=second, padding=1)
        self.positional_embedding = nn.Parameter(
            whisper_sinusoids(config.max_positions, config.width), requires_grad=False
        )
        self.blocks = nn.ModuleList(TokenizerBlock(config.width, config.num_heads) for _ in range(config.num_layers))

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, F) and frames (B,) to hidden states (B, N, D) and their lengths (B,).

        The input of each convolution is zero behind a clip's end, so that a clip is the same in any batch.
        """
        x = mel
        for conv, stride in zip((self.conv1, self.conv2), self.strides, strict=True):
            x = functional.gelu(conv(x * length_mask(lengths, x.shape[-1])[:, None]))
            lengths = (lengths - 1) // stride + 1
        x = x.transpose(1, 2) + self.positional_embedding[: x.shape[-1]]  # (B, N, D)
        mask = length_mask(lengths, x.shape[1])[:, None, None]
        for block in self.blocks:
            x = block(x, mask)
        return x, lengths


class Codebook(nn.Module):
    """The rows that codes stand for, (K, D)."""

    def __init__(self, num_codes: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(num_codes, width), requires_grad=False)


class Quantizer(nn.Module):
    """The nearest row of the codebook to each normalised frame."""

    def __init__(self, num_codes: int, width: int) -> None:
        super().__init__()
        self._codebook = Codebook(num_codes, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to codes (B, N). The squared distance without |x|^2, which is the same for every row."""
        rows = self._codebook.embed
        x = functional.normalize(x, dim=-1)
        return (rows.square().sum(1) - 2 * x @ rows.T).argmin(-1)


class SpeechTokenizer(nn.Module):
    """Log-mel to speech codes.

    Example:
        >>> tokenizer = SpeechTokenizer(TokenizerConfig(width=64, num_heads=4, num_layers=1, num_codes=32)).eval()
        >>> codes, lengths = tokenizer(torch.randn(1, 128, 100), torch.tensor([100]))
        >>> codes.shape, lengths.tolist()
        (torch.Size([1, 25]), [25])
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TokenizerEncoder(config)
        self.quantizer = Quantizer(config.num_codes, config.width)

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, F) log-mel of `whisper_log_mel` and frames (B,) to codes (B, N) and their numbers (B,).

        Codes behind a clip's end mean nothing. The caller holds clips to `max_frames`.
        """
        hidden, lengths = self.encoder(mel, lengths)
        return self.quantizer(hidden), lengths

    @property
    def max_frames(self) -> int:
        """Most mel frames of one clip."""
        first, second = self.config.strides
        return self.config.max_positions * first * second
