"""Checkpoints of a run: the model in Hugging Face form, and beside it what resuming needs.

A checkpoint appears by one rename, so an interrupted run never leaves half of one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from osum.errors import CheckpointError

STATE = "training_state.safetensors"
PROGRESS = "progress.json"


def save(folder: Path, step: int, write_model: Any, state: dict[str, torch.Tensor], progress: dict[str, Any]) -> Path:
    """Write `step-N` under `folder`, keep the one before and remove what is older; returns its path.

    `write_model` is called with the folder to write the model into.
    """
    final, partial = path(folder, step), folder / f".step-{step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_model(partial)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial / STATE)
    (partial / PROGRESS).write_text(json.dumps({"step": step, **progress}, indent=1), "utf8")
    older = [found for found in steps(folder) if found != final]
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in older[:-1]:
        shutil.rmtree(old)
    return final


def path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step}"


def steps(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first; folders of other names, such as a copy, are left alone."""
    found = [item for item in folder.glob("step-*") if item.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda item: int(item.name.removeprefix("step-")))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Training tensors and progress of one checkpoint.

    Raises:
        CheckpointError: the folder is no training checkpoint.
    """
    try:
        return load_file(path / STATE), json.loads((path / PROGRESS).read_text("utf8"))
    except (OSError, ValueError, SafetensorError) as fault:
        raise CheckpointError(f"{path} is no training checkpoint ({fault}): give a step-N folder") from fault
