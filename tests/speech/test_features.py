"""Features equal those of the originals' libraries (golden); silence gives the floors; resampling keeps a tone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from osum.speech.features import (
    MelConfig,
    decibel_mel,
    kaldi_fbank,
    log_magnitude_mel,
    resample,
    resampling_kernel,
    whisper_log_mel,
)

from .golden import arrays, far

ROBUST_MEL = MelConfig(sampling_rate=16_000, window=640, hop_length=160, power_floor=1e-6)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return arrays("features")


@pytest.mark.parametrize(("wave", "old", "new"), [("wav22k", 22_050, 16_000), ("wav48k", 48_000, 22_050)])
def test_the_resampler_is_torchaudios(golden: dict[str, Tensor], wave: str, old: int, new: int) -> None:
    assert far(resample(golden[wave], old, new), golden[f"resample_{old}_{new}"]) < 1e-5


def test_the_resamplers_filter_is_torchaudios(golden: dict[str, Tensor]) -> None:
    kernel, width = resampling_kernel(441, 320)
    assert width == golden["resample_22050_16000_width"]
    assert far(kernel[::40, 0], golden["resample_22050_16000_kernel"]) == 0


def test_the_prompt_mel_is_the_originals(golden: dict[str, Tensor]) -> None:
    assert far(log_magnitude_mel(golden["wav22k"], MelConfig()), golden["mel80_22k"]) < 1e-4


@pytest.mark.parametrize(("name", "samples"), [("logmel128_16k", None), ("logmel_short_16k", 7777)])
def test_the_log_mel_is_whispers(golden: dict[str, Tensor], name: str, samples: int | None) -> None:
    assert far(whisper_log_mel(golden["resample_22050_16000"][0, :samples]), golden[name]) < 1e-4


def test_the_filter_bank_is_kaldis(golden: dict[str, Tensor]) -> None:
    found = kaldi_fbank(golden["resample_22050_16000"][0])
    assert far(found, golden["fbank80_16k"]) < 5e-4
    assert far(found - found.mean(0), golden["fbank80_16k_cmn"]) < 5e-4


def test_the_mel_in_decibels_is_the_originals() -> None:
    golden = arrays("streamfm")
    assert far(decibel_mel(golden["aslp_wav"], ROBUST_MEL), golden["aslp_mel"]) < 1e-5


@pytest.mark.parametrize(
    ("found", "floor"),
    [
        (log_magnitude_mel(torch.zeros(1, 5000), MelConfig(power_floor=0.0)), -11.5129),
        (whisper_log_mel(torch.zeros(5000)), -1.5),
        (kaldi_fbank(torch.zeros(5000)), -15.9424),
    ],
)
def test_digital_silence_is_the_floor(found: Tensor, floor: float) -> None:
    assert found == pytest.approx(floor, abs=1e-4)


@given(rates=st.sampled_from([(8_000, 16_000), (44_100, 16_000), (48_000, 22_050), (16_000, 24_000)]))
def test_a_tone_keeps_its_frequency_and_height_at_another_rate(rates: tuple[int, int]) -> None:
    old, new = rates
    before, after = (torch.sin(2 * math.pi * 440 * torch.arange(rate // 4) / rate) for rate in rates)
    middle = slice(new // 20, new // 5)
    assert far(resample(before[None], old, new)[0, middle], after[middle]) < 1e-3


@given(samples=st.integers(1, 3000))
def test_the_length_of_a_resampled_clip_is_rounded_up(samples: int) -> None:
    assert resample(torch.zeros(1, samples), 22_050, 16_000).shape[1] == math.ceil(samples * 320 / 441)


def test_an_equal_rate_changes_nothing() -> None:
    wave = torch.randn(1, 100)
    assert resample(wave, 16_000, 16_000) is wave
