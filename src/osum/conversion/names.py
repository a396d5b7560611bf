"""State-dict names of the originals and of ours, one table for both directions (specification 1.2, 2.2)."""

from __future__ import annotations

import re

RENAMES: tuple[tuple[str, str], ...] = (
    ("encoder.embed.conv.0.", "model.audio_tower.conv1."),
    ("encoder.embed.conv.2.", "model.audio_tower.conv2."),
    ("encoder.embed.pos_enc.pe", "model.audio_tower.embed_positions.weight"),
    ("encoder.encoders.", "model.audio_tower.layers."),
    ("encoder.after_norm.", "model.audio_tower.layer_norm."),
    ("down_sample_2.conv.1.", "model.adaptor.convs.0."),
    ("down_sample_2.conv.4.", "model.adaptor.convs.1."),
    ("down_sample_2.conv.7.", "model.adaptor.convs.2."),
    ("speech_transformer.embed.out.0.", "model.adaptor.input_linear."),
    ("speech_transformer.embed.out.1.", "model.adaptor.input_layer_norm."),
    ("speech_transformer.embed.pos_enc.pe", "model.adaptor.embed_positions.weight"),
    ("speech_transformer.encoders.", "model.adaptor.layers."),
    ("speech_transformer.after_norm.", "model.adaptor.layer_norm."),
    ("speech_llama_proj.", "model.adaptor.output_linear."),
    ("speech_token_emded.", "model.speech_embedding."),
    ("speech_head.", "speech_head."),
    ("llama_model.lm_head.", "lm_head."),
    ("llama_model.model.", "model.language_model."),
)
"""Prefix of the original, prefix of ours; the first that fits is taken."""

LAYER_RENAMES: tuple[tuple[str, str], ...] = (
    (".self_attn.linear_q.", ".self_attn.q_proj."),
    (".self_attn.linear_k.", ".self_attn.k_proj."),
    (".self_attn.linear_v.", ".self_attn.v_proj."),
    (".self_attn.linear_out.", ".self_attn.out_proj."),
    (".feed_forward.w_1.", ".fc1."),
    (".feed_forward.w_2.", ".fc2."),
    (".norm1.", ".self_attn_layer_norm."),
    (".norm2.", ".final_layer_norm."),
)
"""Inside one layer of the encoder or of the adaptor's transformer."""

_PEFT = re.compile(r"^llama_model\.base_model\.model\.|\.base_layer(?=\.)")


def without_peft(key: str) -> str:
    """The key as it reads without LoRA: no `base_model.model.`, no `.base_layer`."""
    return _PEFT.sub(lambda found: "llama_model." if found.group().startswith("llama") else "", key)


def to_ours(key: str) -> str | None:
    """Our name of an original's key (LoRA prefixes removed), or None where we have no such tensor."""
    key = without_peft(key)
    for theirs, ours in RENAMES:
        if key.startswith(theirs):
            renamed = ours + key[len(theirs) :]
            if ours.endswith(".layers."):
                for old, new in LAYER_RENAMES:
                    renamed = renamed.replace(old, new)
            return renamed
    return None
