"""What an export keeps, and what it says of what it wrote."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from engine.tiny_checkpoint import write_checkpoint
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file, save_file

import osum
from osum.checkpoints.export import SHARD_BYTES, dtype_of, export
from osum.cli import main
from osum.errors import CheckpointError, InputError


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_precision_of_what_is_exported_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    source = write_checkpoint(tmp_path / "in", dtype=dtype)
    report = export(source, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    assert (report.dtype, report.kept) == (dtype, True)
    assert all(after[name].dtype == dtype and torch.equal(after[name], before[name]) for name in after)


def test_one_tensor_of_more_precision_decides(tmp_path: Path) -> None:
    mixed = {"a": torch.zeros(1, dtype=torch.bfloat16), "b": torch.zeros(1), "c": torch.zeros(1, dtype=torch.int64)}
    save_file(mixed, tmp_path / "model.safetensors")
    save_file({"d": torch.zeros(1, dtype=torch.float64)}, tmp_path / "training_state.safetensors")
    assert dtype_of(tmp_path) == torch.float32


def test_half_precisions_that_do_not_contain_each_other_meet_in_float32(tmp_path: Path) -> None:
    for name, dtype in (("a", torch.bfloat16), ("b", torch.float16)):
        save_file({name: torch.zeros(1, dtype=dtype)}, tmp_path / f"{name}.safetensors")
    assert dtype_of(tmp_path) == torch.float32


def test_a_damaged_file_of_weights_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read \(.*\): export another step$"):
        dtype_of(tmp_path)


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write_checkpoint(tmp_path / "in"), str(tmp_path / "out")
    assert main(["export", str(source), out]) == main(["export", str(source), out, "--dtype", "bf16"]) == 0
    kept, converted = capsys.readouterr().out.splitlines()
    assert kept.startswith(f"{out}: ") and " parameters in float32 (kept), 1 file(s) of weights, " in kept
    assert " in bfloat16 (converted), 1 file(s) of weights, " in converted


def test_a_file_is_no_place_for_an_export(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out is a file: give a folder"):
        export(write_checkpoint(tmp_path / "in"), tmp_path / "out")


def test_nano_is_one_file(tmp_path: Path) -> None:
    nano = Path(osum.__file__).parent / "assets" / "nano"
    report = export(nano, tmp_path / "out")
    assert (report.num_files, report.dtype) == (1, torch.bfloat16) and 19e6 < report.num_bytes < 22e6


@pytest.mark.parametrize(("room", "num_files"), [(0, 1), (-1, 2)])
def test_shards_begin_where_the_weights_pass_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, num_files: int
) -> None:
    source = write_checkpoint(tmp_path / "in")
    before = load_file(source / "model.safetensors")
    size = sum(value.numel() * value.element_size() for value in before.values())
    monkeypatch.setattr("osum.checkpoints.export.SHARD_BYTES", size + room)
    report = export(source, tmp_path / "out")
    after = [load_file(path) for path in (tmp_path / "out").glob("*.safetensors")]
    assert report.num_files == len(after) == num_files
    assert sum(map(len, after)) == len(before)
    assert all(torch.equal(value, before[name]) for part in after for name, value in part.items())
    assert osum.load(tmp_path / "out").label(([0.0] * 8000, 16_000), tasks=["ASR"]).error is None


@pytest.mark.parametrize(("last", "num_files"), [(2_000_000, 1), (2_000_001, 2)])
def test_an_export_of_up_to_45_megabytes_is_one_file(last: int, num_files: int) -> None:
    """Of tensors without storage, which transformers plans as any others."""
    sizes = {"a": 20_000_000, "b": 23_000_000, "c": last}
    state = {name: torch.empty(size, dtype=torch.int8, device="meta") for name, size in sizes.items()}
    assert len(split_torch_state_dict_into_shards(state, max_shard_size=SHARD_BYTES).filename_to_tensors) == num_files


def test_weights_have_the_mode_of_any_new_file(tmp_path: Path, umask: int) -> None:
    export(write_checkpoint(tmp_path / "in"), tmp_path / "out")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {0o666 & ~umask}, modes


def test_eight_bits_are_opened_as_any_checkpoint(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "in")
    report = export(source, tmp_path / "out", torch.int8)
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["model.int8.safetensors"]
    assert (report.num_files, report.kept) == (1, False)
    recognizer = osum.load(str(tmp_path / "out"))
    assert recognizer.label(([0.0] * 8000, 16_000), tasks=["ASR"]).error is None
