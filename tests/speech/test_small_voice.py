"""A small voice: causal with a fixed look-ahead, so that its sound in pieces is that of the whole."""

from __future__ import annotations

from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.errors import CheckpointError, InputError
from osum.speech.checkpoint import load_synthesizer, weights_file, write_config
from osum.speech.features import MelConfig, log_magnitude_mel
from osum.speech.mel_decoder import MelDecoder, MelDecoderConfig
from osum.speech.small_voice import MEL, SmallVoice, SmallVoiceConfig
from osum.speech.source_filter import SourceFilter, SourceFilterConfig
from osum.speech.synthesizer import stream
from osum.speech.voice import Voice

DECODER = MelDecoderConfig(
    num_codes=16, look_ahead=2, embedding=8, width=16, speaker_size=6, dilations=(1, 2), code_dilations=(1,)
)
VOCODER = SourceFilterConfig(width=16, dilations=(1, 2))
VOICE = Voice("tiny", torch.empty(0, dtype=torch.long), torch.empty(80, 0), torch.arange(6.0))
CODES = [(7 * place * place + 3 * place) % 16 for place in range(25)]


@cache
def small() -> SmallVoice:
    torch.manual_seed(0)
    return SmallVoice(SmallVoiceConfig("tiny", MEL, DECODER, VOCODER)).eval()


@cache
def spoken() -> torch.Tensor:
    return small().synthesize(CODES, VOICE)


def test_a_code_is_its_frames_and_samples() -> None:
    assert len(spoken()) == len(CODES) * 16_000 // 25


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=9))
def test_sound_in_pieces_is_that_of_the_whole_to_the_bit(sizes: list[int]) -> None:
    cuts = [min(place, len(CODES)) for place in accumulate([0, *sizes])] + [len(CODES)]
    pieces = [CODES[one:other] for one, other in pairwise(cuts)]
    assert spoken().abs().max() > 1e-3
    assert torch.equal(torch.cat(list(stream(small(), pieces, VOICE))), spoken())


@pytest.mark.parametrize("codes", [CODES, CODES[:1], CODES[:3]])
def test_a_stream_is_what_the_trained_functions_compute(codes: list[int]) -> None:
    model, seed = small(), 3
    with torch.inference_mode():
        mel, hz = model.decoder(torch.tensor([codes]), VOICE.embedding[None])
        noise = model.noise(seed)(0, len(codes) * model.code_samples)[0]
        at_once = model.vocoder(mel, hz, noise)[0]
    hop = MEL.hop_length  # behind the end, a stream decodes empty codes where the whole repeats its last frame
    safe = len(at_once) - (model.vocoder.delay + 1) * hop
    torch.testing.assert_close(model.synthesize(codes, VOICE, seed)[:safe], at_once[:safe], atol=1e-3, rtol=0)


def test_sound_is_final_when_its_look_ahead_has_come() -> None:
    model, counts = small(), []
    state = model.start(VOICE)
    for code in CODES[:6]:
        state, wave = model.feed(state, [code])
        counts.append(len(wave))
    assert counts == [0, 0, 160, 640, 640, 640]
    assert model.delay == 2 * 640 + 3 * 160


def test_a_state_does_not_grow_with_the_stream() -> None:
    model, sizes = small(), []
    state = model.start(VOICE)
    for _ in range(3):
        state, _ = model.feed(state, CODES)
        assert state.vocoder.layers is not None
        sizes.append([len(past[0]) for past in state.vocoder.layers])
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_joint_makes_no_click() -> None:
    """The jump at every place where pieces of one code meet is no larger than the largest within them."""
    whole = spoken()
    jumps = whole.diff().abs()
    joints = torch.arange(160 + 640, len(whole), 640) - 1  # the first piece is a hop
    assert jumps[joints].max() <= jumps.max()
    assert jumps[joints].mean() < 3 * jumps.mean()


def test_a_voice_changes_the_sound() -> None:
    other = Voice("tiny", VOICE.codes, VOICE.mel, VOICE.embedding.flip(0))
    assert not torch.equal(spoken(), small().synthesize(CODES, other))


def test_a_later_code_changes_nothing_before_its_look_ahead() -> None:
    changed = [*CODES[:20], (CODES[20] + 1) % 16, *CODES[21:]]
    first = int((spoken() != small().synthesize(changed, VOICE)).nonzero().min())
    assert 17 * 640 < first < 21 * 640


def test_a_decoder_learns_a_clip() -> None:
    torch.manual_seed(0)
    decoder = MelDecoder(DECODER, MEL)
    mel = torch.randn(1, 80, 4 * len(CODES)) - 5
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        made, hz = decoder(torch.tensor([CODES]), VOICE.embedding[None])
        loss = (made - mel).abs().mean() + (hz / 200 - 1).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(weight.grad is not None for weight in decoder.parameters())


def test_an_untrained_vocoder_gives_the_mel_that_it_is_given() -> None:
    """Its filters begin as the mel's own envelope, so a mel comes back before anything is learned."""
    torch.manual_seed(0)
    vocoder = SourceFilter(VOCODER, MEL)
    mel = torch.linspace(-2, -6, 80)[None, :, None].expand(1, 80, 60)
    with torch.no_grad():
        wave = vocoder(mel, torch.full((1, 60), 120.0), torch.randn(1, 9600))
    back = log_magnitude_mel(wave, MEL)[..., 10:-10]
    assert (back - mel[..., 10:-10]).abs().mean() < 0.6


def test_pulses_have_the_pitch_that_is_asked_for() -> None:
    vocoder = SourceFilter(VOCODER, MEL)
    pulses, turns = vocoder.pulses(torch.full((1, 100), 200.0), torch.zeros(1, dtype=torch.float64))
    peaks = (pulses[0] > 0.5 * pulses.max()).nonzero()[:, 0].diff()
    assert set(peaks[peaks > 1].tolist()) <= {79, 80, 81}
    assert pulses.square().mean().item() == pytest.approx(1, abs=0.05)
    assert turns.item() == pytest.approx(0, abs=1e-6) or turns.item() == pytest.approx(1, abs=1e-6)


def test_a_code_must_be_whole_frames() -> None:
    with pytest.raises(CheckpointError, match="a code must be a whole number of frames"):
        MelDecoder(DECODER, MelConfig())


@pytest.mark.parametrize("codes", [[16], [-1]])
def test_codes_that_it_does_not_have_are_refused(codes: list[int]) -> None:
    with pytest.raises(InputError, match="the model has codes 0 to 15"):
        small().synthesize(codes, VOICE)


def test_nothing_to_say_is_refused() -> None:
    with pytest.raises(InputError, match="0 speech codes"):
        small().synthesize([], VOICE)


def test_a_folder_is_opened_for_use(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    write_config(small().config, tmp_path)
    for part in ("decoder", "vocoder"):
        save_file(getattr(small(), part).state_dict(), tmp_path / weights_file(part))
    opened = load_synthesizer(tmp_path)
    assert torch.equal(opened.synthesize(CODES, VOICE), spoken())


def test_the_default_size_is_small() -> None:
    with torch.device("meta"):
        model = SmallVoice(SmallVoiceConfig())
    assert 3e6 < sum(parameter.numel() for parameter in model.parameters()) < 8e6
