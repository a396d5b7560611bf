"""A checkpoint of a run to a folder for use: model, processor and tasks, without what only resuming needs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from osum.checkpoints.checkpoint import open_checkpoint
from osum.checkpoints.folder import ACCOUNTS, TRAINING
from osum.checkpoints.locate import TASKS_FILE
from osum.checkpoints.provenance import runs_behind
from osum.errors import CheckpointError, InputError
from osum.files import share
from osum.model import int8
from osum.model.letters import FILE as LETTERS_FILE

SHARD_SIZE = "45MB"
"""Hosts of source code warn of files from 50 MB on."""
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote."""

    folder: Path
    num_parameters: int
    dtype: torch.dtype
    kept: bool
    """Whether `dtype` is the precision of what was exported."""
    num_files: int
    """Files of weights."""
    num_bytes: int
    """Of these files."""

    def __str__(self) -> str:
        """One line for a terminal."""
        precision = f"{str(self.dtype).removeprefix('torch.')} ({'kept' if self.kept else 'converted'})"
        weights = f"{self.num_parameters:,} parameters in {precision}"
        return f"{self.folder}: {weights}, {self.num_files} file(s) of weights, {self.num_bytes / 1e6:,.1f} MB"


def export(checkpoint: str | Path, out: str | Path, dtype: torch.dtype | None = None) -> ExportReport:
    """Write a training checkpoint as a plain one, LoRA merged, with `training.json`; a README in `out` stays.

    Args:
        checkpoint: a step-N folder.
        out: a new folder, or one whose weights are replaced.
        dtype: of the weights that are written; None keeps that of the checkpoint. `torch.int8` stores matrices in 8
            bits, a factor for each row, which are opened as floats.

    Raises:
        CheckpointError: `checkpoint` was not written by training, or holds a Whisper.
        InputError: `out` cannot be written.
    """
    source, target = Path(checkpoint), Path(out)
    if not (source / TASKS_FILE).is_file():
        raise CheckpointError(f"{source} has no {TASKS_FILE}: give a step-N folder of a training run")
    runs, own = runs_behind(source), dtype_of(source)
    small = dtype == torch.int8
    opened = open_checkpoint(str(source), "cpu", torch.float32 if small else dtype or own, offline=True)
    model: Any = opened.model
    try:
        for old in target.glob("*.safetensors*"):
            old.unlink()
        if small:
            target.mkdir(parents=True, exist_ok=True)
            model.config.save_pretrained(target)
            model.generation_config.save_pretrained(target)
            int8.write(model.state_dict(), target)
        else:
            model.save_pretrained(target, max_shard_size=SHARD_SIZE)
        opened.processor.save_pretrained(target)
        if opened.letters is not None:
            opened.letters.save(target)
        shutil.copy(source / TASKS_FILE, target)
        (target / TRAINING).write_text(json.dumps(runs, ensure_ascii=False, indent=1) + "\n", "utf8")
        share(target)
    except OSError as fault:
        raise InputError(f"{target} cannot be written: {fault}") from fault
    files = _weights(target)
    return ExportReport(
        folder=target,
        num_parameters=model.num_parameters(),
        dtype=dtype or own,
        kept=dtype in (None, own),
        num_files=len(files),
        num_bytes=sum(file.stat().st_size for file in files),
    )


def dtype_of(folder: Path) -> torch.dtype:
    """The narrowest precision that holds every weight of a folder exactly; an adapter does not count.

    Raises:
        CheckpointError: a file of weights cannot be read.
    """
    found: set[torch.dtype] = set()
    for path in _weights(folder):
        try:
            with safe_open(path, "pt") as file:
                names = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no iterator)
        except (OSError, SafetensorError) as fault:
            raise CheckpointError(f"{path} cannot be read ({fault}): export another step") from fault
        found |= {_DTYPES[name] for name in names if name in _DTYPES}
    return reduce(torch.promote_types, found) if found else torch.float32


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.name not in {*ACCOUNTS, LETTERS_FILE})
