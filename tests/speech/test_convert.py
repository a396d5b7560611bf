"""A released CosyVoice folder becomes ours, every tensor used; what does not fit is one line and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from osum.errors import CheckpointError, ConversionError
from osum.speech.checkpoint import load_synthesizer, load_voice_encoder, misfit, read_config
from osum.speech.convert import COSYVOICE as PARTS
from osum.speech.convert import convert_speech, is_speech_release
from osum.speech.cosyvoice import CosyVoiceConfig

from .golden import COSYVOICE, codes, cosyvoice, far, full_shapes, speaker, streamfm, tokenizer, voice, weights
from .releases import write_baseline, write_release, write_speaker, write_tokenizer

LISTS = {"flow": "flow", "vocoder": "hift", "tokenizer": "s3tokenizer", "speaker": "campplus"}
TINY = {"flow": "flow", "vocoder": "hift", "tokenizer": "s3tok", "speaker": "campplus"}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "CosyVoice")


def test_every_tensor_arrives(release: Path, tmp_path: Path) -> None:
    report = convert_speech(release, tmp_path / "ours")
    for part, tiny in TINY.items():
        held, wanted = load_file(tmp_path / "ours" / f"{part}.safetensors"), weights(tiny)
        assert held.keys() == wanted.keys()
        assert all(torch.equal(held[name], wanted[name]) for name in wanted)
    assert "flow: flow.pt" in str(report)


def test_the_converted_folder_speaks_and_listens_as_its_parts_do(release: Path, tmp_path: Path) -> None:
    convert_speech(release, tmp_path / "ours")
    assert read_config(tmp_path / "ours") == COSYVOICE
    spoken = load_synthesizer(tmp_path / "ours").synthesize(codes()[:10], voice())
    assert far(spoken, cosyvoice().synthesize(codes()[:10], voice())) < 3e-3
    mel, frames = torch.randn(1, 128, 40), torch.tensor([40])
    assert torch.equal(load_voice_encoder(tmp_path / "ours").tokenizer(mel, frames)[0], tokenizer()(mel, frames)[0])


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_full_size_takes_exactly_the_released_keys_and_shapes(part: object) -> None:
    with torch.device("meta"):
        module: nn.Module = part.build(CosyVoiceConfig())
        state = {name: torch.empty(shape) for name, shape in full_shapes(LISTS[part.name]).items()}
        assert misfit(state, module) == ""
        assert "1 tensors missing" in misfit(dict(list(state.items())[1:]), module)


def test_the_real_time_baseline_is_converted_and_speaks_as_its_parts_do(tmp_path: Path) -> None:
    assert is_speech_release(write_baseline(tmp_path / "baseline"))
    convert_speech(tmp_path / "baseline", tmp_path / "ours")
    model, encoder = load_synthesizer(tmp_path / "ours"), load_voice_encoder(tmp_path / "ours")
    made = encoder.voice((np.random.default_rng(0).standard_normal(50_000).astype(np.float32) * 0.1, 16_000))
    assert made.mel.shape == (80, 300)
    wanted = streamfm().synthesize(codes()[:20], made)
    assert far(model.synthesize(codes()[:20], made), wanted) < 1e-4


def test_weight_norms_of_the_older_form_are_read(release: Path, tmp_path: Path) -> None:
    old = {
        "generator."
        + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in weights("hift").items()
    }
    torch.save(old, release / "hift.pt")
    convert_speech(release, tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "vocoder.safetensors").keys() == weights("hift").keys()


def test_the_onnx_files_of_the_release_are_read(release: Path, tmp_path: Path) -> None:
    write_tokenizer(release / "speech_tokenizer_v1.onnx")
    (release / "speech_tokenizer_v1.pt").unlink()
    convert_speech(release, tmp_path / "ours")
    held = load_file(tmp_path / "ours" / "tokenizer.safetensors")
    assert all(torch.equal(held[name], value) for name, value in weights("s3tok").items())


@pytest.mark.filterwarnings("ignore")  # of the exporter that the release was made by
def test_cam_plus_plus_is_read_from_onnx_by_the_order_of_its_layers(release: Path, tmp_path: Path) -> None:
    write_speaker(release / "campplus.onnx")
    (release / "campplus.pt").unlink()
    convert_speech(release, tmp_path / "ours")
    features = torch.randn(1, 150, 80)
    assert far(load_voice_encoder(tmp_path / "ours").speaker(features), speaker()(features)) < 1e-4


def test_an_onnx_file_of_another_network_is_one_line(release: Path, tmp_path: Path) -> None:
    write_tokenizer(release / "campplus.onnx")
    with pytest.raises(ConversionError, match=r"where CAM\+\+ has .*; give the torch form") as fault:
        convert_speech(release, tmp_path / "ours")
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("name", ["campplus.onnx", "speech_tokenizer_v1.onnx"])
def test_a_damaged_onnx_file_is_one_line(release: Path, tmp_path: Path, name: str) -> None:
    (release / name).write_bytes(b"hello")
    with pytest.raises(ConversionError, match="cannot be read as ONNX") as fault:
        convert_speech(release, tmp_path / "ours")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_missing_file_is_named(release: Path, tmp_path: Path, part: object) -> None:
    for name in part.files:
        (release / name).unlink(missing_ok=True)
    with pytest.raises(ConversionError, match=rf"has no {part.files[0]} or .*, the {part.name} of the release: fetch"):
        convert_speech(release, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("encoder.after_norm.bias"), "1 tensors missing"),
        (lambda state: state.update(extra=torch.ones(1)), r"1 tensors unexpected \(extra\)"),
        (
            lambda state: state.update({"encoder_proj.bias": torch.ones(2)}),
            r"encoder_proj.bias \(2,\) instead of \(80,\)",
        ),
    ],
)
def test_keys_and_shapes_are_held_one_by_one(release: Path, tmp_path: Path, change: object, message: str) -> None:
    state = weights("flow")
    change(state)
    torch.save(state, release / "flow.pt")
    with pytest.raises(ConversionError, match=message) as fault:
        convert_speech(release, tmp_path / "ours")
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "ours").exists()


def test_the_kind_of_fifty_codes_a_second_is_refused_by_its_stride(release: Path, tmp_path: Path) -> None:
    write_tokenizer(release / "speech_tokenizer_v1.onnx", stride=1)
    with pytest.raises(ConversionError, match="is of the kind with 50 codes a second, osum speaks 25"):
        convert_speech(release, tmp_path / "ours")


def test_the_kind_of_fifty_codes_a_second_is_refused_by_its_notes(release: Path, tmp_path: Path) -> None:
    (release / "cosyvoice.yaml").write_text(
        "flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec\n    input_frame_rate: 50\n"
    )
    with pytest.raises(ConversionError, match="is of the kind with 50 codes a second"):
        convert_speech(release, tmp_path / "ours")


def test_a_release_is_distinguished_from_other_folders(release: Path, tmp_path: Path) -> None:
    assert is_speech_release(release)
    assert not is_speech_release(tmp_path)
    assert not is_speech_release(release / "flow.pt")


def test_the_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json in it, so it is no speech model"):
        load_synthesizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "osum"}')
    with pytest.raises(CheckpointError, match="is not of a speech model"):
        load_synthesizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "osum_cosyvoice", "flow": {"code_ratee": 1}}')
    with pytest.raises(CheckpointError, match=r"flow\.code_ratee is unknown: did you mean 'code_rate'"):
        load_synthesizer(tmp_path)


def test_a_part_that_is_damaged_or_another_is_one_line(release: Path, tmp_path: Path) -> None:
    convert_speech(release, tmp_path / "ours")
    (tmp_path / "ours" / "flow.safetensors").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match=r"flow\.safetensors: cannot be read"):
        load_synthesizer(tmp_path / "ours")
    (tmp_path / "ours" / "vocoder.safetensors").rename(tmp_path / "ours" / "flow.safetensors")
    with pytest.raises(CheckpointError, match="tensors missing"):
        load_synthesizer(tmp_path / "ours")
