"""Find and open a checkpoint: the packaged one, a folder, or a name on the hub."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from osum.errors import CheckpointError, MissingExtraError, TaskError
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.tasks import RELEASE, TaskSet

PACKAGED = ("nano",)
"""Checkpoints inside the package."""
TASKS_FILE = "tasks.json"
WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.md", "adapter/*")
"""What is fetched from a hub: no pickles, no code."""
HUB_TIMEOUT = 10.0
"""Seconds until a hub that does not answer is given up."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint."""

    name: str
    revision: str
    model: OsumForConditionalGeneration
    processor: OsumProcessor
    tasks: TaskSet


def open_checkpoint(
    name: str, device: str, dtype: torch.dtype, offline: bool = False, notice: Callable[[str], None] | None = None
) -> Checkpoint:
    """Open `name` on a device.

    Raises:
        CheckpointError: nothing of that name, a folder that is no checkpoint, or weights that do not fit.
    """
    folder = locate(name, offline, notice)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name!r}: {folder} has no config.json, so it is no checkpoint; see `osum convert`")
    _check_config(name, folder)
    transformers_logging.disable_progress_bar()
    model = _model(name, folder, dtype).to(device).eval()
    try:
        processor = OsumProcessor.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as fault:
        raise CheckpointError(
            f"{name!r}: no tokenizer or processor in {folder}; convert again with --tokenizer DIR ({_line(fault)})"
        ) from fault
    return Checkpoint(name, _revision(folder), model, processor, read_tasks(folder))


def locate(name: str, offline: bool, notice: Callable[[str], None] | None) -> Path:
    """The folder of a checkpoint, fetched from the hub when it is a hub name.

    Raises:
        CheckpointError: no such folder, packaged name or hub name.
    """
    if name in PACKAGED:
        return Path(str(files("osum"))) / "assets" / name
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{name!r} is a file: a model is a folder; `osum convert` makes one from a .pt file")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"model {name!r} is unknown: give {', '.join(PACKAGED)}, a checkpoint folder, or a hub name like owner/name"
        )
    return _download(name, offline, notice)


def _download(name: str, offline: bool, notice: Callable[[str], None] | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=WEIGHTS, local_files_only=True))
    except HFValidationError as fault:
        raise CheckpointError(f"{name!r} is neither a folder here nor a hub name: {_line(fault)}") from fault
    except LocalEntryNotFoundError:
        if offline:
            raise CheckpointError(f"model {name!r} is not on this machine and --offline was given") from None
    try:
        info = HfApi().model_info(name, files_metadata=True, timeout=HUB_TIMEOUT)
        size = sum(item.size or 0 for item in info.siblings or [] if item.rfilename.endswith(".safetensors"))
        licence = getattr(info.card_data, "license", None) or "unknown"
        if notice:
            notice(f"downloading {name}: {size / 1e9:.1f} GB, licence {licence}")
        return Path(snapshot_download(name, allow_patterns=WEIGHTS))
    except Exception as fault:  # the hub's client passes on the errors of the HTTP library it happens to use
        raise CheckpointError(
            f"model {name!r} cannot be fetched ({_line(fault)}): check the name and the network"
        ) from fault


def _check_config(name: str, folder: Path) -> None:
    """Another model's configuration would be filled up with our defaults: billions of weights, made for nothing."""
    try:
        config = json.loads((folder / "config.json").read_text("utf8"))
        kind, parts = config.get("model_type"), [config.get(part) for part in OsumConfig.sub_configs]
    except (OSError, ValueError, AttributeError) as fault:
        raise CheckpointError(
            f"{name!r}: {folder} cannot be loaded ({_line(fault)}): get or convert it again"
        ) from fault
    if kind != OsumConfig.model_type or not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(f"{name!r}: {folder} holds a model of type {kind!r}, not osum; see `osum convert`")


def _model(name: str, folder: Path, dtype: torch.dtype) -> OsumForConditionalGeneration:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what does not fit is told below, in one line
    try:
        model, info = OsumForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as fault:
        raise CheckpointError(
            f"{name!r}: {folder} cannot be loaded ({_line(fault)}): get or convert it again"
        ) from fault
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])]
    if wrong:
        shown = ", ".join(sorted(wrong)[:3])
        raise CheckpointError(f"{name!r}: {len(wrong)} tensors are missing or do not fit ({shown} ...): get it again")
    return _with_adapter(model, folder)


def _with_adapter(model: OsumForConditionalGeneration, folder: Path) -> OsumForConditionalGeneration:
    """Merge the LoRA adapter that `osum convert --keep-lora` leaves beside the weights."""
    if not (folder / "adapter" / "adapter_config.json").is_file():
        return model
    try:
        from peft import PeftModel
    except ImportError as fault:
        raise MissingExtraError("peft", "train") from fault
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's, about a name it looks up
        merged: Any = PeftModel.from_pretrained(model, folder / "adapter").merge_and_unload()
    return merged


def read_tasks(folder: Path) -> TaskSet:
    """The tasks a checkpoint carries; one without the file is taken for the release.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / TASKS_FILE
    if not path.is_file():
        return RELEASE
    try:
        return TaskSet.from_dict(json.loads(path.read_text("utf8")))
    except (OSError, ValueError, TaskError) as fault:
        raise CheckpointError(
            f"{path} cannot be read ({_line(fault)}): restore it from the checkpoint's source"
        ) from fault


def _revision(folder: Path) -> str:
    """What tells two versions of a checkpoint apart: the hub's commit, or the size and hash of the weights."""
    if folder.parent.name == "snapshots":
        return folder.name
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()[:12]


def _line(fault: BaseException) -> str:
    """The first line of an error's text, shortened."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:160]
