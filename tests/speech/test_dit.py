"""The DiT flow and its ECAPA compute what the originals compute (golden)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from osum.speech.dit import Dit, DitConfig, block_mask

from .golden import arrays, dit, far, full_shapes, shapes_of


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return arrays("streamfm")


def test_the_prompts_vector_is_the_originals(golden: dict[str, Tensor]) -> None:
    assert far(dit().prompt_vector(golden["cond"]), golden["ecapa_out"]) < 1e-5


def test_ecapas_stages_are_the_originals(golden: dict[str, Tensor]) -> None:
    ecapa = dit().input_embed.spk_encoder
    first = ecapa.blocks[0](golden["cond"].transpose(1, 2))
    assert far(ecapa.blocks[1](first)[..., :20], golden["ecapa_block1_first20"]) < 1e-5


def test_a_call_is_the_originals_stage_by_stage(golden: dict[str, Tensor]) -> None:
    seen: dict[str, Tensor] = {}
    watched = {"time_emb": dit().time_embed, "text_emb": dit().text_embed, "input_emb": dit().input_embed}
    watched |= {f"block{number}": dit().transformer_blocks[number] for number in (0, 1, 5)}
    hooks = [
        part.register_forward_hook(lambda _part, _given, out, name=name: seen.__setitem__(name, out))
        for name, part in watched.items()
    ]
    out = dit().velocity(
        golden["call_x"], golden["call_text"], golden["call_time"][None], golden["ecapa_out"], golden["spk_emb"]
    )
    for hook in hooks:
        hook.remove()
    assert far(out, golden["call_out"]) < 1e-4
    assert max(far(seen[name], golden[f"call_{name}"]) for name in watched) < 1e-4


def test_a_frame_sees_its_block_and_the_neighbour_that_is_allowed() -> None:
    assert block_mask(6, 2, backward=False, forward=False)[2].int().tolist() == [0, 0, 1, 1, 0, 0]
    assert block_mask(6, 2, backward=False, forward=True)[2].int().tolist() == [0, 0, 1, 1, 1, 1]
    assert block_mask(6, 2, backward=True, forward=False)[2].int().tolist() == [1, 1, 1, 1, 0, 0]


def test_the_full_size_has_the_released_keys_but_those_it_never_applies() -> None:
    released = {
        name.removeprefix("transformer."): shape
        for name, shape in full_shapes("streamfm").items()
        if ".conv_pos_embed." not in name
    }
    with torch.device("meta"):
        assert shapes_of(Dit(DitConfig())) == released
