"""The release's own streaming, fault for fault (golden)."""

from __future__ import annotations

import pytest
import torch

from osum.speech.release_stream import HopDraws, ReleaseStream

from .golden import arrays, codes, cosyvoice, far, sine_noise, start_phases, voice

HOPS = ((0, 70), (50, 120), (100, 135))


def draw(hop: int) -> HopDraws:
    """The stored random numbers of a hop."""
    golden = arrays("stream")
    return HopDraws(golden[f"hop{hop}_z"], start_phases(golden[f"hop{hop}_phase"]), sine_noise)


@pytest.mark.parametrize("short_cache", [True, False])
def test_each_hops_mel_is_the_originals(short_cache: bool) -> None:
    stream, cache = ReleaseStream(cosyvoice(), draw, short_cache_quirk=short_cache), None
    for hop, (start, stop) in enumerate(HOPS):
        mel, cache = stream.flow(codes()[start:stop], voice(), draw(hop).noise, cache)
        golden = arrays("stream" if short_cache or not hop else "stream_cache68")
        assert far(mel, golden[f"hop{hop}_mel"]) < 3e-4


def test_the_flows_cache_is_the_originals() -> None:
    stream = ReleaseStream(cosyvoice(), draw)
    _, first = stream.flow(codes()[:70], voice(), draw(0).noise, None)
    _, second = stream.flow(codes()[50:120], voice(), draw(1).noise, first)
    assert far(torch.stack(second, dim=-1), arrays("stream")["hop1_flow_cache"]) < 5e-5


@pytest.mark.parametrize("step", [1, 33, 135])
def test_the_waveform_is_the_originals_however_codes_come(step: int) -> None:
    stream = ReleaseStream(cosyvoice(), draw)
    state, waves = stream.start(voice()), []
    for start in range(0, 135, step):
        state, wave = stream.feed(state, codes()[start : start + step])
        waves.append(wave)
    _, wave = stream.feed(state, (), last=True)
    lengths = [int(arrays("stream")[f"hop{hop}_wav_len"]) for hop in range(3)]
    assert len(wave) == lengths[-1]
    assert far(torch.cat([*waves, wave])[None], arrays("stream")["stream_wav"]) < 1e-2
