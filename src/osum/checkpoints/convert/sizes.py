"""OsumConfig from the shapes of a state dict (specification 2.3); values are never looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from osum.checkpoints.convert.names import to_theirs
from osum.checkpoints.convert.release import ADAPTOR_ROWS, Release
from osum.checkpoints.convert.source import Hints
from osum.errors import ConversionError
from osum.model import OsumConfig

ENCODER_HEAD_WIDTH = 64
LLM_HEAD_WIDTH = 128
SMALLEST_QWEN2 = 896
"""Width of the 0.5B models, whose heads are 64 wide; every larger Qwen2 and Qwen2.5 has 128."""

Shapes = Mapping[str, tuple[int, ...]]
"""Our names to shapes, position tables as (R, D)."""


def infer_config(shapes: Shapes, release: Release, hints: Hints, tied: bool) -> OsumConfig:
    """The configuration whose model holds tensors of these shapes.

    Raises:
        ConversionError: a tensor that defines a size is missing, or head counts cannot be found.
    """
    return OsumConfig(
        audio_config=_audio_sizes(shapes, release, hints),
        adaptor_config=_adaptor_sizes(shapes),
        text_config={**_text_sizes(shapes, hints), "tie_word_embeddings": tied},
        layout=release.layout,
        num_speech_ids=_size(shapes, "model.speech_embedding.weight", 0) - 2,
        speech_output=release.speech_output,
        tie_word_embeddings=tied,
    )


def _audio_sizes(shapes: Shapes, release: Release, hints: Hints) -> dict[str, Any]:
    width, num_mel_bins = (_size(shapes, "model.audio_tower.conv1.weight", axis) for axis in (0, 1))
    table = shapes.get("model.audio_tower.embed_positions.weight", (release.encoder_rows,))
    return {
        "num_mel_bins": num_mel_bins,
        "hidden_size": width,
        "num_hidden_layers": _num_layers(shapes, "model.audio_tower."),
        "num_attention_heads": _encoder_heads(width, hints),
        "intermediate_size": _size(shapes, "model.audio_tower.layers.0.fc1.weight", 0),
        "max_source_positions": table[0],
    }


def _adaptor_sizes(shapes: Shapes) -> dict[str, Any]:
    table = shapes.get("model.adaptor.embed_positions.weight", (ADAPTOR_ROWS,))
    return {
        "num_hidden_layers": _num_layers(shapes, "model.adaptor."),
        "intermediate_size": _size(shapes, "model.adaptor.layers.0.fc1.weight", 0),
        "max_source_positions": table[0],
    }


def _text_sizes(shapes: Shapes, hints: Hints) -> dict[str, Any]:
    vocab_size, width = (_size(shapes, "model.language_model.embed_tokens.weight", axis) for axis in (0, 1))
    attention = "model.language_model.layers.0.self_attn."
    heads, kv_heads = _llm_heads(
        width, _size(shapes, f"{attention}q_proj.weight", 0), _size(shapes, f"{attention}k_proj.weight", 0), hints
    )
    said = {"rms_norm_eps": hints.rms_norm_eps, "max_position_embeddings": hints.max_position_embeddings}
    return {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": _num_layers(shapes, "model.language_model."),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": _size(shapes, "model.language_model.layers.0.mlp.gate_proj.weight", 0),
        "rope_parameters": {"rope_type": "default", "rope_theta": hints.rope_theta or 1_000_000.0},
        **{name: value for name, value in said.items() if value is not None},
    }


def _encoder_heads(width: int, hints: Hints) -> int:
    heads = hints.encoder_heads or (0 if width % ENCODER_HEAD_WIDTH else width // ENCODER_HEAD_WIDTH)
    if heads == 0 or width % heads:
        raise ConversionError(
            f"an encoder of width {width} does not say its heads (rule: one per {ENCODER_HEAD_WIDTH}; asked for: "
            f"{hints.encoder_heads}): give --encoder-heads, or <stem>.json or .yaml next to the file"
        )
    return heads


def _llm_heads(width: int, query_rows: int, key_rows: int, hints: Hints) -> tuple[int, int]:
    """Heads and key-value heads, from what is said or from the rule of 128 (64) rows a head."""
    rule = ENCODER_HEAD_WIDTH if width == SMALLEST_QWEN2 else LLM_HEAD_WIDTH
    heads = hints.llm_heads or query_rows // rule
    head_width = query_rows // heads if heads else 0
    kv_heads = hints.llm_kv_heads or (key_rows // head_width if head_width else 0)
    if not kv_heads or heads * head_width != query_rows or kv_heads * head_width != key_rows:
        raise ConversionError(
            f"a language model of {query_rows} query and {key_rows} key rows does not say its heads (rule: one per "
            f"{rule} rows; asked for: {hints.llm_heads} and {hints.llm_kv_heads}): give --llm-heads and "
            "--llm-kv-heads, or <stem>.json or .yaml next to the file"
        )
    return heads, kv_heads


def _size(shapes: Shapes, name: str, axis: int) -> int:
    if name not in shapes or len(shapes[name]) <= axis:
        raise ConversionError(f"missing key: {to_theirs(name)}, which defines a size; the file is incomplete")
    return shapes[name][axis]


def _num_layers(shapes: Shapes, prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"layers\.(\d+)\.")
    return 1 + max((int(found.group(1)) for name in shapes if (found := pattern.match(name))), default=-1)
