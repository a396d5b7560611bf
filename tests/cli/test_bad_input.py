"""Bad input, answered by a real model: every fault is one line that names the thing and the way out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from model.tiny import tiny_model, tiny_processor

from cli.conftest import RATE, Ran, Run
from osum.tasks import OSUM

FEW = ("--max-new-tokens", 3, "--tasks", "ASR,SGC")
"""Enough to answer; a random model never stops by itself."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with the tasks of our own."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model("speech_first").save_pretrained(folder)
    tiny_processor("speech_first").save_pretrained(folder)
    (folder / "tasks.json").write_text(json.dumps(OSUM.to_dict()), encoding="utf-8")
    return folder


@pytest.fixture
def label(osum: Run, checkpoint: Path) -> Callable[..., Ran]:
    """`osum label` with the tiny model."""
    return lambda *words: osum("label", "--quiet", "--model", checkpoint, *FEW, *words)


Label = Callable[..., Ran]


def tone(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.1 * np.sin(2 * np.pi * 440 * time)[:, None], channels, axis=1)


def missing(path: Path) -> None:
    """Nothing is written."""


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no sound")


def truncated(path: Path) -> None:
    soundfile.write(path.with_suffix(".flac"), np.random.default_rng(0).normal(0, 0.1, RATE), RATE, format="FLAC")
    whole = path.with_suffix(".flac").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def holding(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        samples = tone()
        samples[100] = value
        soundfile.write(path, samples, RATE, subtype="FLOAT")

    return write


def folder(path: Path) -> None:
    path.mkdir()


def integer_scale(path: Path) -> None:
    soundfile.write(path, tone() * 32768, RATE, subtype="FLOAT")


def cancelling(path: Path) -> None:
    soundfile.write(path, np.concatenate([tone(), -tone()], axis=1), RATE)


def half(form: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * RATE), RATE, format=form)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


BAD = {
    "missing path": (missing, "no such file"),
    "folder without audio": (folder, "no audio in it"),
    "empty file": (empty, "is empty"),
    "text renamed": (text, "is no audio"),
    "truncated flac": (truncated, "damaged or cut off"),
    "no samples": (no_samples, "0 samples"),
    "not a number": (holding(np.nan), "samples must be finite"),
    "infinite": (holding(np.inf), "samples must be finite"),
    "integer scale in floats": (integer_scale, "full scale is 1.0"),
    "channels that cancel": (cancelling, "cancel each other"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_a_bad_recording_is_one_line_and_code_1(
    label: Label, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "clip.wav"
    make(path)
    code, _, err = label(path, "-f", "txt")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"osum: error: {path}: ")
    assert message in err


def test_a_file_without_permission_is_reported(label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, really_open = tmp_path / "clip.wav", Path.open
    soundfile.write(path, tone(), RATE)

    def deny(self: Path, *words: object, **options: object) -> object:  # chmod does not stop root
        if self == path:
            raise PermissionError(13, "Permission denied")
        return really_open(self, *words, **options)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(Path, "open", deny)
    assert "check its permissions" in label(path, "--num-workers", 0).err  # patched in this process alone


def test_a_clip_far_above_full_scale_is_answered_with_a_warning(label: Label, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone() * 1000, RATE, subtype="FLOAT")
    code, out, _ = label(tmp_path / "clip.wav", "-f", "json")
    assert (code, json.loads(out)["warnings"]) == (
        0,
        ["samples up to 100 times full scale: divide them, or write the file again"],
    )


@pytest.mark.parametrize("form", ["WAV", "MP3"])
def test_half_a_file_is_answered_with_a_warning(label: Label, tmp_path: Path, form: str) -> None:
    half(form)(tmp_path / "clip.wav")
    code, out, _ = label(tmp_path / "clip.wav", "-f", "json")
    (warning,) = json.loads(out)["warnings"]
    assert (code, "of the 2.00 s that its header promises" in warning) == (0, True)


GOOD = {
    "10 ms": (0.01, RATE, 1, "PCM_16"),
    "8 kHz": (0.5, 8_000, 1, "PCM_16"),
    "44.1 kHz stereo": (0.5, 44_100, 2, "PCM_16"),
    "24 bit": (0.5, RATE, 1, "PCM_24"),
    "96 kHz": (0.5, 96_000, 1, "PCM_16"),
    "6 channels": (0.5, RATE, 6, "PCM_16"),
}


@pytest.mark.parametrize(("seconds", "rate", "channels", "subtype"), GOOD.values(), ids=GOOD)
def test_an_unusual_recording_is_answered(
    label: Label, tmp_path: Path, seconds: float, rate: int, channels: int, subtype: str
) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(seconds, rate, channels), rate, subtype=subtype)
    code, out, err = label(tmp_path / "clip.wav", "-f", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["duration"] == pytest.approx(seconds, abs=0.001)


def test_a_long_recording_is_cut_and_nothing_is_dropped(label: Label, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.flac", np.random.default_rng(0).normal(0, 0.1, 95 * RATE), RATE)
    row = json.loads(label(tmp_path / "clip.flac", "-f", "json").out)
    edges = [(segment["start"], segment["end"]) for segment in row["segments"]]
    assert (edges[0][0], edges[-1][1]) == (0.0, 95.0)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(edges))
    assert "cut into" in row["warnings"][0]


@pytest.mark.slow
def test_an_hour_is_answered(label: Label, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.flac", np.random.default_rng(0).normal(0, 0.1, 3600 * RATE), RATE)
    row = json.loads(label(tmp_path / "clip.flac", "-f", "json", "--tasks", "SGC-only").out)
    assert row["segments"][-1]["end"] == 3600.0


def test_one_bad_of_ten_leaves_nine_results_and_one_line(label: Label, tmp_path: Path) -> None:
    for number in range(10):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.1 + 0.02 * number), RATE)
    text(tmp_path / "4.wav")
    code, out, err = label(tmp_path, "-f", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err.count("\n"), [row["id"] for row in rows]) == (1, 1, [str(number) for number in range(10)])
    assert [row["id"] for row in rows if "error" in row] == ["4"]


def damaged(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with one tensor less."""
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model.safetensors")
    del state["model.audio_tower.conv1.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["--model", "nanu"], 1, "model 'nanu' is unknown"),
        (["--model", "."], 1, "no config.json"),
        (["--device", "abacus"], 2, "osum doctor"),
        (["--tasks", "SERR"], 2, "did you mean 'SER'"),
        (["--tasks", ""], 2, "unknown task ''"),
        (["--prompt-language", "fr"], 2, "no prompts in 'fr'"),
        (["--model", "someone/something", "--offline"], 1, "not on this machine"),
    ],
)
def test_a_bad_option_is_one_line_and_a_model_that_is_not_there_is_no_wrong_usage(
    label: Label, tmp_path: Path, words: list[str], expected: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", tone(), RATE)
    code, out, err = label("clip.wav", *words)
    assert (code, out, err.count("\n")) == (expected, "", 1)
    assert message in err


def test_a_checkpoint_with_a_missing_tensor_is_refused(label: Label, checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(), RATE)
    code, out, err = label(tmp_path / "clip.wav", "--model", damaged(checkpoint, tmp_path / "damaged"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "audio_tower.conv1.weight" in err


def test_a_question_of_ones_own_is_answered(osum: Run, checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(), RATE)
    code, out, _ = osum("ask", tmp_path / "clip.wav", "who?", "--model", checkpoint, "--max-new-tokens", 3)
    assert (code, out.endswith("\n")) == (0, True)


def test_a_reply_is_given(osum: Run, checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", tone(0.1), RATE)
    assert osum("chat", tmp_path / "clip.wav", "--model", checkpoint).code == 0
