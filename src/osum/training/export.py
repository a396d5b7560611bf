"""A checkpoint of a run to a folder for use: model, processor and tasks, without what only resuming needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from osum.checkpoints.checkpoint import open_checkpoint
from osum.checkpoints.locate import TASKS_FILE
from osum.errors import CheckpointError, InputError
from osum.training import record

SHARD_SIZE = "14MB"
"""Small shards: hosts of source code refuse or dislike larger files."""


def export(checkpoint: str | Path, out: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a training checkpoint as a plain one, LoRA merged, with `training.json`; a README that lies in `out` stays.

    Raises:
        CheckpointError: `checkpoint` was not written by training, or holds a Whisper.
        InputError: `out` cannot be written.
    """
    source, target = Path(checkpoint), Path(out)
    if not (source / TASKS_FILE).is_file():
        raise CheckpointError(f"{source} has no {TASKS_FILE}: give a step-N folder of a training run")
    runs = record.runs_behind(source)
    opened = open_checkpoint(str(source), "cpu", dtype, offline=True)
    try:
        for old in target.glob("*.safetensors*"):
            old.unlink()
        opened.model.save_pretrained(target, max_shard_size=SHARD_SIZE)
        opened.processor.save_pretrained(target)
        shutil.copy(source / TASKS_FILE, target)
        (target / record.FILE).write_text(json.dumps(runs, ensure_ascii=False, indent=1) + "\n", "utf8")
    except OSError as fault:
        raise InputError(f"{target} cannot be written: {fault}") from fault
