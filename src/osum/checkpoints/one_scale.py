"""A Qwen2 at one scale: two that differ only in how channels between matrices are scaled become equal.

Quantisers such as AWQ divide the channels that one matrix writes and multiply them where the next one reads. What the
model computes stays the same, but a LoRA reads these channels too: learned on one scale, it is wrong on another.

1. The weights of a norm are multiplied into the columns of the matrices that read it, and become 1.
2. Each row of `up_proj` is divided by its length, and the column of `down_proj` that reads it multiplied by it.
3. Nothing else is scaled: with fewer heads for keys than for queries, no quantiser scales values against `o_proj`.

A norm `[2, 4]` before the row `[3, 1]`, and the same after AWQ, `[1, 8]` before `[6, 0.5]`, both become `[1, 1]` before
`[6, 4]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
"""Norm of a layer to the matrices that read it."""
_LAYER = re.compile(r"(.*layers\.\d+\.)input_layernorm\.weight")


def at_one_scale(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Qwen2 under any prefix, brought to one scale; each keeps its type."""
    found = dict(state)
    for match in filter(None, map(_LAYER.fullmatch, state)):
        layer = match[1]
        for norm, readers in READERS.items():
            weight = state[f"{layer}{norm}.weight"].float()  # (D,)
            found[f"{layer}{norm}.weight"] = torch.ones_like(state[f"{layer}{norm}.weight"])
            for reader in readers:
                name = f"{layer}{reader}.weight"
                found[name] = state[name].float() * weight  # (N, D)
        up, down = f"{layer}mlp.up_proj.weight", f"{layer}mlp.down_proj.weight"
        length = found[up].norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)  # (FFN,)
        found[up] = found[up] / length[:, None]
        found[down] = state[down].float() * length  # (D, FFN)
        found |= {name: value.to(state[name].dtype) for name, value in found.items() if name.startswith(layer)}
    return found
