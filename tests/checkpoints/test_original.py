from pathlib import Path

import pytest
import torch
from model.golden import osum_state, write_osum
from safetensors.torch import load_file, save_file
from torch import Tensor

from osum.checkpoints.convert import convert, to_original
from osum.errors import ConversionError

from .originals import HEADS, random_original, write_original


def assert_same(back: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    assert list(back) == list(state)
    for key, value in state.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key].view(torch.uint8), value.contiguous().view(torch.uint8)), key


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("release", ["osum", "echat"])
@pytest.mark.parametrize("shard_bytes", [20_000, 10**9])
def test_the_way_back_gives_every_key_and_bit(tmp_path: Path, release: str, lora: bool, shard_bytes: int) -> None:
    state = random_original(release, lora)
    convert(write_original(tmp_path, state), tmp_path / "ours", lora="keep", shard_bytes=shard_bytes, **HEADS)
    back = torch.load(to_original(tmp_path / "ours", tmp_path / "back.pt"), weights_only=True)
    assert_same(back, state)


@pytest.mark.parametrize("leave_out", [(".pe",), ("embed_tokens.weight", "lm_head.weight"), ("ln_speech.weight",)])
def test_what_the_file_left_out_stays_out(tmp_path: Path, leave_out: tuple[str, ...]) -> None:
    state = random_original("echat")
    state = {key: value for key, value in state.items() if not key.endswith(leave_out) or key.startswith("llama")}
    convert(write_original(tmp_path, state), tmp_path / "ours", lora="keep", **HEADS)
    assert_same(torch.load(to_original(tmp_path / "ours", tmp_path / "back.pt"), weights_only=True), state)


def test_old_peft_names_come_back(tmp_path: Path) -> None:
    state = {key.replace(".base_layer", ""): value for key, value in random_original("osum", lora=True).items()}
    convert(write_original(tmp_path, state), tmp_path / "ours", lora="keep", **HEADS)
    assert_same(torch.load(to_original(tmp_path / "ours", tmp_path / "back.pt"), weights_only=True), state)


def test_the_golden_osum_comes_back(tmp_path: Path) -> None:
    convert(write_osum(tmp_path), tmp_path / "ours", lora="keep")
    assert_same(torch.load(to_original(tmp_path / "ours", tmp_path / "back.pt"), weights_only=True), osum_state())


def test_second_names_share_their_memory_and_the_file_is_no_larger(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("echat"))
    convert(source, tmp_path / "ours", **HEADS)
    back = to_original(tmp_path / "ours", tmp_path / "back.pt")
    state = torch.load(back, weights_only=True)
    names = (
        "embed_tokens.weight",
        "lm_head.weight",
        "llama_model.lm_head.weight",
        "llama_model.model.embed_tokens.weight",
    )
    assert len({state[name].data_ptr() for name in names}) == 1
    assert back.stat().st_size == pytest.approx(source.stat().st_size, rel=0.05)


def test_trained_values_go_back(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum")), tmp_path / "ours", **HEADS)
    file = tmp_path / "ours" / "model.safetensors"
    trained = load_file(file)
    trained["model.adaptor.output_linear.bias"] += 1
    save_file(trained, file, metadata={"format": "pt"})
    back = torch.load(to_original(tmp_path / "ours", tmp_path / "back.pt"), weights_only=True)
    assert torch.equal(back["speech_llama_proj.bias"], random_original("osum")["speech_llama_proj.bias"] + 1)


def test_a_merged_adapter_is_refused(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum", lora=True)), tmp_path / "ours", lora="merge", **HEADS)
    with pytest.raises(ConversionError, match="cannot be undone: convert the original again with --keep-lora"):
        to_original(tmp_path / "ours", tmp_path / "back.pt")


def test_a_folder_that_was_not_converted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="lists the original's keys"):
        to_original(tmp_path, tmp_path / "back.pt")


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum")), tmp_path / "ours", **HEADS)
    with pytest.raises(ConversionError, match=r"infer\.pt exists"):
        to_original(tmp_path / "ours", tmp_path / "infer.pt")


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum", lora=True)), tmp_path / "ours", lora="keep", **HEADS)
    (tmp_path / "ours" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(ConversionError, match="lacks base_model"):
        to_original(tmp_path / "ours", tmp_path / "back.pt")
