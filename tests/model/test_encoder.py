"""A new encoder begins as a convolution."""

from __future__ import annotations

import pytest
import torch

from osum.model import OsumConfig
from osum.model.encoder import OFFSETS, OsumEncoder, attend_nearby


@pytest.fixture(scope="module")
def encoder() -> OsumEncoder:
    torch.manual_seed(0)
    made = OsumEncoder(OsumConfig.preset("nano").audio_config)
    attend_nearby(made)
    return made.eval()


def looked_at(encoder: OsumEncoder, features: torch.Tensor, layer: int) -> torch.Tensor:
    """(H, T): the frame that each head weighs most, for every frame."""
    seen: list[torch.Tensor] = []
    block = encoder.layers[layer]
    hook = block.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(features, torch.tensor([features.shape[-1]]))
        hook.remove()
        attention, x = block.self_attn, block.self_attn_layer_norm(seen[0])
        query, key = (
            proj(x).view(1, x.shape[1], -1, attention.head_dim).transpose(1, 2)
            for proj in (attention.q_proj, attention.k_proj)
        )  # (1, H, T, D/H)
        return (query @ key.transpose(2, 3))[0].argmax(-1)


@pytest.mark.parametrize("layer", range(len(OFFSETS)))
def test_each_head_looks_at_its_place(encoder: OsumEncoder, layer: int) -> None:
    frames = torch.arange(150)
    found = looked_at(encoder, torch.randn(1, 80, 300) * 0.5 - 0.3, layer)
    for head, offset in enumerate(OFFSETS[layer]):
        inside = (frames + offset >= 0) & (frames + offset < 150)
        misses = (found[head] - frames - offset).abs()[inside]
        assert misses.float().median() <= 2, (layer, head, misses)
