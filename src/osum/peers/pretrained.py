"""A model of transformers, opened for a recogniser: its weights checked, its place and revision known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoProcessor
from transformers.utils import logging as transformers_logging

from osum.checkpoints.locate import first_line
from osum.checkpoints.revision import revision_of
from osum.errors import CheckpointError
from osum.listening.placement import DTYPES, placement
from osum.peers.facts import versions
from osum.peers.recogniser import Options


@dataclass(frozen=True)
class Pretrained:
    """A model and its processor, ready to be asked."""

    name: str
    """The last part of the folder or hub id."""
    model: Any
    processor: Any
    revision: str
    device: str
    dtype: str
    batch_size: int

    def describe(self) -> Mapping[str, Any]:
        """What `Recogniser.describe` reports of it."""
        return {
            "model": self.name,
            "revision": self.revision,
            "device": self.device,
            "dtype": self.dtype,
            "batch_size": self.batch_size,
            "decoding": "greedy",
            "versions": versions("osum", "torch", "transformers", "numpy"),
        }


def open_pretrained(
    model_class: Any, name: str, options: Options, processor_of: Callable[..., Any] = AutoProcessor.from_pretrained
) -> Pretrained:
    """Open a folder or a hub id, which transformers fetches.

    Raises:
        CheckpointError: nothing usable under that name, or a model of another kind.
        InputError: an unknown device or dtype.
    """
    device, dtype = placement(options.device, options.dtype)
    transformers_logging.disable_progress_bar()
    wanted = model_class.config_class.model_type
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".")):
        raise CheckpointError(f"{name!r} cannot be loaded (no such folder): give a folder or a hub id")
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=options.offline)
        if config.model_type != wanted:
            raise CheckpointError(f"{name!r} holds a model of type {config.model_type!r}, not {wanted}: give another")
        # What is missing would be random weights and a line in a log: `info` is looked at below.
        local = options.offline
        model, info = model_class.from_pretrained(
            name, dtype=DTYPES[dtype], output_loading_info=True, local_files_only=local
        )
        processor = processor_of(name, local_files_only=local)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as fault:
        raise CheckpointError(f"{name!r} cannot be loaded ({first_line(fault)}): give a folder or a hub id") from fault
    if wrong := [*info["missing_keys"], *info["unexpected_keys"]]:
        shown = ", ".join(sorted(wrong)[:3])
        raise CheckpointError(f"{name!r}: {len(wrong)} tensors are missing or do not fit ({shown} ...): get it again")
    revision = revision_of(Path(name)) if Path(name).is_dir() else str(config._commit_hash)
    return Pretrained(Path(name).name, model.to(device).eval(), processor, revision, device, dtype, options.batch_size)
