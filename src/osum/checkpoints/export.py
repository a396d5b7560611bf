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
from safetensors.torch import load_file, save_file

from osum.checkpoints.base import tensors_in
from osum.checkpoints.checkpoint import open_checkpoint
from osum.checkpoints.folder import ACCOUNTS, ADAPTER_FOLDER, BASE_FILE, TRAINING
from osum.checkpoints.locate import TASKS_FILE
from osum.checkpoints.provenance import runs_behind
from osum.errors import CheckpointError, InputError
from osum.files import share
from osum.model import int8
from osum.model.letters import FILE as LETTERS_FILE

SHARD_BYTES = 45_000_000
"""Most bytes of a file of weights: hosts of source code warn of files from 50 MB on."""
_FORMAT = {"format": "pt"}
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""PEFT's names, which is not imported for them."""
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
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: give a folder")
    if not (source / TASKS_FILE).is_file():
        raise CheckpointError(f"{source} has no {TASKS_FILE}: give a step-N folder of a training run")
    runs, own = runs_behind(source), dtype_of(source)
    small = dtype == torch.int8
    if (source / BASE_FILE).is_file():
        num_parameters = _export_apart(source, target, runs, dtype or own)
        return _report(target, num_parameters, dtype, own)
    opened = open_checkpoint(str(source), "cpu", torch.float32 if small else dtype or own, offline=True)
    model: Any = opened.model
    try:
        target.mkdir(parents=True, exist_ok=True)
        for old in target.glob("*.safetensors*"):
            old.unlink()
        if small:
            model.config.save_pretrained(target)
            model.generation_config.save_pretrained(target)
            int8.write(model.state_dict(), target)
        else:
            model.save_pretrained(target, max_shard_size=SHARD_BYTES)
        opened.processor.save_pretrained(target)
        if opened.letters is not None:
            opened.letters.save(target)
        shutil.copy(source / TASKS_FILE, target)
        (target / TRAINING).write_text(json.dumps(runs, ensure_ascii=False, indent=1) + "\n", "utf8")
        share(target)
    except (OSError, SafetensorError) as fault:
        raise InputError(f"{target} cannot be written: {fault}") from fault
    return _report(target, model.num_parameters(), dtype, own)


def _export_apart(source: Path, target: Path, runs: list[dict[str, Any]], dtype: torch.dtype) -> int:
    """A checkpoint that leaves its language model out stays one, and its LoRA an adapter; returns its parameters.

    In 8 bits the adapter, which is added to the language model, is stored in bfloat16.
    """
    state, adapter = tensors_in(source), source / ADAPTER_FOLDER
    floats = torch.bfloat16 if dtype == torch.int8 else dtype
    lora = load_file(adapter / ADAPTER_WEIGHTS) if adapter.is_dir() else {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target / ADAPTER_FOLDER, ignore_errors=True)
        for old in target.glob("*.safetensors*"):
            old.unlink()
        for path in (*source.glob("*.json"), *source.glob("*.jinja"), source / LETTERS_FILE):
            if path.is_file() and path.name not in ACCOUNTS:
                shutil.copy(path, target)
        if dtype == torch.int8:
            int8.write(state, target)
        else:
            save_file({name: value.to(dtype) for name, value in state.items()}, target / "model.safetensors", _FORMAT)
        if lora:
            (target / ADAPTER_FOLDER).mkdir()
            shutil.copy(adapter / ADAPTER_CONFIG, target / ADAPTER_FOLDER)
            lora = {name: value.to(floats) for name, value in lora.items()}
            save_file(lora, target / ADAPTER_FOLDER / ADAPTER_WEIGHTS, _FORMAT)
        (target / TRAINING).write_text(json.dumps(runs, ensure_ascii=False, indent=1) + "\n", "utf8")
        share(target)
    except (OSError, SafetensorError) as fault:
        raise InputError(f"{target} cannot be written: {fault}") from fault
    return sum(value.numel() for value in (*state.values(), *lora.values()))


def _report(target: Path, num_parameters: int, dtype: torch.dtype | None, own: torch.dtype) -> ExportReport:
    files = [*_weights(target), *target.glob(f"{ADAPTER_FOLDER}/*.safetensors")]
    return ExportReport(
        folder=target,
        num_parameters=num_parameters,
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
