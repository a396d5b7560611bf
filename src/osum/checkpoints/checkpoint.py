"""Open a checkpoint: configuration, weights, processor and tasks, each checked."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from osum.checkpoints.base import Base, model_of, processor_of
from osum.checkpoints.locate import first_line, locate, read_tasks
from osum.checkpoints.revision import revision_of
from osum.errors import CheckpointError, MissingExtraError
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.model.interface import EngineModel
from osum.model.letters import LetterHead
from osum.tasks import TaskSet

HOSTED = {"qwen2_audio": "osum.model.qwen2_audio"}
"""Model type of other classes that the engine runs, and the module of each."""

_UNUSABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, StrictDataclassError)
"""How transformers and its parts say that a folder cannot be opened."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint."""

    name: str
    revision: str
    model: EngineModel
    processor: OsumProcessor
    tasks: TaskSet
    letters: LetterHead | None = None
    """Reads letters off encoder frames, for word times; an optional part of a checkpoint."""


def open_checkpoint(
    name: str,
    device: str,
    dtype: torch.dtype,
    offline: bool = False,
    notice: Callable[[str], None] | None = None,
    base: str | Path | None = None,
) -> Checkpoint:
    """Open `name` on a device; `base` is the folder of the language model where the checkpoint leaves it out.

    Raises:
        CheckpointError: nothing of that name, a folder that is no checkpoint, weights that do not fit, or a base
            that is missing or another one.
    """
    folder = locate(name, offline, notice)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name!r}: {folder} has no config.json, so it is no checkpoint; see `osum convert`")
    transformers_logging.disable_progress_bar()
    if _checked_type(name, folder) in HOSTED:
        return _hosted(name, folder, device, dtype)
    left_out, language_model = Base.read(folder), None
    if left_out is not None:
        language_model = left_out.find(folder, base, offline, notice)
    model = _model(name, folder, dtype, left_out, language_model).to(device).eval()
    try:
        processor = processor_of(folder, left_out, language_model, model.config)
    except (OSError, ValueError, KeyError) as fault:
        raise CheckpointError(
            f"{name!r}: no tokenizer or processor in {folder}; convert again with --tokenizer DIR ({first_line(fault)})"
        ) from fault
    head = LetterHead.load(folder, model.config.audio_config.hidden_size)
    revision = "-".join(map(revision_of, filter(None, (folder, language_model))))
    return Checkpoint(name, revision, model, processor, read_tasks(folder), None if head is None else head.to(device))


def _hosted(name: str, folder: Path, device: str, dtype: torch.dtype) -> Checkpoint:
    """A checkpoint of another class, with the class of ours that gives the engine what it needs."""
    home = import_module(HOSTED[_checked_type(name, folder)])
    try:
        model, info = home.opened(folder, dtype=dtype)
        processor = home.processor_of(folder, model.config)
    except _UNUSABLE as fault:
        raise CheckpointError(f"{name!r}: {folder} cannot be loaded ({first_line(fault)}): get it again") from fault
    _check_whole(name, info)
    return Checkpoint(name, revision_of(folder), model.to(device).eval(), processor, read_tasks(folder))


def _checked_type(name: str, folder: Path) -> str:
    """The model type of a folder that can be opened.

    Another model's configuration would be filled up with our defaults: billions of weights, made for nothing.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf8"))
        kind, parts = config.get("model_type"), [config.get(part) for part in OsumConfig.sub_configs]
    except (OSError, ValueError, AttributeError) as fault:
        raise CheckpointError(
            f"{name!r}: {folder} cannot be loaded ({first_line(fault)}): get or convert it again"
        ) from fault
    if kind in HOSTED:
        return str(kind)
    if kind != OsumConfig.model_type or not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(f"{name!r}: {folder} holds a model of type {kind!r}, not osum; see `osum convert`")
    return OsumConfig.model_type


def _model(
    name: str, folder: Path, dtype: torch.dtype, base: Base | None, language_model: Path | None
) -> OsumForConditionalGeneration:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what does not fit is reported below, in one line
    try:
        model, info = model_of(
            folder, base, language_model, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except _UNUSABLE as fault:
        raise CheckpointError(
            f"{name!r}: {folder} cannot be loaded ({first_line(fault)}): get or convert it again"
        ) from fault
    finally:
        transformers_logging.set_verbosity(verbosity)
    _check_whole(name, info)
    return _with_adapter(model, folder)


def _check_whole(name: str, info: Mapping[str, Any]) -> None:
    """Refuse weights that do not fit, which transformers would make up."""
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])]
    if wrong:
        shown = ", ".join(sorted(wrong)[:3])
        raise CheckpointError(f"{name!r}: {len(wrong)} tensors are missing or do not fit ({shown} ...): get it again")


def _with_adapter(model: OsumForConditionalGeneration, folder: Path) -> OsumForConditionalGeneration:
    """Merge the LoRA adapter that `osum convert --keep-lora` leaves next to the weights."""
    if not (folder / "adapter" / "adapter_config.json").is_file():
        return model
    try:
        from peft import PeftModel
    except ImportError as fault:
        raise MissingExtraError("peft", "train") from fault
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's, about a name it looks up
        merged: Any = PeftModel.from_pretrained(model, folder / "adapter").merge_and_unload()
    return merged
