"""HiFi-GAN computes what the original computes (golden)."""

from __future__ import annotations

import torch

from osum.speech.convert import today
from osum.speech.hifigan import HifiGan, HifiGanConfig

from .golden import arrays, far, full_shapes, hifigan, shapes_of


def test_the_waveform_is_the_originals() -> None:
    golden = arrays("streamfm")
    assert far(hifigan()(golden["voc_mel"])[:, None], golden["voc_wav"]) < 1e-5


def test_the_full_size_has_the_released_keys_and_shapes() -> None:
    released = {today(name): shape for name, shape in full_shapes("hifigan").items()}
    with torch.device("meta"):
        assert shapes_of(HifiGan(80, HifiGanConfig())) == released
