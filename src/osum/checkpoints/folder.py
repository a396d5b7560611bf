"""Converted folders: their files next to the Hugging Face ones, and output that appears complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from osum.errors import ConversionError
from osum.files import atomic_folder

SIDECAR = "conversion.json"
"""Release, fate of the LoRA, and every key of the original in its order."""
UNUSED_FILE = "unused.safetensors"
"""Tensors of the original that the model has no use for, under their own keys."""
ADAPTER_FOLDER = "adapter"
BASE_FILE = "base.json"
"""The language model that a checkpoint leaves out: its name and its fingerprint."""
TRAINING = "training.json"
"""The runs behind a checkpoint, oldest first, as `osum export` writes them."""
PROGRESS, STATE = "progress.json", "training_state.safetensors"
"""What only resuming a run needs: where it stands, and the tensors of its optimiser."""
ACCOUNTS = frozenset({SIDECAR, UNUSED_FILE, TRAINING, "training_list.json", PROGRESS, STATE})
"""Files that say where a checkpoint is from, or resume its training, and change no answer."""


@contextmanager
def new_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that becomes `out` when the block ends, and vanishes when it fails.

    Raises:
        ConversionError: `out` holds something that may not be replaced, or cannot be written.
    """
    check_free(out, overwrite)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(atomic_folder(out))
        except OSError as fault:
            raise ConversionError(f"{out} cannot be written ({fault.strerror}): give another folder") from fault
        yield folder


def check_free(out: Path, overwrite: bool) -> None:
    """Refuse a place that `new_folder` refuses.

    Raises:
        ConversionError: it holds something that may not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ConversionError(f"{out} exists and is not empty: give a new folder, or --overwrite")
    if not (out / "config.json").is_file():
        raise ConversionError(f"{out} is no checkpoint folder (no config.json): it is not overwritten; give another")


def write_json(path: Path, row: Any) -> None:
    """One JSON file, readable and in UTF-8."""
    path.write_text(json.dumps(row, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_sidecar(folder: Path) -> dict[str, Any]:
    """What `conversion.json` holds; empty where the folder was not converted from a release."""
    path = folder / SIDECAR
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
