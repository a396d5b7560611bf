"""The real-time baseline streams as the original (golden), and with lengths that are exact."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from osum.errors import InputError
from osum.speech.streamfm import StreamFmState
from osum.speech.synthesizer import stream
from osum.speech.voice import Voice

from .golden import arrays, far, streamfm


def prompt() -> Voice:
    golden = arrays("streamfm")
    return Voice("tiny", torch.zeros(0, dtype=torch.long), golden["cond"][0].T, golden["spk_emb"][0])


def codes() -> list[int]:
    return arrays("streamfm")["codes"].tolist()


def golden_start(padded_end_quirk: bool = True) -> StreamFmState:
    noise = arrays("streamfm")["y0"].transpose(1, 2)
    return streamfm(padded_end_quirk).start_from(prompt(), lambda start, stop: noise[..., start:stop])


@pytest.mark.parametrize("cuts", [(18, 30, 42), (1, 2, 40), ()])
def test_the_waveform_is_the_originals_however_codes_come(cuts: tuple[int, ...]) -> None:
    golden, state, waves, at = arrays("streamfm"), golden_start(), [], 0
    for cut in (*cuts, 49):
        state, wave = streamfm(True).feed(state, codes()[at:cut], last=cut == 49)
        waves.append(wave)
        at = cut
    assert far(torch.cat(waves), torch.cat([golden[f"hop{hop}_wav"] for hop in range(4)])) < 1e-4


def test_each_windows_mel_is_the_originals() -> None:
    golden, state = arrays("streamfm"), golden_start()
    state = StreamFmState(state.prompt_vector, state.speaker, state.noise, (*state.codes, *codes()))
    assert far(streamfm().mel_of(state), golden["hop0_mel"]) < 1e-4
    state = StreamFmState(state.prompt_vector, state.speaker, state.noise, state.codes[12:], hop=1)
    assert far(streamfm().mel_of(state), golden["hop1_mel"]) < 1e-4


def test_samples_of_sixteen_bit_are_the_originals() -> None:
    _, wave = streamfm(True).feed(golden_start(), codes()[:30])
    found = (wave[11_520:] * 32_768).to(torch.int16)
    assert (found.int() - arrays("streamfm")["hop1_int16"].int()).abs().max() <= 4


@pytest.mark.parametrize("count", [1, 17, 18, 29, 30, 31])
def test_the_length_is_that_of_the_codes(count: int) -> None:
    wave = streamfm().synthesize(codes()[:count], prompt())
    assert len(wave) == count * streamfm().code_samples
    assert wave[-1] == 0


def test_the_release_speaks_the_codes_that_fill_its_last_window() -> None:
    assert len(streamfm(padded_end_quirk=True).synthesize(codes()[:31], prompt())) == (12 + 12 + 18) * 960
    assert len(streamfm(padded_end_quirk=True).synthesize(codes()[:5], prompt())) == 12 * 960


def test_the_first_sound_comes_after_eighteen_codes() -> None:
    model = streamfm()
    state, came = model.start(prompt()), []
    for place, code in enumerate(codes()[:31], 1):
        state, wave = model.feed(state, [code])
        if len(wave):
            came.append((place, len(wave) / model.sampling_rate))
    assert came == [(18, 0.48), (30, 0.48)]


def steps_over_joints(waves: list[Tensor]) -> float:
    return max(float((after[0] - before[-1]).abs()) for before, after in itertools.pairwise(waves))


def test_no_joint_is_a_click() -> None:
    waves = list(stream(streamfm(), [[code] for code in codes()], prompt()))
    inside = torch.cat([wave.diff().abs() for wave in waves]).max()
    assert steps_over_joints(waves) <= float(inside)


def test_no_codes_are_refused() -> None:
    with pytest.raises(InputError, match="0 speech codes"):
        streamfm().synthesize([], prompt())
    with pytest.raises(InputError, match="speech code 4096 at place 0"):
        streamfm().synthesize([4096], prompt())
