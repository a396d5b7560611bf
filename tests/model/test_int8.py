"""Weights in 8 bits: how far they are off, and that a folder of them opens like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from model.tiny import noise, tiny_model, tiny_processor
from osum.model import OsumForConditionalGeneration, int8


@given(st.floats(1e-30, 1e4), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_no_value_is_off_by_more_than_half_a_factor(size: float, seed: int) -> None:
    value = torch.randn(64, 80, generator=torch.Generator().manual_seed(seed)) * size
    value[3] = 0
    stored = int8.packed({"a": value})
    off = (int8.opened(stored)["a"] - value).abs()
    assert (off <= stored["a" + int8.SCALE][:, None] * 0.501).all() and not off[3].any()


def test_small_tensors_and_vectors_stay_as_they_are() -> None:
    state = {"bias": torch.randn(9000), "small": torch.randn(8, 8)}
    assert all(torch.equal(value, state[name]) for name, value in int8.opened(int8.packed(state)).items())


def test_packing_again_changes_nothing() -> None:
    once = int8.opened(int8.packed({"a": torch.randn(64, 80)}))
    assert torch.allclose(int8.opened(int8.packed(once))["a"], once["a"], rtol=1e-6, atol=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(int8, "SMALLEST", 64)
    model = tiny_model("speech_first")
    for part in (model.config, model.generation_config, tiny_processor("speech_first")):
        part.save_pretrained(tmp_path)
    int8.write(model.state_dict(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("opener", [OsumForConditionalGeneration, AutoModelForCausalLM])
def test_a_folder_opens_with_its_rounded_weights(folder: Path, opener: type) -> None:
    model = opener.from_pretrained(folder)  # type: ignore[attr-defined]
    stored = int8.read(folder)
    assert stored is not None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in stored.items())
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.generation_config.eos_token_id == tiny_model("speech_first").generation_config.eos_token_id


def test_it_opens_in_half_precision_and_reports_what_is_missing(folder: Path) -> None:
    model, info = OsumForConditionalGeneration.from_pretrained(
        folder, dtype=torch.bfloat16, output_loading_info=True, ignore_mismatched_sizes=True
    )
    assert model.dtype == torch.bfloat16
    assert not info["missing_keys"] and not info["unexpected_keys"]


@torch.no_grad()
def test_answers_are_near_those_of_the_weights_before(folder: Path) -> None:
    processor = tiny_processor("speech_first")
    inputs = processor(text=processor.request("what"), audio=noise(8000))
    before = tiny_model("speech_first")(**inputs).logits
    after = OsumForConditionalGeneration.from_pretrained(folder).eval()(**inputs).logits
    assert (after - before).abs().max() < 0.05 * before.abs().max()
