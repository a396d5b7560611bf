"""The adaptor: 50 Hz encoder frames to 12.5 Hz positions of the language model (specification 1.3).

Knows neither mel frames nor text. Shapes: B clips, T encoder frames, T' audio tokens, D width.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from osum.model.configuration_osum import OsumAdaptorConfig, encoder_length
from osum.model.encoder import PositionTable, SpeechLayer, SpeechPreTrainedModel, length_mask

STRIDES = (1, 2, 2)
"""Of the three convolutions; together a quarter of the encoder's rate."""


class CausalConv(nn.Conv1d):
    """Convolution of width 3 that sees only the present and the past, so batch padding never leaks in."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T) to (B, D, ceil(T / stride))."""
        return super().forward(nn.functional.pad(x, (2, 0)))


class OsumAdaptor(SpeechPreTrainedModel):
    """Three causal convolutions, a transformer, a projection to the language model's width."""

    config: OsumAdaptorConfig
    config_class = OsumAdaptorConfig
    main_input_name = "encoder_states"

    def __init__(self, config: OsumAdaptorConfig, width: int, llm_width: int) -> None:
        super().__init__(config)
        self.convs = nn.ModuleList(CausalConv(width, width, kernel_size=3, stride=stride) for stride in STRIDES)
        self.input_linear = nn.Linear(width, width)
        self.input_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.embed_positions = PositionTable(config.max_source_positions, width, interleaved=True)
        self.layers = nn.ModuleList(
            SpeechLayer(config, width, nn.ReLU(), key_bias=True) for _ in range(config.num_hidden_layers)
        )
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.output_linear = nn.Linear(width, llm_width)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def halve(self, encoder_states: Tensor) -> Tensor:
        """(B, T, D) to (B, ceil(T / 2), D), 25 Hz: what all convolutions but the last give."""
        x = encoder_states.transpose(1, 2)  # (B, D, T)
        for conv in self.convs[:-1]:
            x = nn.functional.gelu(conv(x))
        return x.transpose(1, 2)

    def forward(self, encoder_states: Tensor, encoder_lengths: Tensor) -> Tensor:
        """(B, T, D) and (B,) true lengths to (B, T', D_llm) with T' = ceil(ceil(T / 2) / 2).

        Raises:
            ValueError: more audio tokens than the position table has rows.
        """
        return self.finish(self.halve(encoder_states), encoder_lengths)

    def finish(self, halved: Tensor, encoder_lengths: Tensor) -> Tensor:
        """What `halve` gave (B, ceil(T / 2), D) to (B, T', D_llm); the lengths are of its input."""
        x = nn.functional.gelu(self.convs[-1](halved.transpose(1, 2))).transpose(1, 2)  # (B, T', D)
        if x.shape[1] > self.config.max_source_positions:
            raise ValueError(
                f"{x.shape[1]} audio tokens are too many: at most {self.config.max_source_positions}; cut the audio"
            )
        x = self.dropout(self.input_layer_norm(self.input_linear(x)))
        x = self.dropout(x * x.shape[-1] ** 0.5 + self.embed_positions(x.shape[1]))
        lengths = encoder_length(encoder_length(encoder_lengths))  # (B,)
        mask = create_bidirectional_mask(self.config, x, length_mask(lengths, x.shape[1]))
        for layer in self.layers:
            x = layer(x, mask)
        return self.output_linear(self.layer_norm(x))  # (B, T', D_llm)
