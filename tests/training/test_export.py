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
from osum.model.letters import LetterHead
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


def test_a_head_of_letters_that_was_trained_is_kept_and_times_words(config: MakeConfig, tmp_path: Path) -> None:
    trainer = Trainer(config(steps=1, ctc_weight=0.5))
    report = export(trainer.run(), tmp_path / "out", torch.bfloat16)
    assert (tmp_path / "out" / "letters.safetensors").is_file() and report.num_files == 1
    head = LetterHead.load(tmp_path / "out", trainer.objective.tower.config.hidden_size)
    assert head is not None and torch.equal(head.linear.weight, trainer.objective.ctc.linear.weight)
    assert not all(word.estimated for word in osum.load(tmp_path / "out").align(noise(24_000), "good morning"))


def test_a_head_of_letters_that_was_not_trained_is_not_kept(config: MakeConfig, tmp_path: Path) -> None:
    export(Trainer(config(steps=1, ctc_weight=0.0)).run(), tmp_path / "out", torch.float32)
    assert not (tmp_path / "out" / "letters.safetensors").exists()
