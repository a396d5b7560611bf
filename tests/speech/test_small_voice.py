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
from osum.speech.causal_flow import CausalFlow, CausalFlowConfig
from osum.speech.checkpoint import load_synthesizer, weights_file, write_config
from osum.speech.features import MelConfig
from osum.speech.flow import FlowBatch, FlowDraws
from osum.speech.small_voice import MEL, SmallVoice, SmallVoiceConfig
from osum.speech.synthesizer import stream
from osum.speech.vocoder import VocoderConfig
from osum.speech.voice import Voice

FLOW = CausalFlowConfig(num_codes=16, look_ahead=2, width=16, speaker_size=6, dilations=(1, 2), code_dilations=(1,))
VOCODER = VocoderConfig(
    channels=16,
    upsample_rates=(8, 5),
    upsample_kernels=(16, 11),
    kernels=(3,),
    dilations=(1,),
    source_kernels=(3, 3),
    f0_channels=8,
)
VOICE = Voice("tiny", torch.empty(0, dtype=torch.long), torch.empty(80, 0), torch.arange(6.0))
CODES = [(7 * place * place + 3 * place) % 16 for place in range(41)]


@cache
def small() -> SmallVoice:
    torch.manual_seed(0)
    model = SmallVoice(SmallVoiceConfig("tiny", MEL, FLOW, VOCODER))
    with torch.no_grad():
        model.vocoder.f0_predictor.classifier.bias.fill_(120.0)  # voiced, so that a wrong phase would be seen
    return model.eval()


def test_a_code_is_its_frames_and_samples() -> None:
    assert len(small().synthesize(CODES, VOICE)) == len(CODES) * 16_000 // 25


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=9))
def test_sound_in_pieces_is_that_of_the_whole(sizes: list[int]) -> None:
    cuts = [min(place, len(CODES)) for place in accumulate([0, *sizes])] + [len(CODES)]
    pieces = [CODES[one:other] for one, other in pairwise(cuts)]
    wave = torch.cat(list(stream(small(), pieces, VOICE, seed=5)))
    whole = small().synthesize(CODES, VOICE, seed=5)
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(wave, whole, atol=1e-5, rtol=0)


def test_frames_are_final_when_their_look_ahead_has_come() -> None:
    model, counts = small(), []
    state = model.start(VOICE)
    for code in CODES[:6]:
        state, mel = model.feed_mel(state, [code])
        counts.append(mel.shape[-1])
    assert counts == [0, 0, 4, 4, 4, 4]


def test_a_frame_looks_no_further_back_than_it_says() -> None:
    flow, noise = small().flow, torch.randn(1, 80, 4 * len(CODES))
    codes = torch.tensor([CODES])
    changed = codes.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 16
    speaker = VOICE.embedding[None]
    with torch.no_grad():
        moved = (flow.mel_of(codes, speaker, noise) - flow.mel_of(changed, speaker, noise)).abs().amax((0, 1))
    reach = int(moved.nonzero().max()) // 4
    assert 0 < reach <= flow.history < len(CODES) - 1


def test_a_state_does_not_grow_with_the_stream() -> None:
    model, sizes = small(), []
    state = model.start(VOICE)
    for _ in range(6):
        state, _ = model.feed(state, CODES)
        sizes.append(len(state.codes))
    assert len(set(sizes)) == 1


def test_a_voice_changes_the_sound() -> None:
    other = Voice("tiny", VOICE.codes, VOICE.mel, VOICE.embedding.flip(0))
    assert not torch.equal(small().synthesize(CODES, VOICE), small().synthesize(CODES, other))


def test_the_flow_learns_a_clip() -> None:
    torch.manual_seed(0)
    flow = CausalFlow(FLOW, MEL)
    batch = FlowBatch(
        torch.tensor([CODES]),
        torch.tensor([len(CODES)]),
        torch.randn(1, 80, 160),
        torch.tensor([160]),
        VOICE.embedding[None],
    )
    draws = FlowDraws.sample(batch.mel)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = flow.loss(batch, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(weight.grad is not None for weight in flow.parameters())


def test_what_is_padded_is_not_learned() -> None:
    flow, generator = small().flow, torch.Generator().manual_seed(0)
    mel = torch.randn(1, 80, 40, generator=generator)
    alone = FlowBatch(torch.tensor([CODES[:10]]), torch.tensor([10]), mel, torch.tensor([40]), VOICE.embedding[None])
    draws = FlowDraws.sample(mel, generator)
    padded = FlowBatch(
        torch.tensor([CODES[:10] + [0] * 5]),
        alone.code_lengths,
        torch.nn.functional.pad(mel, (0, 9), value=3.0),
        alone.mel_lengths,
        alone.speaker,
    )
    wide = FlowDraws(torch.nn.functional.pad(draws.noise, (0, 9)), draws.time, draws.keep, draws.prompt)
    inside = flow.loss(alone, draws), flow.loss(padded, wide)
    # Code 0 behind the end is looked ahead at, where silence is in the clip alone: the last frames differ.
    assert inside[0].item() == pytest.approx(inside[1].item(), rel=0.05)


def test_a_code_must_be_whole_frames() -> None:
    with pytest.raises(CheckpointError, match="a code must be a whole number of frames"):
        CausalFlow(FLOW, MelConfig())


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
    for part in ("flow", "vocoder"):
        save_file(getattr(small(), part).state_dict(), tmp_path / weights_file(part))
    opened = load_synthesizer(tmp_path)
    torch.testing.assert_close(opened.synthesize(CODES, VOICE), small().synthesize(CODES, VOICE), atol=1e-5, rtol=0)


def test_the_default_size_is_small() -> None:
    with torch.device("meta"):
        model = SmallVoice(SmallVoiceConfig())
    assert 3e6 < sum(parameter.numel() for parameter in model.parameters()) < 8e6
