"""Recordings to codes and voices: the prompt's pipeline is the original's, long clips are cut, bad prompts refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from osum.errors import AudioError
from osum.speech.cosyvoice import CosyVoiceConfig
from osum.speech.features import log_magnitude_mel
from osum.speech.voice_encoder import VoiceEncoder

from .golden import COSYVOICE, arrays, far, speaker, tokenizer

RATE = 22_050


@cache
def encoder() -> VoiceEncoder:
    made = VoiceEncoder(COSYVOICE)
    made.tokenizer, made.speaker = tokenizer(), speaker()
    return made.eval().requires_grad_(False)


def prompt(seconds: float = 2.0) -> tuple[np.ndarray, int]:
    """The stored recording of 1.2 s, or its beginning."""
    return arrays("features")["wav22k"][0, : round(seconds * RATE)].numpy(), RATE


def test_a_voice_is_made_of_the_originals_features() -> None:
    golden = arrays("features")
    made = encoder().voice(prompt(), "CC0", "yes", double_resampling_quirk=True)
    assert far(made.mel, golden["mel80_22k"][0]) < 1e-4
    wanted, _ = tokenizer()(golden["logmel128_16k"][None], torch.tensor([120]))
    assert torch.equal(made.codes, wanted[0])
    assert far(made.embedding, speaker()(golden["fbank80_16k_cmn"][None])[0]) < 1e-3
    assert (made.model, made.licence, made.consent) == ("tiny", "CC0", "yes")


def test_a_recording_of_another_rate_is_resampled_once_for_each_feature() -> None:
    wave = arrays("features")["wav48k"].repeat(1, 4)[0].numpy()
    made = encoder().voice((wave, 48_000))
    assert made.mel.shape == (80, int(len(wave) * RATE / 48_000) // 256)
    assert len(made.codes) == 20


def test_channels_are_averaged() -> None:
    wave, rate = prompt()
    stereo = np.stack([wave * 1.5, wave * 0.5], axis=1)
    assert torch.allclose(encoder().voice((stereo, rate)).mel, encoder().voice((wave, rate)).mel, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (prompt(0.1), "the prompt lasts 0.1 s; 0.5 to 30 s are needed"),
        ((np.tile(prompt()[0], 34), RATE), "the prompt lasts 40.8 s"),
        ((np.zeros(RATE, np.float32), RATE), "the prompt is silent"),
        ((prompt()[0] * 1e-4, RATE), "the prompt is silent"),
    ],
)
def test_a_prompt_that_is_no_use_is_one_line(source: tuple[np.ndarray, int], message: str) -> None:
    with pytest.raises(AudioError, match=message) as fault:
        encoder().voice(source)
    assert "\n" not in str(fault.value)


def test_a_clip_too_short_for_codes_is_refused() -> None:
    with pytest.raises(AudioError, match=r"0\.025 s: too short"):
        encoder().codes((np.ones(399, np.float32), 16_000))


@pytest.mark.parametrize("num_frames", [2, 255, 256, 257, 513, 900])
def test_windows_give_each_frame_once(num_frames: int) -> None:
    """With the tiny tokenizer's 256 frames a window."""
    windows = list(encoder()._windows(num_frames))
    assert [own for _, own, _, _ in windows] == [0, *[own_stop for _, _, own_stop, _ in windows[:-1]]]
    assert windows[-1][2] == windows[-1][3] == num_frames
    assert all(stop - start <= 256 for start, _, _, stop in windows)


def test_windows_of_the_full_size_are_the_originals() -> None:
    with torch.device("meta"):
        windows = list(VoiceEncoder(CosyVoiceConfig())._windows(8000))
    assert windows == [(0, 0, 2800, 3000), (2600, 2800, 5400, 5600), (5200, 5400, 8000, 8000)]


def test_a_long_clip_has_as_many_codes_as_its_length_says() -> None:
    wave = np.tile(prompt()[0], 5)
    codes = encoder().codes((wave, RATE))
    assert len(codes) == (int(len(wave) * 16_000 / RATE) // 160 + 3) // 4


def test_the_mel_is_that_of_the_recording_at_its_own_rate() -> None:
    wave, rate = prompt()
    assert (
        far(encoder().voice((wave, rate)).mel, log_magnitude_mel(torch.from_numpy(wave)[None], COSYVOICE.mel)[0]) == 0
    )
