"""Opening a checkpoint: what is found, and one line for what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from engine.tiny_checkpoint import CLIPS, error_of, write_checkpoint
from model.tiny import tiny_model
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import osum
from osum.engine.options import GenerationOptions
from osum.tasks import OSUM, RELEASE

BRIEF = GenerationOptions(max_new_tokens=6)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A checkpoint of its own, to be broken."""
    return Path(shutil.copytree(written, tmp_path / "model"))


def test_a_folder_is_opened_by_path_or_name(written: Path) -> None:
    for name in (written, str(written)):
        recognizer = osum.load(name, device="cpu")
        assert (recognizer.name, recognizer.device, recognizer.dtype) == (str(written), "cpu", "float32")


def test_the_revision_distinguishes_two_checkpoints(folder: Path) -> None:
    first = osum.load(str(folder)).revision
    assert osum.load(str(folder)).revision == first
    weights = load_file(folder / "model.safetensors")
    weights["model.adaptor.layer_norm.bias"] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert osum.load(str(folder)).revision != first


def test_the_tasks_are_the_ones_that_the_checkpoint_carries(folder: Path) -> None:
    (folder / "tasks.json").write_text(json.dumps(OSUM.keep("SGC").to_dict()))
    assert list(osum.load(str(folder)).tasks) == ["SGC"]
    (folder / "tasks.json").unlink()
    assert osum.load(str(folder)).tasks == RELEASE


def test_half_precision_is_opened_as_asked(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, dtype=torch.bfloat16)
    for dtype in ("float32", "bfloat16"):
        recognizer = osum.load(str(folder), dtype=dtype)
        assert recognizer.engine.model.dtype == getattr(torch, dtype)
        assert recognizer.label(CLIPS[0], tasks="SGC", generation=BRIEF).dtype == dtype


def test_an_adapter_next_to_the_weights_is_merged(folder: Path) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings(action="ignore"):  # peft asks transformers by a name that will go
        adapted = get_peft_model(tiny_model("speech_first"), config)
    adapted.save_pretrained(folder / "adapter")
    found, wanted = osum.load(str(folder)).engine.model.state_dict(), adapted.merge_and_unload().state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)
    assert any(not torch.equal(found[name], value) for name, value in tiny_model("speech_first").state_dict().items())


# One line each


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nanoo", "model 'nanoo' is unknown: give nano"),
        ("./runs/none", "is unknown"),
        ("owner/name", "not on this machine and --offline"),
        ("own er/name", "neither a folder here nor a hub name"),
        ("a/b--c", "neither a folder here nor a hub name"),
    ],
)
def test_a_name_without_a_model_is_one_line(name: str, reason: str) -> None:
    assert reason in error_of(name, offline=True)


def test_a_hub_that_cannot_be_reached_is_one_line_and_no_wait() -> None:
    # What `osum.load` asks first; alone, so that the process need not load torch.
    asked = "from osum.checkpoints.locate import CheckpointError, locate\ntry: locate('owner/name', False, None)\n"
    code = asked + "except CheckpointError as fault: print(fault)"
    # Nobody listens on port 9 of this machine: the connection is refused at once, with or without a network.
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "absent", "PATH": "", "NO_PROXY": "*"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    (line,) = ran.stdout.splitlines()
    assert "cannot be fetched" in line and "check the name and the network" in line and ran.stderr == ""


def test_an_unknown_dtype_or_device_is_one_line(written: Path) -> None:
    assert "dtype 'float8' is unknown: choose one of float32" in error_of(str(written), dtype="float8")
    assert "device 'tpu9' cannot be used here" in error_of(str(written), device="tpu9")


def test_a_file_is_no_model(folder: Path) -> None:
    assert "is a file: a model is a folder" in error_of(str(folder / "config.json"))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", b"{", "cannot be loaded"),
        ("model.safetensors", None, "cannot be loaded"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}", "cannot be loaded"),
        ("tokenizer.json", None, "no tokenizer or processor"),
        ("tokenizer.json", b"{", "no tokenizer or processor"),
        ("processor_config.json", b"{", "no tokenizer or processor"),
        ("tasks.json", b"{", "tasks.json cannot be read"),
        ("tasks.json", b"[]", "tasks.json cannot be read"),
        ("tasks.json", b'{"version": 9}', "is version 9"),
    ],
)
def test_a_folder_with_a_broken_file_is_one_line(folder: Path, file: str, content: bytes | None, reason: str) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    line = error_of(str(folder))
    assert reason in line and str(folder) in line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop("model.adaptor.layer_norm.bias"), "1 tensors are missing or do not fit"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "1 tensors are missing or do not fit"),
        (lambda weights: weights.update({"model.adaptor.layer_norm.bias": torch.zeros(3)}), "layer_norm.bias"),
    ],
    ids=["missing", "unexpected", "mismatched"],
)
def test_weights_that_do_not_fit_are_one_line(
    folder: Path, change: object, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)  # type: ignore[operator]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert reason in error_of(str(folder))
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("config", [{"model_type": "qwen2", "hidden_size": 8}, {"model_type": "osum"}, {}, []])
def test_another_kind_of_model_is_one_line(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    assert "not osum" in error_of(str(folder)) or "cannot be loaded" in error_of(str(folder))
