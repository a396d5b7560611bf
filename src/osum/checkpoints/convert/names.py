"""State-dict names of the originals and of ours, one table for both directions (specification 1.2, 2.2; echat 1.4).

Knows names alone: neither shapes nor values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from osum.errors import ConversionError

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

EMBEDDING = "model.language_model.embed_tokens.weight"
LM_HEAD = "lm_head.weight"
POSITION_TABLES = ("model.audio_tower.embed_positions.weight", "model.adaptor.embed_positions.weight")
ALIASES = {"embed_tokens.weight": EMBEDDING, "lm_head.weight": LM_HEAD}
"""Second names that the originals give two tensors; same storage."""
UNUSED = ("ln_speech.", "speaker_head.")
"""In the state dict of the originals, in no forward of theirs (specification 1.3, 1.6)."""

_PEFT = re.compile(r"^llama_model\.base_model\.model\.|\.base_layer(?=\.)")
_LORA = re.compile(r"\.lora_([AB])(?:\.default)?\.weight$")


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


def to_theirs(name: str) -> str:
    """The original's key, as it reads without LoRA, of one of our names."""
    for theirs, ours in RENAMES:
        if name.startswith(ours):
            renamed = theirs + name[len(ours) :]
            if theirs.endswith(".encoders."):
                for old, new in LAYER_RENAMES:
                    renamed = renamed.replace(new, old)
            return renamed
    raise KeyError(name)


def split_lora(key: str) -> tuple[str, str] | None:
    """`(our name of the adapted weight, "A" or "B")` of a LoRA key, else None."""
    found = _LORA.search(key)
    name = to_ours(_LORA.sub(".weight", key)) if found else None
    return (name, found.group(1)) if found and name else None


@dataclass(frozen=True)
class KeyPlan:
    """Where each key of an original goes."""

    weights: dict[str, str] = field(default_factory=dict)
    """Our name to the original's key."""
    lora: dict[str, dict[str, str]] = field(default_factory=dict)
    """Our name of the adapted weight to the keys of its `A` and `B`."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The original's second names to our name."""
    unused: tuple[str, ...] = ()


def plan_keys(keys: Iterable[str]) -> KeyPlan:
    """Sort the keys of an original.

    Raises:
        ConversionError: a key that nothing is known about, two keys for one tensor, half a LoRA pair.
    """
    weights: dict[str, str] = {}
    lora: dict[str, dict[str, str]] = {}
    aliases: dict[str, str] = {}
    unused: list[str] = []
    unknown: list[str] = []
    for key in keys:
        if key in ALIASES:
            aliases[key] = ALIASES[key]
        elif key.startswith(UNUSED):
            unused.append(key)
        elif pair := split_lora(key):
            lora.setdefault(pair[0], {})[pair[1]] = key
        elif (name := to_ours(key)) and name not in weights:
            weights[name] = key
        else:
            unknown.append(key)
    unknown += [key for pair in lora.values() if len(pair) == 1 for key in pair.values()]
    if unknown:
        raise ConversionError(f"unexpected keys: {shorten(unknown)}; no OSUM or OSUM-EChat state dict has them")
    return KeyPlan(weights, lora, aliases, tuple(unused))


def shorten(keys: Iterable[str], limit: int = 10) -> str:
    """Names in one line, cut past `limit`."""
    listed = list(keys)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
