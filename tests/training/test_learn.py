"""What a recipe says learns, learns, and nothing else; LoRA is an adapter next to the weights, and continues."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model.tiny import noise, tiny_config, tiny_processor
from peft import PeftModel
from safetensors.torch import load_file

import osum
from osum.errors import InputError, MissingExtraError
from osum.model import OsumForConditionalGeneration
from osum.training.learn import PARTS, parts_of, quantization
from osum.training.objective import NOT_INPUTS
from osum.training.trainer import Trainer
from training.conftest import MakeConfig

WEIGHTS = "model.safetensors"
ADAPTER = Path("adapter") / "adapter_model.safetensors"


def moved(before: Path, after: Path) -> set[str]:
    """The parts of the model whose weights differ."""
    one, other = load_file(before / WEIGHTS), load_file(after / WEIGHTS)
    assert one.keys() == other.keys()
    names = [name for name in one if not torch.equal(one[name].float(), other[name].float())]
    return {part for part, prefixes in PARTS.items() if any(name.startswith(prefixes) for name in names)}


@pytest.mark.parametrize(
    ("learn", "parts"),
    [
        ("adaptor", {"adaptor"}),
        ("adaptor+encoder", {"adaptor", "encoder"}),
        ("adaptor+encoder+lora", {"adaptor", "encoder"}),
        ("lora", set()),
        ("full", {"adaptor", "encoder", "llm"}),
    ],
)
def test_a_stage_moves_its_parts(config: MakeConfig, tiny: Path, learn: str, parts: set[str]) -> None:
    last = Trainer(config(steps=2, learn=learn)).run()
    assert moved(tiny, last) == parts
    assert (last / ADAPTER).is_file() == ("lora" in learn)


@pytest.mark.parametrize(
    ("learn", "reason"),
    [
        ("adapter", "speech, flow, vocoder, lora, full; did you mean 'adaptor'"),
        ("full+lora", "'full' is all there is; give it once, and full alone"),
        ("lora+lora", "'lora' stands twice; give it once"),
        ("llm+lora", "learns whole .llm. or by LoRA, not both"),
        ("", "'' is none of"),
    ],
)
def test_a_stage_that_is_none_is_reported(learn: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parts_of(learn)


def test_a_rank_that_no_matrix_has_is_refused_with_the_range(config: MakeConfig) -> None:
    with pytest.raises(
        InputError, match=r"lora_rank is 100000: this model's matrices allow a whole number from 1 to \d+"
    ):
        Trainer(config(learn="lora", lora_rank=100_000))


def test_freezing_everything_is_reported(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="nothing is left to learn"):
        Trainer(config(learn="adaptor", freeze=("model",)))


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")  # peft's, about a name it looks up
def test_lora_is_an_adapter_that_peft_reads(config: MakeConfig) -> None:
    trainer = Trainer(config(steps=3, learn="adaptor+lora", lora_rank=4))
    last = trainer.run()
    adapter = load_file(last / ADAPTER)
    assert {value.shape[0] for name, value in adapter.items() if "lora_A" in name} == {4}
    assert any(value.abs().sum() > 0 for name, value in adapter.items() if "lora_B" in name)
    assert not [name for name in adapter if "up_proj" in name or "audio_tower" in name]
    read = PeftModel.from_pretrained(OsumForConditionalGeneration.from_pretrained(last), last / "adapter")
    batch = {k: v for k, v in next(iter(trainer.valid_loader)).items() if k not in NOT_INPUTS}
    trainer.model.eval()
    with torch.no_grad():
        assert torch.allclose(read(**batch).logits, trainer.model(**batch).logits, atol=1e-6)
    merged = osum.load(last)
    assert merged.label(noise(6_000, 0), tasks="SGC").summary["SGC"].distribution


def test_a_run_with_lora_continues_bit_by_bit(config: MakeConfig, tmp_path: Path) -> None:
    done = Trainer(config(learn="encoder+lora", lora_dropout=0.2)).run()
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    resumed = Trainer(config(learn="encoder+lora", lora_dropout=0.2, out=str(tmp_path / "other"))).run()
    for name in (WEIGHTS, ADAPTER, Path("training_state.safetensors")):
        one, other = load_file(done / name), load_file(resumed / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_what_is_frozen_is_held_in_the_runs_arithmetic(config: MakeConfig) -> None:
    model = Trainer(config(learn="adaptor", dtype="bfloat16")).model
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters() if parameter.dim() > 1}
    assert kinds.pop("model.adaptor.input_linear.weight") == torch.float32
    assert kinds["model.language_model.layers.0.mlp.up_proj.weight"] == torch.bfloat16
    assert kinds["model.audio_tower.conv1.weight"] == torch.bfloat16


def test_frozen_halves_learn_all_the_same(config: MakeConfig) -> None:
    trainer = Trainer(config(learn="adaptor+lora", dtype="bfloat16", learning_rate=3e-3, steps=100))
    batch = next(iter(trainer.valid_loader))
    found = [trainer.train_step([batch])["loss"] for _ in range(9)]
    assert found[-1] < found[0]


@pytest.mark.parametrize(
    "changes",
    [{"learn": "adaptor"}, {"model": "preset:nano"}, {"shard": True}],
)
def test_four_bits_without_a_trained_model_under_lora_are_reported(
    config: MakeConfig, tiny: Path, changes: dict[str, Any]
) -> None:
    settings = config(**{"learn": "adaptor+lora", "quantize": "nf4", **changes})
    with pytest.raises(InputError, match=r"quantize is 'nf4' with learn=.*: 4 bits hold a trained language model"):
        quantization(settings, None if "model" in changes else tiny)


def test_another_number_format_is_reported(config: MakeConfig, tiny: Path) -> None:
    with pytest.raises(InputError, match="quantize is 'int8': give nf4"):
        quantization(config(learn="lora", quantize="int8"), tiny)


def test_four_bits_without_bitsandbytes_say_what_to_install(
    config: MakeConfig, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"bitsandbytes is not installed.*osum\[qlora\]"):
        quantization(config(learn="lora", quantize="nf4"), tiny)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose matrices are as wide as a block of 4-bit numbers."""
    folder, options = tmp_path_factory.mktemp("wide"), tiny_config("speech_first")
    options.text_config.hidden_size = options.text_config.intermediate_size = 64
    OsumForConditionalGeneration(options).save_pretrained(folder)
    tiny_processor("speech_first").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_in_four_bits_leaves_plain_weights_and_continues_bit_by_bit(
    config: MakeConfig, wide: Path, tmp_path: Path, dtype: str
) -> None:
    pytest.importorskip("bitsandbytes")
    settings = {"model": str(wide), "learn": "adaptor+lora", "quantize": "nf4", "dtype": dtype}
    done = Trainer(config(**settings)).run()
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    resumed = Trainer(config(out=str(tmp_path / "other"), **settings)).run()
    for name in (WEIGHTS, ADAPTER):
        one, other = load_file(done / name), load_file(resumed / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    before, after = load_file(wide / WEIGHTS), load_file(done / WEIGHTS)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    error = (before[name] - after[name].float()).abs().max() / before[name].abs().max()
    assert before.keys() == after.keys() and 0.01 < error < 0.16  # half of the widest gap between two codes
    assert "quantization" not in (done / "config.json").read_text()
    assert osum.load(done).label(noise(6_000, 0), tasks="SGC").summary["SGC"].distribution
