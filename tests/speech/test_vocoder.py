"""HiFT computes what the original computes (golden), and its source continues over a cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from osum.speech.features import MelConfig
from osum.speech.vocoder import Vocoder, VocoderConfig, fold_weight_norms

from .golden import VOCODER, arrays, far, full_shapes, loaded, shapes_of, sine_noise, start_phases, vocoder

CASES = ("a", "b", "c")
"""Short; loud, so that some samples reach the limit; with a stored source at its beginning."""
START = torch.zeros(1, dtype=torch.float64)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return arrays("hift")


def source_of(golden: dict[str, Tensor], case: str, f0: Tensor) -> Tensor:
    phases = start_phases(golden[f"{case}_phase"])
    source, _ = vocoder().m_source(f0, phases, sine_noise(f0.shape[1] * 256), START)
    if case == "c":
        source[..., :5120] = golden["c_cache_source"]
    return source


@pytest.mark.parametrize("case", CASES)
def test_f0_is_the_originals(golden: dict[str, Tensor], case: str) -> None:
    assert far(vocoder().f0(golden[f"{case}_mel"]), golden[f"{case}_f0"]) < 2e-3


@pytest.mark.parametrize("case", CASES)
def test_the_source_of_stored_f0_is_the_originals(golden: dict[str, Tensor], case: str) -> None:
    assert far(source_of(golden, case, golden[f"{case}_f0"]), golden[f"{case}_source"]) < 5e-5


@pytest.mark.parametrize("case", ["a", "b"])
def test_the_waveform_of_a_stored_source_is_the_originals(golden: dict[str, Tensor], case: str) -> None:
    found = vocoder().unlimited(golden[f"{case}_mel"], golden[f"{case}_source"])
    assert far(found, golden[f"{case}_wav_unclamped"]) < 5e-5


def test_the_waveform_of_a_mel_is_the_originals(golden: dict[str, Tensor]) -> None:
    source = source_of(golden, "c", vocoder().f0(golden["c_mel"]))
    assert far(vocoder().decode(golden["c_mel"], source), golden["c_wav"]) < 3e-3


def test_loud_samples_are_held_to_the_limit(golden: dict[str, Tensor]) -> None:
    assert golden["b_wav_unclamped"].abs().max() > 0.99
    assert vocoder().decode(golden["b_mel"], golden["b_source"]).abs().max() == pytest.approx(0.99)


def test_each_stage_is_the_originals(golden: dict[str, Tensor]) -> None:
    spectrum = vocoder().source_spectrum(golden["a_source"])
    assert far(spectrum, golden["a_s_stft"]) < 1e-5
    seen: dict[str, Tensor] = {}
    watched = {"resblocks0": vocoder().resblocks[0], "conv_post": vocoder().conv_post}
    hooks = [
        part.register_forward_hook(lambda _part, _given, out, name=name: seen.__setitem__(name, out))
        for name, part in watched.items()
    ]
    vocoder().decode(golden["a_mel"], golden["a_source"])
    for hook in hooks:
        hook.remove()
    assert max(far(seen[name], golden[f"a_{name}"]) for name in watched) < 5e-5


def test_the_inverse_transform_holds_large_magnitudes(golden: dict[str, Tensor]) -> None:
    angle = golden["istft_phase"] / 2  # any angle whose sine exists; the stored one may be above 1
    magnitude = golden["istft_magnitude"]
    assert (magnitude > 100).any()
    limited = vocoder().inverse_fourier(torch.cat([magnitude.clamp(max=100).log(), angle], dim=1))
    assert far(vocoder().inverse_fourier(torch.cat([magnitude.log(), angle], dim=1)), limited) < 1e-5


def test_the_inverse_transform_is_the_originals(golden: dict[str, Tensor]) -> None:
    spectrum = torch.polar(golden["istft_magnitude"].clamp(max=100), golden["istft_phase"])
    assert far(torch.istft(spectrum, 16, 4, window=vocoder().window), golden["istft_out"]) < 1e-5


@pytest.mark.parametrize("cut", [1, 7, 13])
def test_the_source_continues_over_a_cut(golden: dict[str, Tensor], cut: int) -> None:
    f0, phases, noise = golden["a_f0"], start_phases(golden["a_phase"]), sine_noise(14 * 256)
    whole, end = vocoder().m_source(f0, phases, noise, START)
    first, turns = vocoder().m_source(f0[:, :cut], phases, noise[..., : cut * 256], START)
    second, last = vocoder().m_source(f0[:, cut:], phases, noise[..., cut * 256 :], turns)
    assert far(torch.cat([first, second], dim=-1), whole) < 1e-6
    assert abs(float(last - end)) < 1e-9


def test_folded_weight_norms_are_the_same_function(golden: dict[str, Tensor]) -> None:
    folded = loaded(Vocoder(VOCODER, MelConfig()), "hift")
    fold_weight_norms(folded)
    assert not any("parametrizations" in name for name in folded.state_dict())
    assert (
        far(folded.decode(golden["b_mel"], golden["b_source"]), vocoder().decode(golden["b_mel"], golden["b_source"]))
        < 1e-5
    )


def test_the_full_size_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        assert shapes_of(Vocoder(VocoderConfig(), MelConfig())) == full_shapes("hift")
