"""Steps over sound: on real clips, and on made ones whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.pipeline.row import DropError, Row
from osum.pipeline.steps.sound import (
    CutOptions,
    DecodeOptions,
    LoudnessOptions,
    MosOptions,
    QualityOptions,
    cut,
    decode,
    loudness,
    quality,
    signal_to_noise,
    speech_level,
)
from osum.utterance import Utterance

SAMPLES = {Path(row.path).stem: row for row in read_manifest(Path(__file__).parents[2] / "samples/manifest.jsonl")}


def row_of(samples: np.ndarray, **fields: object) -> Row:
    return Row(Utterance("a", "-", **fields)).heard_as(samples.astype(np.float32))  # type: ignore[arg-type]


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * 300 * np.arange(int(seconds * 16_000)) / 16_000)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros(16_000), "silent"), (tone(0.05), "too short"), (tone(3), "too long")],
)
def test_sound_that_is_nothing_is_left_out(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    with pytest.raises(DropError) as raised:
        decode(Row(Utterance("a", str(tmp_path / "a.wav"))), DecodeOptions(longest=2))
    assert raised.value.reason == reason


def test_decoded_sound_can_be_stored() -> None:
    assert decode(Row(SAMPLES["laugh_1"]), DecodeOptions()).sound is None
    stored = decode(Row(SAMPLES["laugh_1"]), DecodeOptions(store=True))
    assert stored.sound is not None and stored.utterance.duration == len(stored.sound) / 16_000


@given(st.floats(0.001, 0.9))
def test_every_level_becomes_one_without_clipping(level: float) -> None:
    found = loudness(row_of(tone(1, level)), LoudnessOptions(level=-20))
    assert speech_level(found.samples) == pytest.approx(-20, abs=0.1)
    assert np.abs(loudness(row_of(tone(1, level)), LoudnessOptions(level=-6)).samples).max() <= 10 ** (-1 / 20) + 1e-4


def test_pieces_cover_the_speech_and_leave_the_pauses() -> None:
    speech = Row(SAMPLES["en_jfk"]).samples
    pause = 1e-4 * np.random.default_rng(0).standard_normal(24_000)
    row = row_of(np.concatenate([pause, speech[:48_000], pause, pause, speech[:48_000], pause]), speaker="s", text=None)
    pieces = cut(row, CutOptions(longest=10, pause=1.2))
    assert len(pieces) == 2
    for piece, begin in zip(pieces, (1.5, 7.5), strict=True):
        start, end = piece.utterance.start or 0.0, piece.utterance.end or 0.0
        assert begin - 0.4 < start < begin + 0.8 and begin + 2 < end < begin + 3.6
        assert (piece.utterance.speaker, piece.extra["cut_from"]) == ("s", "a")


@pytest.mark.parametrize("longest", [1.5, 3.0, 6.0])
def test_no_piece_is_too_long(longest: float) -> None:
    row = Row(SAMPLES["en_jfk"].with_(text=None))
    pieces = cut(row, CutOptions(longest=longest, shortest=0))
    assert max((piece.utterance.duration or 0) for piece in pieces) <= longest + 0.05
    assert sum((piece.utterance.duration or 0) for piece in pieces) > 6


def test_a_piece_of_a_stretch_has_times_of_the_file() -> None:
    row = Row(SAMPLES["en_jfk"].with_(text=None, start=2.0, end=8.0))
    pieces = cut(row, CutOptions())
    assert all(2.0 <= (piece.utterance.start or 0) < (piece.utterance.end or 9) <= 8.0 for piece in pieces)


def test_a_row_with_a_text_is_not_cut() -> None:
    row = Row(SAMPLES["en_jfk"])
    assert cut(row, CutOptions(longest=20)) == [row]


def test_a_recording_without_speech_has_no_piece() -> None:
    with pytest.raises(DropError, match="no speech"):
        cut(row_of(np.full(32_000, 1e-5)), CutOptions())


@pytest.mark.parametrize("ratio", [0.0, 10.0, 20.0])
def test_the_noise_that_was_added_is_measured(ratio: float) -> None:
    speech = Row(SAMPLES["en_jfk"]).samples
    silence = np.zeros(16_000, np.float32)
    clip = np.concatenate([silence, speech, silence])
    power = float(np.mean(speech**2))
    noise = np.random.default_rng(0).standard_normal(len(clip)) * np.sqrt(power / 10 ** (ratio / 10))
    assert signal_to_noise((clip + noise).astype(np.float32)) == pytest.approx(ratio + 1, abs=4)


def test_clipped_and_noisy_clips_are_left_out() -> None:
    clip = Row(SAMPLES["en_jfk"]).samples
    with pytest.raises(DropError, match="clipped"):
        quality(row_of(np.clip(20 * clip, -1, 1)), QualityOptions())
    quiet = np.concatenate([np.zeros(16_000), clip])
    noisy = quiet + 0.1 * np.random.default_rng(0).standard_normal(len(quiet))
    with pytest.raises(DropError, match="noisy"):
        quality(row_of(noisy), QualityOptions(max_clipped=1))
    assert quality(row_of(clip), QualityOptions(min_snr=5)).extra["snr"] > 5


def test_a_quality_model_must_be_named() -> None:
    with pytest.raises(InputError, match="sig_bak_ovr"):
        MosOptions()
