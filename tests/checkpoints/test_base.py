"""A checkpoint without its language model: put together again, on the right one alone."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from engine.tiny_checkpoint import CLIPS, error_of
from model.tiny import byte_tokenizer
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import osum
from checkpoints.apart import NAME, changed, in_4_bits, scaled, write_apart, write_base
from osum.checkpoints.base import Base
from osum.checkpoints.convert import from_parts
from osum.cli import main
from osum.model import OsumForConditionalGeneration, OsumProcessor

Folders = tuple[Path, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The language model, and the checkpoint that leaves it out, with a LoRA."""
    base, apart = write_apart(tmp_path_factory.mktemp("apart"))
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj", "gate_proj"], init_lora_weights=False)
    model = osum.load(apart, base=base).engine.model
    with warnings.catch_warnings(action="ignore"):  # peft asks transformers by a name that will go
        get_peft_model(model, config).save_pretrained(apart / "adapter")
    return base, apart


def logits(apart: Path, base: Path) -> torch.Tensor:
    """Of a question about a clip, (1, L, V)."""
    opened = osum.load(apart, base=base).engine
    inputs = opened.processor(text=opened.processor.request("what"), audio=CLIPS[0])
    with torch.no_grad():
        return opened.model(**inputs).logits


def test_it_is_what_the_whole_model_is(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    whole = base.parent / "whole"
    from_parts(base.parent / "whisper", base, whole, dropout=0.0)
    shutil.copytree(apart, tmp_path / "plain", ignore=shutil.ignore_patterns("adapter"))
    one = logits(tmp_path / "plain", base)
    processor = OsumProcessor.from_pretrained(whole)
    inputs = processor(text=processor.request("what"), audio=CLIPS[0])
    with torch.no_grad():
        other = OsumForConditionalGeneration.from_pretrained(whole).eval()(**inputs).logits
    assert one.shape == other.shape and (one - other).abs().max() < 1e-3


def test_neither_language_model_nor_tokenizer_is_in_it(folders: Folders) -> None:
    names = {path.name for path in folders[1].iterdir()}
    assert names == {
        *("base.json", "model.safetensors", "config.json", "generation_config.json", "adapter"),
        *("processor_config.json", "chat_template.jinja"),
    }
    assert not [name for name in load_file(folders[1] / "model.safetensors") if "language_model" in name]


def test_the_revision_of_the_hub_is_a_field_left_open(folders: Folders) -> None:
    assert '"name": "owner/small-qwen", "revision": null' in (folders[1] / "base.json").read_text()


def test_the_same_in_4_bits_is_accepted(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    other = changed(base, tmp_path / "base", in_4_bits)
    assert not torch.equal(logits(apart, other), logits(apart, base))
    found = {kind: off for kind, off, _ in Base.read(apart).distances(Base.read(apart).state(other))}
    assert 0.03 < found["layers.*.self_attn.q_proj.weight"] < 0.15 and found["norm.weight"] < 1e-3


def test_the_same_with_scaled_channels_gives_the_same_under_the_lora(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    assert (logits(apart, changed(base, tmp_path / "base", scaled)) - logits(apart, base)).abs().max() < 1e-3


def test_the_same_in_half_precision_is_accepted(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    half = changed(base, tmp_path / "base", lambda state: {name: value.bfloat16() for name, value in state.items()})
    assert logits(apart, half).isfinite().all()


def test_the_revision_says_which_language_model_it_was(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    one = osum.load(apart, base=base).revision
    other = osum.load(apart, base=changed(base, tmp_path / "base", in_4_bits)).revision
    assert one != other and one.split("-")[0] == other.split("-")[0]


# One line each


def test_another_language_model_is_refused(folders: Folders, tmp_path: Path) -> None:
    line = error_of(folders[1], base=write_base(tmp_path / "base", seed=1))
    assert f"is not {NAME}, with which the checkpoint was trained: its" in line and "quantising explains" in line


@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.layers.1.self_attn.v_proj.bias", "model.layers.1.mlp.up_proj.weight"]
)
def test_one_other_tensor_is_enough(folders: Folders, tmp_path: Path, name: str) -> None:
    base, apart = folders
    other = changed(base, tmp_path / "base", lambda state: {name: state[name].flip(0)})
    assert f"its {name.removeprefix('model.').replace('.1.', '.*.')} differ by" in error_of(apart, base=other)


def test_one_of_another_size_is_refused(folders: Folders, tmp_path: Path) -> None:
    base, apart = folders
    other = changed(base, tmp_path / "base", lambda _: {"model.norm.weight": torch.ones(31)})
    assert "norm.weight is (31,) and (32,) is needed" in error_of(apart, base=other)


def test_another_tokenizer_is_refused(folders: Folders, tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "base")
    byte_tokenizer(words={"the": 260}).save_pretrained(tmp_path / "base")
    assert "its tokenizer gives other ids" in error_of(folders[1], base=tmp_path / "base")


def test_a_language_model_without_tokenizer_is_reported(folders: Folders, tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "base", ignore=shutil.ignore_patterns("tokenizer*"))
    assert "its tokenizer gives other ids" in error_of(folders[1], base=tmp_path / "base")


def test_a_folder_that_is_not_there_or_empty_is_reported(folders: Folders, tmp_path: Path) -> None:
    assert f"there is no such folder; give that of {NAME}" in error_of(folders[1], base=tmp_path / "none")
    assert "has no weights (*.safetensors)" in error_of(folders[1], base=tmp_path)


def test_offline_it_says_what_is_missing_and_how_to_give_it(folders: Folders) -> None:
    line = error_of(folders[1], offline=True)
    assert f"leaves its language model out, {NAME}" in line and "--offline was given" in line and "--base DIR" in line


def test_a_broken_fingerprint_is_reported(folders: Folders, tmp_path: Path) -> None:
    apart = Path(shutil.copytree(folders[1], tmp_path / "apart"))
    for content in ("{", "[]", '{"name": 1}'):
        (apart / "base.json").write_text(content)
        assert "base.json cannot be read" in error_of(apart, base=folders[0])


def test_from_pretrained_alone_is_refused_rather_than_random(folders: Folders) -> None:
    with pytest.raises(OSError, match="leaves its language model out: open it with"):
        AutoModelForCausalLM.from_pretrained(folders[1])


# From the hub


def test_one_line_says_what_is_downloaded_first(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client is replaced: what it would say of the model, and the folder that it would fetch."""
    base, apart = folders
    weights = huggingface_hub.hf_api.RepoSibling(rfilename="model.safetensors", size=988_000_000)
    card = huggingface_hub.ModelCardData(license="apache-2.0")
    info = type("Info", (), {"siblings": [weights], "card_data": card})()

    def fetched(name: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        assert name == NAME
        return str(base)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    said: list[str] = []
    osum.load(apart, notice=said.append)
    assert said == [f"downloading {NAME}: 1.0 GB, licence apache-2.0"]


def test_the_command_takes_the_folder(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, apart = folders
    clip = tmp_path / "clip.wav"
    import soundfile

    soundfile.write(clip, np.zeros(8_000, np.float32), 16_000)
    asked = ["label", str(clip), "--model", str(apart), "--tasks", "SGC", "--max-new-tokens", "3", "--offline"]
    assert main([*asked, "--base", str(base)]) == 0
    assert main(asked) == 1
    assert f"leaves its language model out, {NAME}" in capsys.readouterr().err
