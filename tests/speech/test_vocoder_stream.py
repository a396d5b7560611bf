"""The vocoder in pieces is the vocoder of the whole, wherever it is cut (equivalence)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from osum.speech.noise import Noise
from osum.speech.vocoder import VocoderConfig
from osum.speech.vocoder_stream import VocoderStream, context_frames

from .golden import arrays, far, start_phases, vocoder

NUM_FRAMES = 90
NOISE = Noise(3, 1, 9)
PHASES = start_phases(arrays("stream")["offline_phase"])


def mel() -> Tensor:
    return arrays("stream")["offline_mel"][..., :NUM_FRAMES]


@cache
def whole() -> Tensor:
    beginning = torch.zeros(1, dtype=torch.float64)
    source, _ = vocoder().m_source(vocoder().f0(mel()), PHASES, NOISE(0, NUM_FRAMES * 256), beginning)
    return vocoder().decode(mel(), source)


def pieces(cuts: list[int], stream: VocoderStream | None = None) -> list[Tensor]:
    """The waveform of mel cut at frames; one last call brings no frame."""
    stream = stream or VocoderStream(vocoder())
    state = stream.start(80, torch.device("cpu"))
    waves = []
    for start, stop in pairwise([0, *sorted(cuts), NUM_FRAMES]):
        state, wave = stream.feed(state, mel()[..., start:stop], PHASES, NOISE)
        waves.append(wave)
    return [*waves, stream.feed(state, mel()[..., :0], PHASES, NOISE, last=True)[1]]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, NUM_FRAMES), max_size=6))
def test_pieces_are_the_whole_wherever_it_is_cut(cuts: list[int]) -> None:
    assert far(torch.cat(pieces(cuts), dim=1), whole()) < 1e-4


def test_frame_by_frame_is_the_whole() -> None:
    waves = pieces(list(range(1, NUM_FRAMES)))
    assert far(torch.cat(waves, dim=1), whole()) < 1e-4


def test_a_piece_comes_as_soon_as_the_reach_allows() -> None:
    delay = VocoderStream(vocoder()).delay
    assert [wave.shape[1] // 256 for wave in pieces([delay, delay + 1, delay + 30])] == [0, 1, 29, 40, delay]


def test_a_shorter_context_would_be_audible() -> None:
    """The bound of the other tests can fail."""
    stream = VocoderStream(vocoder())
    stream.context = 8
    assert far(torch.cat(pieces([30, 60], stream), dim=1), whole()) > 1e-3


@pytest.mark.parametrize("config", [VocoderConfig(), VocoderConfig(upsample_rates=(4, 4), upsample_kernels=(8, 8))])
def test_the_reach_is_some_frames_and_grows_with_lower_rates(config: VocoderConfig) -> None:
    assert context_frames(config) >= 15


def test_a_state_may_be_fed_twice() -> None:
    stream = VocoderStream(vocoder())
    state, _ = stream.feed(stream.start(80, torch.device("cpu")), mel()[..., :50], PHASES, NOISE)
    first, second = (stream.feed(state, mel()[..., 50:], PHASES, NOISE, last=True)[1] for _ in range(2))
    assert torch.equal(first, second)
