"""Checkpoints of a run appear whole, and old ones go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from model.tiny import tiny_processor

from osum.errors import CheckpointError
from osum.training import checkpoint


def write(folder: Path, step: int) -> Path:
    state = {"ctc.weight": torch.full((2, 3), float(step)).T}
    return checkpoint.save(folder, step, lambda path: (path / "model").write_text("m"), state, {"epoch": 7})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state, progress = checkpoint.load(write(tmp_path, 5))
    assert torch.equal(state["ctc.weight"], torch.full((3, 2), 5.0)) and progress == {"step": 5, "epoch": 7}
    assert (tmp_path / "step-5" / "model").read_text() == "m"


def test_the_last_two_stay(tmp_path: Path) -> None:
    for step in (2, 4, 10, 12):
        write(tmp_path, step)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-10", "step-12"]


def test_a_step_saved_again_replaces_itself(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "step-3" / "model").write_text("old")
    assert (write(tmp_path, 3) / "model").read_text() == "m" and len(checkpoint.steps(tmp_path)) == 1


def test_as_many_stay_as_are_asked_for(tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoint.save(tmp_path, step, lambda _: None, {"x": torch.zeros(1)}, {}, keep=3)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-3", "step-4", "step-5"]


def test_the_best_stays_when_its_step_goes(tmp_path: Path) -> None:
    checkpoint.save_best(tmp_path, write(tmp_path, 1))
    for step in (2, 3, 4):
        write(tmp_path, step)
    assert checkpoint.load(tmp_path / "best")[1]["step"] == 1
    checkpoint.save_best(tmp_path, tmp_path / "step-4")
    assert checkpoint.load(tmp_path / "best")[1]["step"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step-3", "step-4"]


def test_a_disk_that_is_full_is_one_line_and_costs_no_checkpoint(tmp_path: Path) -> None:
    def write_model(folder: Path) -> None:
        with Path("/dev/full").open("w") as full:
            full.write("x")

    write(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"No space left.*make room and start again") as caught:
        checkpoint.save(tmp_path, 2, write_model, {}, {})
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_a_tokenizer_that_finds_the_disk_full_is_reported_alike(tmp_path: Path) -> None:
    def write_model(folder: Path) -> None:
        (folder / "tokenizer.json").symlink_to("/dev/full")
        tiny_processor().save_pretrained(folder)

    with pytest.raises(CheckpointError, match=r"No space left.*make room and start again"):
        checkpoint.save(tmp_path, 2, write_model, {}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_everything_has_the_mode_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write(tmp_path, 1)
    finally:
        os.umask(before)
    assert {item.stat().st_mode & 0o777 for item in path.rglob("*") if item.is_file()} == {0o666 & ~umask}


def test_an_interrupted_save_leaves_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, 2)
    with pytest.raises(KeyError):
        checkpoint.save(tmp_path, 4, lambda path: {}[path], {}, {})
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-2"]
    write(tmp_path, 4)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_folders_of_other_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-2-best", "step-old", "steps"):
        (tmp_path / name).mkdir()
    for step in (1, 2, 3):
        write(tmp_path, step)
    assert len(checkpoint.steps(tmp_path)) == 2 and len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("broken", ["absent", checkpoint.STATE, checkpoint.PROGRESS])
def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path, 1)
    if broken == "absent":
        path = tmp_path / "none"
    else:
        (path / broken).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is no training checkpoint") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
