"""A tiny checkpoint that leaves its language model out, and language models that are or are not that one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from model.tiny import VOCAB_SIZE, byte_tokenizer
from safetensors.torch import load_file, save_file

from checkpoints.conftest import small_qwen, small_whisper
from osum.checkpoints.convert import from_parts

NAME = "owner/small-qwen"
WEIGHTS = "model.safetensors"
State = dict[str, torch.Tensor]


def write_base(folder: Path, seed: int = 0) -> Path:
    """A random Qwen2 whose norms and biases say something too, with its tokenizer."""
    torch.manual_seed(seed)
    model = small_qwen(VOCAB_SIZE)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1:
                value.normal_(1 if "norm" in name else 0, 0.3)
            elif "embed" not in name:
                value.normal_(std=0.2)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def write_apart(folder: Path) -> tuple[Path, Path]:
    """`base`, a language model, and `apart`, a checkpoint that was made with it and leaves it out."""
    small_whisper().save_pretrained(folder / "whisper")
    base = write_base(folder / "base")
    from_parts(folder / "whisper", base, folder / "apart", apart=NAME, dropout=0.0)
    return base, folder / "apart"


def changed(base: Path, folder: Path, change: Callable[[State], Mapping[str, torch.Tensor]]) -> Path:
    """A copy of a language model with other weights."""
    shutil.copytree(base, folder)
    save_file({**load_file(base / WEIGHTS), **change(load_file(base / WEIGHTS))}, folder / WEIGHTS, {"format": "pt"})
    return folder


def in_4_bits(state: State) -> State:
    """Matrices rounded to 15 steps in blocks of 16, as a quantiser rounds them; vectors as they are."""
    found: State = {}
    for name, value in state.items():
        if value.dim() > 1:
            blocks = value.reshape(-1, 16)
            step = blocks.abs().amax(1, keepdim=True) / 7
            found[name] = ((blocks / step).round() * step).reshape(value.shape)
    return found


def scaled(state: State) -> State:
    """The same function, channels scaled between matrices as AWQ scales them."""
    random = torch.Generator().manual_seed(5)
    found = dict(state)
    for layer in ("model.layers.0.", "model.layers.1."):
        for norm, readers in (
            ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
        ):
            scale = torch.rand(32, generator=random) + 0.5
            found[f"{layer}{norm}.weight"] = found[f"{layer}{norm}.weight"] / scale
            for reader in readers:
                found[f"{layer}{reader}.weight"] = found[f"{layer}{reader}.weight"] * scale
        scale = torch.rand(48, generator=random) + 0.5
        found[f"{layer}mlp.up_proj.weight"] = found[f"{layer}mlp.up_proj.weight"] / scale[:, None]
        found[f"{layer}mlp.down_proj.weight"] = found[f"{layer}mlp.down_proj.weight"] * scale
    return found
