"""The speech encoder: Whisper's, over true lengths, so that a clip gives the same frames in any batch.

Knows nothing of the language model. Shapes: B clips, F mel frames, T encoder frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from osum.model.configuration_osum import OsumAudioConfig, encoder_length


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Plain attention, (B, H, T, D/H) each; returns (B, T, H, D/H) and the weights."""
    scores = (query * scaling) @ key.transpose(2, 3)  # (B, H, T, T)
    if attention_mask is not None:
        scores = scores + attention_mask.to(scores.dtype)  # float32 under autocast: the sum would be twice as large
    weights = scores.softmax(-1).to(query.dtype)  # summed in float32 whatever it is given
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class SelfAttention(nn.Module):
    """Bidirectional multi-head attention; the encoder's keys have no bias, the adaptor's do."""

    is_causal = False

    def __init__(self, config: Any, width: int, key_bias: bool) -> None:
        super().__init__()
        self.config = config
        self.head_dim = width // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=key_bias)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        shape = (*x.shape[:-1], -1, self.head_dim)
        query, key, value = (p(x).view(shape).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        dropout = self.dropout if self.training else 0.0
        out, _ = attend(self, query, key, value, attention_mask, scaling=self.scaling, dropout=dropout)
        return self.out_proj(out.reshape(x.shape))  # (B, T, D)


class SpeechLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer with Whisper's names; GELU in the encoder, ReLU in the adaptor."""

    def __init__(self, config: Any, width: int, activation: nn.Module, key_bias: bool) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, width, key_bias)
        self.self_attn_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.final_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.activation = activation
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), attention_mask))
        inner = self.dropout(self.activation(self.fc1(self.final_layer_norm(x))))  # (B, T, FFN)
        return x + self.dropout(self.fc2(inner))


class SpeechPreTrainedModel(PreTrainedModel):
    """What the encoder and the adaptor share: plain initialisation and the attention backends."""

    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["SpeechLayer"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Scale by fan-in: the position table has a fixed size, and small weights drown the sound in it."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, PositionTable):
            module.reset()


class PositionTable(nn.Module):
    """A stored sinusoid table (R, D); kept in the checkpoint because the releases round theirs to bf16."""

    def __init__(self, num_rows: int, width: int, interleaved: bool) -> None:
        super().__init__()
        self.interleaved = interleaved
        self.weight: Tensor
        self.register_buffer("weight", torch.empty(num_rows, width))

    @torch.no_grad()
    def reset(self) -> None:
        """Fill the table: Whisper's halves (specification 1.2) or the classic interleaved one (1.3)."""
        rows, width = self.weight.shape
        fill = interleaved_sinusoids if self.interleaved else whisper_sinusoids
        self.weight.copy_(fill(rows, width).to(self.weight))

    def forward(self, length: int) -> Tensor:
        """The first `length` rows, (T, D)."""
        return self.weight[:length]


def whisper_sinusoids(rows: int, width: int) -> Tensor:
    """(R, D): all sines, then all cosines; time scales from 1 to 10,000 inclusive."""
    half = width // 2
    log_step = torch.log(torch.tensor(10_000.0)) / (half - 1)
    angles = torch.arange(rows)[:, None] * torch.exp(-log_step * torch.arange(half))[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def interleaved_sinusoids(rows: int, width: int) -> Tensor:
    """(R, D): sine and cosine in turn, time scales 10,000^(2i/D)."""
    step = torch.exp(torch.arange(0, width, 2) * -(torch.log(torch.tensor(10_000.0)) / width))
    angles = torch.arange(rows)[:, None] * step[None, :]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths to a (B, size) boolean mask of what is real."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


class OsumEncoder(SpeechPreTrainedModel):
    """Whisper encoder without its 30 s of padding (specification 1.2)."""

    config: OsumAudioConfig
    config_class = OsumAudioConfig
    main_input_name = "input_features"
    input_modalities = ("audio",)

    def __init__(self, config: OsumAudioConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.conv1 = nn.Conv1d(config.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = PositionTable(config.max_source_positions, width, interleaved=False)
        self.layers = nn.ModuleList(
            SpeechLayer(config, width, nn.GELU(), key_bias=False) for _ in range(config.num_hidden_layers)
        )
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_features: Tensor, feature_lengths: Tensor) -> Tensor:
        """Encode zero-padded log-mel frames.

        Args:
            input_features: (B, M, F) log-mel, zero behind each clip's end.
            feature_lengths: (B,) true frames of each clip.

        Returns:
            (B, T, D) with T = ceil(F / 2); rows behind a clip's end are not meaningful.

        Raises:
            ValueError: the clip is longer than the position table.
        """
        x = nn.functional.gelu(self.conv1(input_features))  # (B, D, F)
        # Alone, the second convolution sees true zeros behind the end; in a batch it must see them too.
        x = x * length_mask(feature_lengths, x.shape[-1])[:, None, :]
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, T, D)
        if x.shape[1] > self.config.max_source_positions:
            limit = self.config.max_samples / self.config.sampling_rate
            raise ValueError(f"{input_features.shape[-1]} mel frames are too many: at most {limit:g} s; cut the audio")
        x = self.dropout(x + self.embed_positions(x.shape[1]))
        mask = create_bidirectional_mask(
            self.config, x, length_mask(encoder_length(feature_lengths), x.shape[1])
        )  # (B, 1, T, T) or None
        for layer in self.layers:
            x = layer(x, mask)
        return self.layer_norm(x)


OFFSETS = ((-3, -1, 1, 3), (-4, -1, 1, 4), (-8, -3, 3, 8), (-8, -3, 3, 8), (-16, -6, 6, 16))
"""Frames (20 ms) that the heads of each layer look away at first; deeper layers as the last, more heads in turn."""
SHARPNESS = 2.0
"""Score of the place looked at, before the scale of attention, per pair of sine and cosine."""


@torch.no_grad()
def attend_nearby(encoder: OsumEncoder) -> None:
    """Start a new encoder as a convolution: each head looks at a place a few frames away.

    Attention over sinusoids can express it, since a shift in time turns each pair of sine and cosine, but learns
    it slowly; ConViT (arXiv 2103.10697) starts vision transformers the same way. Queries and keys get it on top
    of half their random values. What layers add is scaled down by their number, so that positions stay visible.
    """
    layers = cast(Sequence[SpeechLayer], encoder.layers)
    for number, layer in enumerate(layers):
        attention = layer.self_attn
        half, pairs = attention.q_proj.in_features // 2, attention.head_dim // 2
        pair = torch.arange(pairs)  # the fastest sinusoids of the table, which differ most between neighbours
        rates = torch.exp(-torch.log(torch.tensor(10_000.0)) / (half - 1) * pair)  # radians a frame
        offsets = OFFSETS[min(number, len(OFFSETS) - 1)]
        for head in range(encoder.config.num_attention_heads):
            turn = rates * offsets[head % len(offsets)]
            rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]  # (D/H, D)
            for weight, cosine, sine in ((key, torch.ones(pairs), torch.zeros(pairs)), (query, turn.cos(), turn.sin())):
                weight.mul_(0.5)
                weight[pair, pair] += SHARPNESS**0.5 * cosine
                weight[pair, half + pair] += SHARPNESS**0.5 * sine
                weight[pairs + pair, half + pair] += SHARPNESS**0.5 * cosine
                weight[pairs + pair, pair] -= SHARPNESS**0.5 * sine
        attention.out_proj.weight *= (2 * len(layers)) ** -0.5
        layer.fc2.weight *= (2 * len(layers)) ** -0.5
