"""A voice file holds what was put into it, and a file that is none is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from osum.errors import CheckpointError
from osum.speech.voice import Voice, load_voice

from .golden import voice


def test_a_voice_comes_back_from_its_file(tmp_path: Path) -> None:
    golden = voice()
    noted = Voice("tiny", golden.codes, golden.mel, golden.embedding, "CC BY 4.0", "Ada agreed on 1 May, 冬天 too")
    noted.save(tmp_path / "a.safetensors")
    read = load_voice(tmp_path / "a.safetensors")
    assert (read.model, read.licence, read.consent) == (noted.model, noted.licence, noted.consent)
    assert torch.equal(read.codes, noted.codes)
    assert torch.equal(read.mel, noted.mel)
    assert torch.equal(read.embedding, noted.embedding)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such voice file; make one with: osum voice make"):
        load_voice(tmp_path / "gone.safetensors")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match="cannot be read as a voice file") as fault:
        load_voice(tmp_path / "a.safetensors")
    assert "\n" not in str(fault.value)


def test_other_tensors_are_no_voice(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"holds \['weight'\] and no voice"):
        load_voice(tmp_path / "a.safetensors")
