"""Training a checkpoint that leaves its language model out: its checkpoints do so too, while it stays the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints.apart import write_apart
from engine.tiny_checkpoint import CLIPS
from safetensors.torch import load_file

import osum
from osum.checkpoints.export import export
from osum.errors import RecipeError
from osum.training.trainer import Trainer
from training.conftest import MakeConfig, short_run

ADAPTER = Path("adapter") / "adapter_model.safetensors"
Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write_apart(tmp_path_factory.mktemp("apart"))


@pytest.fixture(scope="module")
def settings(folders: Folders) -> dict[str, object]:
    base, apart = folders
    return {"model": str(apart), "base": str(base), "learn": "adaptor+encoder+lora", "lora_rank": 2, "steps": 4}


@pytest.fixture(scope="module")
def done(folders: Folders, settings: dict[str, object], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run of four steps."""
    return Trainer(short_run(data, folders[1], tmp_path_factory.mktemp("run"), **settings)).run()


def answers(folder: Path, base: Path | None) -> dict[str, float]:
    label = osum.load(folder, base=base).label(CLIPS[0], tasks="SGC").summary["SGC"]
    return dict(label.distribution or {})


def test_its_checkpoints_leave_the_language_model_out_and_continue_bit_by_bit(
    config: MakeConfig, settings: dict[str, object], done: Path, tmp_path: Path
) -> None:
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    moved = str(shutil.copytree(str(settings["base"]), tmp_path / "moved"))  # the folder may be elsewhere by then
    resumed = Trainer(config(**settings | {"out": str(tmp_path / "other"), "base": moved})).run()
    assert not (done / "tokenizer.json").exists() and (done / "base.json").is_file()
    for name in ("model.safetensors", ADAPTER, "training_state.safetensors"):
        one, other = load_file(done / name), load_file(resumed / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        assert not [key for key in one if "language_model" in key and ".lora_" not in key]


def test_the_language_model_stays_and_is_held_in_the_runs_arithmetic(
    config: MakeConfig, settings: dict[str, object]
) -> None:
    model = Trainer(config(**settings | {"dtype": "bfloat16"})).model
    kinds = {name: value.dtype for name, value in model.named_parameters()}
    assert kinds["model.language_model.norm.weight"] == torch.bfloat16
    assert kinds["model.language_model.layers.0.mlp.up_proj.weight"] == torch.bfloat16
    assert kinds["model.adaptor.input_linear.weight"] == kinds["model.audio_tower.conv1.bias"] == torch.float32


@pytest.mark.parametrize("dtype", [None, torch.int8])
def test_an_export_stays_apart_and_answers_the_same(
    done: Path, folders: Folders, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    report = export(done, tmp_path / "out", dtype)
    one, other = answers(done, folders[0]), answers(tmp_path / "out", folders[0])
    assert one == pytest.approx(other, abs=1e-6 if dtype is None else 0.05)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"base.json", "training.json", "tasks.json", "adapter"} <= names and "progress.json" not in names
    held = sum(
        path.stat().st_size for path in (tmp_path / "out").rglob("*.safetensors") if path.name != "letters.safetensors"
    )
    assert report.num_bytes == held and report.num_files == 2


@pytest.mark.parametrize("changes", [{"learn": "full"}, {"lora_rank": 3}])
def test_a_language_model_that_changes_is_written_whole(
    config: MakeConfig, settings: dict[str, object], done: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    then = {**settings, **changes, "model": str(done), "out": str(tmp_path / "then"), "steps": 1}
    last = Trainer(config(**then)).run()
    assert (last / "tokenizer.json").is_file() and not (last / "base.json").exists()
    assert answers(last, None)


def test_four_bits_are_refused(config: MakeConfig, settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=r"leaves out its language model, which is held whole: drop quantize"):
        Trainer(config(**settings, quantize="nf4"))
