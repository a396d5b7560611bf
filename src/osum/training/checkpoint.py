"""Checkpoints of a run: the model in Hugging Face form, and next to it what resuming needs.

A checkpoint appears by one rename, so an interrupted run never leaves half of one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from osum.checkpoints.folder import PROGRESS, STATE
from osum.checkpoints.locate import first_line
from osum.errors import CheckpointError
from osum.files import atomic_folder, remove_folder

BEST = "best"


def save(
    folder: Path,
    step: int,
    write_model: Callable[[Path], None],
    state: Mapping[str, torch.Tensor],
    progress: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write `step-N` under `folder`, and remove all but the last `keep`; returns its path.

    `write_model` is called with the folder to write the model into.

    Raises:
        CheckpointError: it cannot be written, such as on a full disk; the checkpoints before it are still there.
    """
    final = path(folder, step)
    for left in (*folder.glob(".step-*.partial"), *folder.glob(".*.old")):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        with atomic_folder(final) as partial:
            write_model(partial)
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial / STATE)
            (partial / PROGRESS).write_text(json.dumps({"step": step, **progress}, indent=1), "utf8")
    except Exception as fault:
        # A bare Exception is how tokenizers says that a file cannot be written.
        if not isinstance(fault, (OSError, SafetensorError)) and type(fault) is not Exception:
            raise
        raise CheckpointError(
            f"{final} cannot be written ({fault}): make room and start again, earlier checkpoints are whole"
        ) from fault
    for old in steps(folder)[:-keep]:
        remove_folder(old)
    return final


def save_best(folder: Path, source: Path) -> None:
    """Keep a copy of a checkpoint as `best`; hard links, so it costs no room while both are there."""
    with atomic_folder(folder / BEST) as partial:
        shutil.copytree(source, partial, copy_function=_link, dirs_exist_ok=True)


def path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step}"


def steps(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first; folders of other names, such as `best`, are left alone."""
    found = [item for item in folder.glob("step-*") if item.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda item: int(item.name.removeprefix("step-")))


def load(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Training tensors and progress of one checkpoint.

    Raises:
        CheckpointError: the folder is no training checkpoint.
    """
    try:
        return load_file(folder / STATE), json.loads((folder / PROGRESS).read_text("utf8"))
    except (OSError, ValueError, SafetensorError) as fault:
        raise CheckpointError(f"{folder} is no training checkpoint ({fault}): give a step-N folder") from fault


@contextmanager
def opening(folder: Path) -> Iterator[None]:
    """Turn what transformers says of a folder that it cannot read into one line.

    Raises:
        CheckpointError: such a folder.
    """
    try:
        yield
    except (OSError, ValueError, SafetensorError) as fault:
        raise CheckpointError(
            f"{folder} cannot be loaded ({first_line(fault)}): remove it and start again, or give another model"
        ) from fault


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
