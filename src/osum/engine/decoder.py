"""The layers of the language model over the tokens of a pass, which belong to many rows and are not padded.

The modules are those of `transformers`; only attention is `TokenCache`'s. Shapes: N tokens, D width, H heads, d width
of a head.
"""

from __future__ import annotations

from torch import Tensor
from transformers import Qwen2Model
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from osum.engine.cache import TokenCache


def decode(model: Qwen2Model, cache: TokenCache, embeds: Tensor, positions: Tensor) -> Tensor:
    """States (N, D) of embeddings (N, D) at positions (N,), written to and read from where the cache aims."""
    states = embeds
    cos, sin = (part[0] for part in model.rotary_emb(states[None], positions[None]))  # (N, d)
    for number, layer in enumerate(model.layers):
        attention = layer.self_attn
        normed = layer.input_layernorm(states)
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        queries, keys, values = (
            project(normed).view(len(normed), -1, attention.head_dim) for project in projections
        )  # (N, H, d)
        queries, keys = apply_rotary_pos_emb(queries, keys, cos, sin)
        cache.write(number, keys, values)
        states = states + attention.o_proj(cache.attend(number, queries, attention.scaling))
        states = states + layer.mlp(layer.post_attention_layernorm(states))
    return model.norm(states)
