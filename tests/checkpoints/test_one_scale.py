"""A Qwen2 at one scale computes what it computed, and is equal to its scaled copies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2ForCausalLM

from checkpoints.apart import WEIGHTS, scaled, write_base
from osum.checkpoints.one_scale import at_one_scale


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@torch.no_grad()
def test_the_function_stays(base: Path) -> None:
    model, ids = Qwen2ForCausalLM.from_pretrained(base).eval(), torch.arange(40)[None]
    before = model(ids).logits
    model.load_state_dict(at_one_scale(model.state_dict()))
    assert (model(ids).logits - before).abs().max() < 1e-4
    assert model.model.layers[0].input_layernorm.weight.eq(1).all()


def test_channels_scaled_between_matrices_come_back(base: Path) -> None:
    state = load_file(base / WEIGHTS)
    one, other = at_one_scale(state), at_one_scale(scaled(state))
    assert not torch.allclose(
        state["model.layers.0.mlp.up_proj.weight"], scaled(state)["model.layers.0.mlp.up_proj.weight"]
    )
    assert all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in state)


def test_half_precision_stays_half(base: Path) -> None:
    state = {name: value.bfloat16() for name, value in load_file(base / WEIGHTS).items()}
    assert {value.dtype for value in at_one_scale(state).values()} == {torch.bfloat16}


def test_the_example_of_the_module() -> None:
    def layer(norm: list[float], row: list[float]) -> dict[str, torch.Tensor]:
        readers = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
        named = {f"layers.0.{name}.weight": torch.tensor([row]) for name in readers}
        norms = ("input_layernorm", "post_attention_layernorm")
        named |= {f"layers.0.{name}.weight": torch.tensor(norm) for name in norms}
        return named | {"layers.0.mlp.down_proj.weight": torch.ones(2, 1)}

    for norm, row in (([2.0, 4.0], [3.0, 1.0]), ([1.0, 8.0], [6.0, 0.5])):
        assert at_one_scale(layer(norm, row))["layers.0.self_attn.q_proj.weight"].tolist() == [[6.0, 4.0]]
