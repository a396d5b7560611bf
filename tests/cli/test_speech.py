"""`osum codes`, `osum voice` and `osum convert` of a CosyVoice: from a release and a recording to sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from speech.releases import write_baseline, write_release

from osum.speech.voice import load_voice

from .conftest import MakeClip, Run


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def model(osum: Run, release: Path, tmp_path: Path) -> Path:
    ran = osum("convert", release, tmp_path / "model")
    assert (ran.code, ran.err) == (0, "")
    assert "vocoder: hift.pt" in ran.out
    return tmp_path / "model"


def test_a_recording_goes_to_codes_and_back_to_sound(osum: Run, model: Path, clip: MakeClip, tmp_path: Path) -> None:
    prompt = clip("prompt.wav", seconds=1.0)
    voice, codes, out = tmp_path / "v.safetensors", tmp_path / "codes.jsonl", tmp_path / "out.wav"
    ran = osum("voice", "make", prompt, voice, "--model", model, "--licence", "CC0", "--consent", "it is noise")
    assert ran == (0, "", "")
    assert load_voice(voice).consent == "it is noise"
    assert osum("codes", "encode", prompt, "--model", model, "-o", codes).code == 0
    row = json.loads(codes.read_text())
    assert (row["path"], row["rate"], len(row["codes"])) == (str(prompt), 25, 25)
    assert osum("codes", "decode", codes, "--model", model, "--voice", voice, "-o", out) == (0, "", "")
    info = soundfile.info(out)
    assert (info.samplerate, info.frames, info.channels) == (22_050, 86 * 256, 1)


def test_codes_go_to_standard_output(osum: Run, model: Path, clip: MakeClip) -> None:
    ran = osum("codes", "encode", clip("a.wav"), clip("b.wav"), "--model", model)
    assert [len(json.loads(line)["codes"]) for line in ran.out.splitlines()] == [8, 8]


def test_a_voice_without_consent_is_noted(osum: Run, model: Path, clip: MakeClip, tmp_path: Path) -> None:
    ran = osum("voice", "make", clip(seconds=1.0), tmp_path / "v.safetensors", "--model", model)
    assert ran.code == 0
    assert "no consent is noted" in ran.err


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("1 2 x", "holds no speech codes"),
        ('{"path": "a.wav"}', "holds no speech codes"),
        ("[1, true]", "holds no speech codes"),
        ("1 2 300", "speech code 300 at place 2: the model has codes 0 to 256"),
        ("", "0 speech codes"),
    ],
)
def test_bad_codes_are_one_line_and_leave_nothing(
    osum: Run, model: Path, clip: MakeClip, tmp_path: Path, codes: str, message: str
) -> None:
    voice, out = tmp_path / "v.safetensors", tmp_path / "out.wav"
    osum("voice", "make", clip(seconds=1.0), voice, "--model", model)
    (tmp_path / "codes").write_text(codes)
    ran = osum("codes", "decode", tmp_path / "codes", "--model", model, "--voice", voice, "-o", out)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert message in ran.err
    assert not out.exists()


@pytest.mark.parametrize(("seconds", "message"), [(0.1, "lasts 0.1 s"), (40, "lasts 40.0 s")])
def test_a_bad_prompt_is_one_line_and_leaves_nothing(
    osum: Run, model: Path, clip: MakeClip, tmp_path: Path, seconds: float, message: str
) -> None:
    ran = osum("voice", "make", clip(seconds=seconds), tmp_path / "v.safetensors", "--model", model)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert message in ran.err
    assert not (tmp_path / "v.safetensors").exists()


def test_a_release_with_a_file_missing_is_one_line_and_leaves_nothing(osum: Run, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    (release / "hift.pt").unlink()
    ran = osum("convert", release, tmp_path / "model")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "has no hift.pt or hift.safetensors, the vocoder of the release" in ran.err
    assert not (tmp_path / "model").exists()


def test_the_real_time_baseline_speaks_but_makes_no_codes(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    model, voice, out = tmp_path / "model", tmp_path / "v.safetensors", tmp_path / "out.wav"
    assert osum("convert", write_baseline(tmp_path / "baseline"), model).code == 0
    assert osum("voice", "make", clip(seconds=3.5), voice, "--model", model, "--consent", "noise").code == 0
    (tmp_path / "codes").write_text("1 2 3")
    decode = ("codes", "decode", tmp_path / "codes", "--model", model, "--voice", voice, "-o", out)
    assert osum(*decode).code == 0
    assert (soundfile.info(out).samplerate, soundfile.info(out).frames) == (24_000, 3 * 960)
    assert "speaks at its own speed alone" in osum(*decode, "--speed", "1.5").err
    assert "has no tokenizer" in osum("codes", "encode", clip(), "--model", model).err
    assert "lasts 2.0 s; 3 to 30 s" in osum("voice", "make", clip(seconds=2), voice, "--model", model).err
