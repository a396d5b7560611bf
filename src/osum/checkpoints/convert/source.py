"""A released state dict on disk and the notes next to it. Tensors stay in the file until they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from osum.errors import ConversionError


def read_state_dict(path: Path, wrappers: Sequence[str] = ("module",)) -> dict[str, Tensor]:
    """Tensors by key, mapped from the file: a `.pt` (bare, or under one of `wrappers`, `module` being DeepSpeed's) or
    `.safetensors`.

    Raises:
        ConversionError: no such file, not a state dict, or more than tensors in it.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is not a file: give the original's .pt or .safetensors state dict")
    held = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(held, Mapping):
        held = next((held[key] for key in wrappers if isinstance(held.get(key), Mapping)), held)
    if not isinstance(held, Mapping) or not held or not all(isinstance(value, Tensor) for value in held.values()):
        raise ConversionError(f"{path} holds no state dict (names to tensors): give the original's infer.pt")
    return dict(held)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as fault:
        raise ConversionError(f"{path} cannot be read as safetensors ({fault}); copy it again") from fault


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as fault:
        reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise ConversionError(
            f"{path} cannot be read as a torch state dict ({reason}); it must be a whole file of tensors alone, "
            "saved by torch 1.6 or later"
        ) from fault


@dataclass(frozen=True)
class Hints:
    """What shapes do not show (specification 2.3); None where it was not given."""

    encoder_heads: int | None = None
    llm_heads: int | None = None
    llm_kv_heads: int | None = None
    rope_theta: float | None = None
    rms_norm_eps: float | None = None
    max_position_embeddings: int | None = None
    answer_end_token_id: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    tokenizer: str | None = None
    """Folder or hub name."""

    def over(self, other: Hints) -> Hints:
        """These hints, and the other's where these say nothing."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Hints(**{name: second if first is None else first for name, (first, second) in pairs.items()})


def read_hints(source: Path) -> Hints:
    """Hints from `<stem>.json`, `<stem>.yaml` or `<stem>.yml` and a tokenizer next to the file.

    The yaml is the original's configuration (specification 2.4); the json may hold the sizes of the parts
    under `config`.
    """
    hints = Hints()
    for suffix in (".json", ".yaml", ".yml"):
        path = source.with_suffix(suffix)
        if path.is_file():
            hints = hints.over(_hints_of(_read_mapping(path), path.parent))
    tokenizer = str(source.parent) if (source.parent / "tokenizer_config.json").is_file() else None
    return hints.over(Hints(tokenizer=tokenizer))


def _read_mapping(path: Path) -> Mapping[str, Any]:
    read = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        row = read(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as fault:
        reason = str(fault).splitlines()[0]
        raise ConversionError(
            f"{path} next to the checkpoint cannot be read ({reason}); repair or remove it"
        ) from fault
    if not isinstance(row, Mapping):
        raise ConversionError(f"{path} next to the checkpoint holds no fields; repair or remove it")
    return row


def _hints_of(row: Mapping[str, Any], folder: Path) -> Hints:
    parts = row.get("config", {})
    encoder = row.get("encoder_conf") or parts.get("enc", {})
    llm = parts.get("llm", {})
    local = folder / str(row["llm_path"]) if row.get("llm_path") else None
    if local and (local / "config.json").is_file():
        llm = json.loads((local / "config.json").read_text(encoding="utf-8"))
    rope = llm.get("rope_parameters") or llm
    return Hints(
        encoder_heads=encoder.get("attention_heads"),
        llm_heads=llm.get("num_attention_heads"),
        llm_kv_heads=llm.get("num_key_value_heads"),
        rope_theta=_number(rope.get("rope_theta")),
        rms_norm_eps=_number(llm.get("rms_norm_eps")),
        max_position_embeddings=llm.get("max_position_embeddings"),
        answer_end_token_id=llm.get("eos_token_id"),
        lora_alpha=_number(row.get("lora_alpha")),
        lora_dropout=_number(row.get("lora_dropout")),
        tokenizer=str(local) if local and (local / "tokenizer_config.json").is_file() else None,
    )


def _number(value: Any) -> float | None:
    """YAML reads 1e-6 as a word."""
    return None if value is None else float(value)
