"""Tiny random checkpoints and clips that the tests of the engine, and all that stands on it, share."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from model.tiny import noise, tiny_model, tiny_processor

import osum
from osum.checkpoints.checkpoint import Checkpoint
from osum.tasks import OSUM, TaskSet

CLIPS = [noise(8_000, seed=1), noise(4_999, seed=2), noise(11_728, seed=3), noise(300, seed=4)]
FEW = ("ASR", "VED", "SGC")
"""Tasks with a transcript, with a sound's label and with a voice's; few, since a random model never stops."""

WriteCheckpoint = Callable[..., Path]


@cache
def checkpoint_of(layout: str) -> Checkpoint:
    return Checkpoint("tiny", "1", tiny_model(layout), tiny_processor(layout), OSUM)


def write_checkpoint(folder: Path, tasks: TaskSet | None = OSUM, dtype: torch.dtype = torch.float32) -> Path:
    """A tiny `speech_first` checkpoint as a folder; without `tasks`, as one that carries none."""
    tiny_model("speech_first").to(dtype).save_pretrained(folder)
    tiny_processor("speech_first").save_pretrained(folder)
    if tasks is not None:
        (folder / "tasks.json").write_text(json.dumps(tasks.to_dict()), "utf8")
    return folder


def error_of(*arguments: object, **options: object) -> str:
    """The one line that `osum.load` refuses with."""
    with pytest.raises(osum.OsumError) as caught:
        osum.load(*arguments, **options)
    (line,) = str(caught.value).splitlines()
    return line
