"""Safetensors folders: written shard by shard, read tensor by tensor, so that no model is ever whole in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from osum.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DEFAULT_SHARD_BYTES = 2_000_000_000


def plan_shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in order, grouped so that each group holds at most `limit` bytes (or one larger tensor)."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def write_shards(folder: Path, sizes: Mapping[str, int], tensor: Callable[[str], Tensor], limit: int) -> int:
    """Write the tensors that `tensor` gives by name; returns the number of files."""
    shards = plan_shards(sizes, limit)
    if len(shards) == 1:
        save_file({name: tensor(name) for name in sizes}, folder / WEIGHTS, metadata={"format": "pt"})
        return 1
    where: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: tensor(name) for name in names}, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return len(shards)


def read_shards(folder: Path) -> dict[str, Tensor]:
    """Tensors of a folder by name, mapped from its files.

    Raises:
        CheckpointError: neither a weights file nor an index.
    """
    index = folder / INDEX
    if index.is_file():
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    elif (folder / WEIGHTS).is_file():
        files = [WEIGHTS]
    else:
        raise CheckpointError(f"{folder} holds neither {WEIGHTS} nor {INDEX}: give the folder of a saved model")
    return {name: tensor for file in files for name, tensor in read_tensors(folder / file).items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file, mapped; none where there is no such file."""
    if not path.is_file():
        return {}
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
