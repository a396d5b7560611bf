"""CAM++ gives the original's embeddings (golden)."""

from __future__ import annotations

import pytest
import torch

from osum.speech.campplus import SpeakerConfig, SpeakerEncoder

from .golden import arrays, far, full_shapes, shapes_of, speaker


@pytest.mark.parametrize("clip", ["a", "b"])
def test_embeddings_are_the_originals(clip: str) -> None:
    golden = arrays("campplus")
    assert far(speaker()(golden[f"{clip}_feat"]), golden[f"{clip}_embedding"]) < 1e-5


@pytest.mark.parametrize("stage", ["tdnn", "block1", "transit1", "transit3"])
def test_each_stage_is_the_originals(stage: str) -> None:
    golden = arrays("campplus")
    xvector = speaker().xvector
    upto = xvector[: [name for name, _ in xvector.named_children()].index(stage) + 1]
    assert far(upto(speaker().head(golden["a_feat"].transpose(1, 2))), golden[f"a_{stage}"]) < 1e-5


def test_a_segment_that_is_not_full_has_a_mean_of_its_own() -> None:
    gate = speaker().xvector.block1.tdnnd1.cam_layer
    x = torch.arange(250.0).view(1, 1, 250)
    assert gate._segment_means(x)[0, 0, [0, 99, 100, 200, 249]].tolist() == [49.5, 49.5, 149.5, 224.5, 224.5]


def test_the_full_size_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        assert shapes_of(SpeakerEncoder(SpeakerConfig())) == full_shapes("campplus")
