"""CosyVoice whole is the original's (golden); in pieces it has the whole's length, no click, and stays near it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from osum.errors import CheckpointError, InputError
from osum.speech.cosyvoice import FLOW_NOISE, StreamConfig, faded
from osum.speech.noise import Noise
from osum.speech.release_stream import ReleaseStream, loudly_faded
from osum.speech.synthesizer import stream
from osum.speech.vocoder_stream import VocoderStream
from osum.speech.voice import Voice

from .golden import arrays, codes, cosyvoice, far, flow, sine_noise, start_phases, vocoder, voice


def test_the_mel_of_the_whole_is_the_originals() -> None:
    golden = arrays("stream")
    assert far(cosyvoice().mel_of(codes(), voice(), golden["offline_z"]), golden["offline_mel"]) < 3e-4


def test_the_waveform_of_the_whole_is_the_originals() -> None:
    golden = arrays("stream")
    mel = cosyvoice().mel_of(codes(), voice(), golden["offline_z"])
    wave = cosyvoice().wave_of(mel, start_phases(golden["offline_phase"]), sine_noise(mel.shape[-1] * 256))
    assert wave.shape[1] == golden["offline_wav_len"]
    assert far(wave[:, :40_960], golden["offline_wav_head"]) < 1e-2


def test_faster_speech_is_the_originals() -> None:
    golden = arrays("stream")
    mel = cosyvoice().mel_of(codes()[:21], voice(), golden["speed_z"])
    assert far(mel, golden["speed_mel"]) < 3e-4
    fast = functional.interpolate(mel, size=int(mel.shape[-1] / 1.25), mode="linear")
    assert far(fast, golden["speed_hift_mel"]) < 3e-4
    wave = cosyvoice().wave_of(fast, start_phases(golden["speed_phase"]), sine_noise(fast.shape[-1] * 256))
    assert far(wave, golden["speed_wav"]) < 1e-2


def test_speed_changes_the_length() -> None:
    assert len(cosyvoice().synthesize(codes()[:21], voice(), speed=1.25)) == 57 * 256


def test_one_seed_is_one_waveform() -> None:
    first, again, other = (cosyvoice().synthesize(codes()[:10], voice(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@cache
def pieces() -> list[Tensor]:
    """The waveform of the first 45 codes, one code at a time."""
    return list(stream(cosyvoice(), [[code] for code in codes()[:45]], voice()))


@pytest.mark.parametrize("count", [1, 17, 18, 30, 31, 45])
def test_the_length_in_pieces_is_that_of_the_whole(count: int) -> None:
    given = list(stream(cosyvoice(), [codes()[:count]], voice()))
    assert sum(map(len, given)) == flow().num_frames(count) * 256


def test_the_first_sound_comes_after_eighteen_codes_and_then_with_every_twelve() -> None:
    model = cosyvoice()
    state, came = model.start(voice()), []
    for place, code in enumerate(codes()[:45], 1):
        state, wave = model.feed(state, [code])
        if len(wave):
            came.append((place, len(wave)))
    delay = VocoderStream(vocoder()).delay
    ends = [(flow().num_frames(count) - delay) * 256 for count in (12, 24, 36)]
    assert came == [(18, ends[0]), (30, ends[1] - ends[0]), (42, ends[2] - ends[1])]


@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 32), max_size=5))
def test_how_codes_come_changes_no_frame(cuts: list[int]) -> None:
    given = [codes()[start:stop] for start, stop in pairwise([0, *sorted(cuts), 32])]
    assert torch.equal(mel_in_pieces(given), thirty_two_codes_at_once())


@cache
def thirty_two_codes_at_once() -> Tensor:
    return mel_in_pieces([codes()[:32]])


def mel_in_pieces(given: Sequence[Sequence[int]], streaming: StreamConfig | None = None) -> Tensor:
    model = cosyvoice(streaming)
    state, mels = model.start(voice()), []
    for piece in given:
        state, mel = model.feed_mel(state, piece)
        mels.append(mel)
    return torch.cat([*mels, model.feed_mel(state, (), last=True)[1]], dim=-1)


@cache
def uncut() -> Tensor:
    """The vocoder's waveform of the whole mel that came in pieces."""
    model, mel = cosyvoice(), mel_in_pieces([codes()[:45]])
    return model.wave_of(mel, model._phases(0), model._sample_noise(0)(0, mel.shape[-1] * 256))[0]


def largest_jump(waves: Sequence[Tensor]) -> float:
    """How much the step over any joint differs from the step at this place in the waveform that was never cut."""
    places = list(accumulate(map(len, waves)))[:-1]
    steps, wanted = torch.cat(list(waves)).diff(), uncut().diff()
    return max(float((steps[place - 1] - wanted[place - 1]).abs()) for place in places)


def test_no_joint_is_a_click() -> None:
    waves = pieces()
    assert len(waves) == 4
    assert largest_jump(waves) < 3e-4


def test_pieces_made_alone_would_click() -> None:
    """The measure of the test before can fail."""
    model = cosyvoice()
    mel = mel_in_pieces([codes()[:45]])
    alone = [
        model.wave_of(part, model._phases(0), model._sample_noise(0)(0, part.shape[-1] * 256))[0]
        for part in mel.split(41, dim=-1)
    ]
    assert largest_jump(alone) > 3e-3


def test_the_waveform_in_pieces_is_the_vocoders_of_the_whole_mel() -> None:
    assert far(torch.cat(pieces()), uncut()) < 3e-3


def distance(mel: Tensor) -> float:
    """Root mean square from the mel of the whole, which the release makes up to a frame longer."""
    whole = whole_mel()
    return float((mel[..., : whole.shape[-1]] - whole).square().mean().sqrt())


@cache
def whole_mel() -> Tensor:
    return cosyvoice().mel_of(codes(), voice(), prompted_noise(0, 465))


def prompted_noise(start: int, stop: int) -> Tensor:
    noise = Noise(0, FLOW_NOISE, 80)
    return torch.cat([noise(0, 34), noise(34 + start, 34 + stop)], dim=-1)


def releases_mel(short_cache: bool) -> Tensor:
    """The release's way to cut the same codes, from the same noise at the same places."""
    stream, cache, overlap, mels = ReleaseStream(cosyvoice(), lambda _: None, short_cache), None, None, []
    starts = accumulate([173, 173], initial=0)
    for start, (first, stop) in zip(starts, ((0, 70), (50, 120), (100, 135)), strict=True):
        noise = prompted_noise(start, start + flow().num_frames(stop - first))
        mel, cache = stream.flow(codes()[first:stop], voice(), noise, cache)
        mel = mel if overlap is None else loudly_faded(overlap, mel)
        overlap = mel[..., -68:]
        mels.append(mel if stop == 135 else mel[..., :-68])
    return torch.cat(mels, dim=-1)


def test_with_the_releases_cut_the_mel_is_nearer_to_the_whole_than_the_releases() -> None:
    ours = distance(mel_in_pieces([codes()], StreamConfig(chunk=50, look_ahead=20, history=0)))
    assert ours < 0.6 * distance(releases_mel(short_cache=True))
    assert ours < 0.6 * distance(releases_mel(short_cache=False))


def test_more_history_is_nearer_to_the_whole() -> None:
    distances = [distance(mel_in_pieces([codes()], StreamConfig(50, 20, history))) for history in (0, 50)]
    assert distances == sorted(distances, reverse=True)


@given(old=st.integers(0, 6), new=st.integers(0, 6))
def test_fading_between_equals_changes_nothing(old: int, new: int) -> None:
    ones = torch.ones(1, 2, 6)
    assert torch.equal(faded(ones[..., :old], ones[..., :new]), ones[..., :new])


def test_a_stream_that_is_left_costs_the_others_nothing() -> None:
    model = cosyvoice()
    state, _ = model.feed(model.start(voice()), codes()[:20])
    model.feed(state, codes()[50:80])
    later, wave = model.feed(state, codes()[20:32])
    waves = [wave, model.feed(later, (), last=True)[1]]
    assert torch.equal(
        torch.cat(waves),
        torch.cat(list(stream(model, [codes()[:20], codes()[20:32]], voice())))[-sum(map(len, waves)) :],
    )


@pytest.mark.parametrize("code", [257, -1])
def test_a_code_that_the_model_lacks_is_named(code: int) -> None:
    with pytest.raises(InputError, match=rf"speech code {code} at place 1: the model has codes 0 to 256"):
        cosyvoice().feed(cosyvoice().start(voice()), [3, code])
    with pytest.raises(InputError, match="at place 1"):
        cosyvoice().synthesize([3, code], voice())


def test_speech_without_codes_is_refused() -> None:
    with pytest.raises(InputError, match="0 speech codes"):
        cosyvoice().synthesize([], voice())
    with pytest.raises(InputError, match="0 speech codes"):
        list(stream(cosyvoice(), [], voice()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "a voice of 'other', the model is 'tiny'"),
        ({"mel": torch.zeros(40, 34)}, r"a voice of \(40, 192\) mel bins"),
        ({"codes": torch.tensor([300])}, "a voice with code 300"),
        ({"codes": torch.zeros(0, dtype=torch.long)}, "0 codes and 34 frames; it needs both or neither"),
    ],
)
def test_a_voice_of_another_model_is_refused(change: dict[str, object], message: str) -> None:
    golden = voice()
    fields = {"model": "tiny", "codes": golden.codes, "mel": golden.mel, "embedding": golden.embedding}
    with pytest.raises(CheckpointError, match=message):
        cosyvoice().start(Voice(**{**fields, **change}))


def test_a_voice_without_a_prompt_speaks() -> None:
    bare = Voice("tiny", torch.zeros(0, dtype=torch.long), torch.zeros(80, 0), voice().embedding)
    assert len(cosyvoice().synthesize(codes()[:5], bare)) == flow().num_frames(5) * 256
