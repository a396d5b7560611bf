"""The way back: a converted folder to the original's state dict, key by key and bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from osum.checkpoints.convert.lora import adapter_name
from osum.checkpoints.convert.names import ALIASES, EMBEDDING, LM_HEAD, shorten, split_lora, to_ours
from osum.checkpoints.convert.shards import read_shards, read_tensors
from osum.checkpoints.folder import ADAPTER_FOLDER, SIDECAR, UNUSED_FILE, read_sidecar
from osum.errors import ConversionError
from osum.files import atomic_file


def to_original(folder: Path, file: Path, *, overwrite: bool = False) -> Path:
    """Write the state dict that `folder` was converted from, with the folder's present values.

    Args:
        folder: what `convert` wrote, LoRA kept (or never there); its weights and adapter may be trained further.
        file: the new `.pt`.
        overwrite: replace `file`.

    Raises:
        ConversionError: LoRA was merged, the folder was not converted, tensors are missing, or `file` exists.
    """
    folder, file = Path(folder), Path(file)
    row = read_sidecar(folder)
    if not row:
        raise ConversionError(
            f"{folder} has no {SIDECAR}, which lists the original's keys: give a folder that osum convert wrote, or "
            f"copy {SIDECAR}, {UNUSED_FILE} and {ADAPTER_FOLDER}/ next to the trained weights"
        )
    if row["lora"] == "merged":
        raise ConversionError(
            f"{folder} has its LoRA merged, which cannot be undone: convert the original again with --keep-lora"
        )
    if file.exists() and not overwrite:
        raise ConversionError(f"{file} exists: give a new file, or --overwrite")
    state = _original_state(folder, row["keys"])
    try:
        with atomic_file(file) as out:
            torch.save(state, out)
    except (OSError, RuntimeError) as fault:
        raise ConversionError(f"{file} cannot be written ({fault}): give another place") from fault
    return file


def _original_state(folder: Path, keys: list[str]) -> dict[str, Tensor]:
    """The original's keys in their order, values mapped from the folder's files."""
    held = read_shards(folder)
    held.update(read_tensors(folder / UNUSED_FILE))
    held.update(read_tensors(folder / ADAPTER_FOLDER / "adapter_model.safetensors"))
    held.setdefault(LM_HEAD, held[EMBEDDING])
    names = {key: our_name(key) for key in keys}
    missing = [f"{name} (for {key})" for key, name in names.items() if name not in held]
    if missing:
        raise ConversionError(f"{folder} lacks {shorten(missing)}: convert the original again with --keep-lora")
    return {key: _as_original(key, name, held) for key, name in names.items()}


def our_name(key: str) -> str:
    """Name under which a converted folder holds the value of an original's key."""
    if key in ALIASES:
        return ALIASES[key]
    if pair := split_lora(key):
        return adapter_name(*pair)
    return to_ours(key) or key


def _as_original(key: str, name: str, held: Mapping[str, Tensor]) -> Tensor:
    return held[name][None] if key.endswith(".pe") else held[name]
