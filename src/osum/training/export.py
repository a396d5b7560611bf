"""A checkpoint of a run to a folder for use: model, processor and tasks, without what only resuming needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from osum.errors import CheckpointError, InputError
from osum.inference.locate import TASKS_FILE
from osum.model import OsumForConditionalGeneration, OsumProcessor

SHARD_SIZE = "14MB"
"""Small shards: hosts of source code refuse or dislike larger files."""


def export(checkpoint: str | Path, out: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a training checkpoint as a plain one; a README that lies in `out` stays.

    Raises:
        CheckpointError: `checkpoint` was not written by training.
        InputError: `out` cannot be written.
    """
    source, target = Path(checkpoint), Path(out)
    if not (source / TASKS_FILE).is_file():
        raise CheckpointError(f"{source} has no {TASKS_FILE}: give a step-N folder of a training run")
    model = OsumForConditionalGeneration.from_pretrained(source, dtype=dtype)
    try:
        for old in target.glob("*.safetensors*"):
            old.unlink()
        model.save_pretrained(target, max_shard_size=SHARD_SIZE)
        OsumProcessor.from_pretrained(source).save_pretrained(target)
        shutil.copy(source / TASKS_FILE, target)
    except OSError as fault:
        raise InputError(f"{target} cannot be written: {fault}") from fault
