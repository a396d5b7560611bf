"""A training checkpoint becomes a folder for use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model.tiny import noise

import osum
from osum.errors import CheckpointError
from osum.training.export import export
from osum.training.trainer import Trainer
from training.conftest import MakeConfig


def test_a_folder_that_training_did_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tasks\.json: give a step-N folder"):
        export(tmp_path, tmp_path / "out", torch.float32)


def test_an_exported_checkpoint_answers(config: MakeConfig, tmp_path: Path) -> None:
    export(Trainer(config(steps=2)).run(), tmp_path / "out", torch.float32)
    result = osum.load(str(tmp_path / "out")).label(noise(8_000, 0), tasks="SGC")
    assert set(result.summary["SGC"].distribution) == {"female", "male"}
