"""A training checkpoint becomes a folder for use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model.tiny import noise
from safetensors.torch import load_file
from transformers import WhisperConfig

import osum
from osum.checkpoints.export import export
from osum.errors import CheckpointError
from osum.training.trainer import Trainer
from training.conftest import MakeConfig


def test_a_folder_that_training_did_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tasks\.json: give a step-N folder"):
        export(tmp_path, tmp_path / "out", torch.float32)


def test_a_whisper_is_refused(config: MakeConfig, tmp_path: Path) -> None:
    checkpoint = tmp_path / "step-1"
    WhisperConfig().save_pretrained(checkpoint)
    (checkpoint / "tasks.json").write_text("{}", "utf8")
    with pytest.raises(CheckpointError, match=r"holds a model of type 'whisper', not osum; see `osum convert`$"):
        export(checkpoint, tmp_path / "out", torch.float32)
    assert not (tmp_path / "out").exists()


def test_an_exported_checkpoint_holds_what_its_lora_learned(config: MakeConfig, tmp_path: Path) -> None:
    step = Trainer(config(steps=2, learn="lora", learning_rate=1.0)).run()
    export(step, tmp_path / "out", torch.float32)
    merged, plain = (osum.load(folder).engine.model.state_dict() for folder in (step, tmp_path / "out"))
    before = load_file(step / "model.safetensors")
    assert merged.keys() == plain.keys() and all(torch.equal(merged[name], plain[name]) for name in merged)
    assert {name for name in before if not torch.equal(before[name], plain[name])}


def test_an_exported_checkpoint_answers(config: MakeConfig, tmp_path: Path) -> None:
    export(Trainer(config(steps=2)).run(), tmp_path / "out", torch.float32)
    result = osum.load(str(tmp_path / "out")).label(noise(8_000, 0), tasks="SGC")
    assert set(result.summary["SGC"].distribution) == {"female", "male"}
