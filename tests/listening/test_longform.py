"""Windows hold every sound, depend on the audio alone, and end where nobody speaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise

import osum
from osum.audio import SAMPLE_RATE, read_blocks
from osum.errors import AudioError
from osum.listening.longform import EDGE, FAINT, MIN_FRAMES, SILENCE, Piece, Samples, Silence, Window, windows
from osum.listening.vad import FRAME, Energy

RATE = SAMPLE_RATE
SAMPLES = Path(__file__).parents[2] / "samples"
LIMIT = 4 * RATE
LIMITS = st.integers(MIN_FRAMES * FRAME, 3 * RATE)
CUTS = st.lists(st.integers(0, 20 * RATE), max_size=8)
KINDS = st.sampled_from(["speech", "pause", "silence", "hum"])
SCENES = st.lists(st.tuples(KINDS, st.integers(1, 3 * RATE)), min_size=1, max_size=5)
"""What sounds, and for how many samples."""


def cut(samples: Samples, limit: int = LIMIT) -> list[Piece]:
    return list(windows([samples], limit, Energy()))


def windows_of(pieces: list[Piece]) -> list[Window]:
    return [piece for piece in pieces if isinstance(piece, Window)]


def babble(size: int, seed: int = 0) -> Samples:
    """Noise that rises and falls as speech does, some four times a second, without a pause."""
    beat = 0.55 + 0.45 * np.sin(np.arange(size) * 2 * np.pi * 4 / RATE)
    return (noise(size, seed) * beat).astype(np.float32)


def scene(parts: list[tuple[str, int]]) -> Samples:
    made = {
        "speech": lambda size: babble(size, size),
        "pause": lambda size: 1e-3 * noise(min(size, RATE), size),
        "silence": lambda size: 1e-5 * noise(size, size),
        "hum": lambda size: 0.1 * np.sin(np.arange(size) * 0.02),
    }
    return np.concatenate([made[kind](size) for kind, size in parts]).astype(np.float32)


def in_blocks(samples: Samples, cuts: list[int]) -> list[Samples]:
    return np.split(samples, sorted(min(cut, len(samples)) for cut in cuts))


@settings(max_examples=20)
@given(SCENES, LIMITS)
def test_pieces_tile_the_stream_and_windows_hold_their_samples(parts: list[tuple[str, int]], limit: int) -> None:
    samples = scene(parts)
    at = 0
    for piece in cut(samples, limit):
        assert piece.end > at
        if isinstance(piece, Silence):
            assert piece.start == at and np.abs(samples[piece.start : piece.end]).max() < 1e-2
        else:
            assert piece.start + piece.shared == at and 0 < len(piece.samples) <= limit
            np.testing.assert_array_equal(piece.samples, samples[piece.start : piece.end])
        at = piece.end
    assert at == len(samples)


@settings(max_examples=20)
@given(SCENES, LIMITS, CUTS, st.integers(200, 3 * RATE))
def test_the_pieces_do_not_depend_on_the_blocks(
    parts: list[tuple[str, int]], limit: int, cuts: list[int], size: int
) -> None:
    samples = scene(parts)
    blocks = in_blocks(samples, cuts), in_blocks(samples, list(range(size, len(samples), size)))
    places = [[(p.start, p.end) for p in windows(each, limit, Energy())] for each in blocks]
    assert places[0] == places[1] == [(p.start, p.end) for p in cut(samples, limit)]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(RATE // 4, 2 * RATE), st.integers(RATE // 2, RATE)), min_size=4, max_size=8))
def test_no_cut_falls_into_speech_where_there_are_pauses(spoken: list[tuple[int, int]]) -> None:
    parts = [part for speech, pause in spoken for part in (("speech", speech), ("pause", pause))]
    edges = [0, *itertools.accumulate(size for _, size in parts)]
    found = windows_of(cut(scene(parts)))
    assert all(window.shared == 0 for window in found)
    for window in found[:-1]:
        inside = np.searchsorted(edges, window.end) - 1
        assert parts[inside][0] == "pause", (window.end, edges)


def test_without_a_pause_windows_overlap_by_a_quarter_at_most() -> None:
    first, second, *_ = windows_of(cut(babble(12 * RATE)))
    assert len(first.samples) <= LIMIT
    assert second.start + second.shared == first.end and LIMIT // 8 < second.shared <= LIMIT // 4


def test_a_silence_is_passed_over_and_stays_in_file_time() -> None:
    samples = scene([("speech", 2 * RATE), ("silence", 60 * RATE), ("speech", 2 * RATE)])
    first, silence, last = cut(samples, 2 * LIMIT)
    assert isinstance(silence, Silence)
    assert first.end == silence.start and silence.end == last.start
    assert (silence.start, silence.end) == pytest.approx((2 * RATE + EDGE * FRAME, 62 * RATE - EDGE * FRAME), abs=FRAME)


def test_faint_speech_is_no_silence() -> None:
    samples = scene([("silence", 5 * RATE), ("speech", 5 * RATE), ("silence", 5 * RATE)])
    samples[5 * RATE : 10 * RATE] *= 10 ** ((FAINT - 20 + 5) / 20) / np.std(babble(RATE))
    assert any(window.start < 6 * RATE and window.end > 9 * RATE for window in windows_of(cut(samples, 2 * LIMIT)))
    assert sum(len(window.samples) for window in windows_of(cut(samples))) >= 5 * RATE


@pytest.mark.parametrize("seconds", [0.2, 4.0, 4.01, 4.9])
@pytest.mark.parametrize("kind", ["speech", "silence", "hum"])
def test_a_recording_about_the_limit_is_one_window_or_two_fair_ones(kind: str, seconds: float) -> None:
    size = round(seconds * RATE)
    found = windows_of(cut(scene([(kind, size)]) + np.float32(0.3)))
    if seconds <= 4:
        assert [(window.start, window.end) for window in found] == [(0, size)]
    assert all(len(window.samples) >= min(size, LIMIT // 4) - FRAME for window in found)


@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_silence_alone_is_no_window_once_it_is_too_long_for_one(seconds: float) -> None:
    size = round(seconds * RATE)
    assert cut(np.zeros(size, np.float32)) == [Silence(0, size)]
    assert cut(np.full(size, 0.5, np.float32)) == [Silence(0, size)]


@pytest.mark.parametrize("kind", ["speech", "hum"])
def test_all_that_sounds_is_in_a_window(kind: str) -> None:
    pieces = cut(scene([(kind, 60 * RATE)]))
    assert not any(isinstance(piece, Silence) for piece in pieces)


def test_a_stop_of_a_consonant_is_no_pause() -> None:
    samples = babble(8 * RATE)
    samples[3 * RATE : 3 * RATE + 960] = 0  # 60 ms
    assert windows_of(cut(samples))[1].shared > 0


def test_hours_are_held_one_window_at_a_time() -> None:
    """Pieces come while the blocks are read, and what is not yet given away stays within a window and a half."""
    read, given = 0, 0

    def blocks() -> Iterator[Samples]:
        nonlocal read
        for index in range(60):
            block = scene([("speech", RATE), ("pause", RATE // 2)]) if index % 20 < 10 else np.zeros(RATE, np.float32)
            read += len(block)
            yield block

    for piece in windows(blocks(), LIMIT, Energy()):
        given = piece.end
        start = piece.start if isinstance(piece, Window) else piece.end
        assert read - start <= 3 * LIMIT
    assert given == read > 60 * RATE


# Files that change under the reader


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "long.wav", scene([("speech", 5 * RATE), ("pause", RATE)] * 8), RATE)
    return tmp_path / "long.wav"


def places(recording: Path, change: str) -> list[tuple[int, int]]:
    """The pieces of a recording that changes after its first piece was read."""
    found = []
    for piece in windows(read_blocks(recording, seconds=1), LIMIT, Energy()):
        found.append((piece.start, piece.end))
        if len(found) == 1 and change == "vanishes":
            recording.unlink()
        if len(found) == 1 and change == "grows":
            with recording.open("ab") as file:
                file.write(bytes(10 * RATE))
        if len(found) == 1 and change == "shrinks":
            with recording.open("r+b") as file:
                file.truncate(20 * RATE)
    return found


def test_a_file_that_grows_or_vanishes_while_it_is_read_is_read_as_it_was(recording: Path) -> None:
    usual = places(recording, "")
    before = recording.read_bytes()
    assert places(recording, "grows") == usual
    recording.write_bytes(before)
    assert places(recording, "vanishes") == usual


def test_a_file_that_shrinks_while_it_is_read_is_an_error(recording: Path) -> None:
    with pytest.raises(AudioError, match="broken after frame"):
        places(recording, "shrinks")


@pytest.mark.parametrize("rate", [4_000, 192_000])
def test_a_header_that_is_wrong_about_its_rate_gives_windows_of_what_it_says(recording: Path, rate: int) -> None:
    samples, _ = soundfile.read(recording, dtype="int16")
    soundfile.write(recording, samples, rate)
    assert places(recording, "")[-1][1] == pytest.approx(len(samples) / rate * RATE, abs=2)


# With a model


def test_a_long_recording_is_its_windows_each_answered_alone() -> None:
    """So no word is lost or doubled at a cut, beyond what the model itself gets wrong."""
    nano, rest = osum.load("nano"), np.zeros(RATE // 2, np.float32)
    names = ("en_adult_male_zh_accent", "zh_sentence_2", "en_child_girl", "zh_sentence_3", "en_child_boy")
    clips = [soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0] for name in names]
    samples = np.concatenate([part for clip in clips for part in (clip, rest)])
    result = nano.label(samples, tasks="SGC")
    edges = [0.0, *itertools.accumulate((len(clip) + len(rest)) / RATE for clip in clips)]
    assert len(result.segments) > 1 and "where nobody speaks" in result.warnings[0]
    assert [segment.start for segment in result.segments] == [0, *(each.end for each in result.segments[:-1])]
    for segment in result.segments[:-1]:
        assert any(abs(segment.end - edge) < 0.6 for edge in edges)
    for segment in result.segments:
        alone = nano.label(samples[round(segment.start * RATE) : round(segment.end * RATE)], tasks="SGC")
        assert alone.text == segment.text
        assert alone.summary["SGC"].distribution == pytest.approx(segment.labels["SGC"].distribution, abs=1e-4)


def test_the_limit_must_be_half_a_second() -> None:
    with pytest.raises(AssertionError, match="a limit of 100 samples"):
        cut(np.zeros(10, np.float32), 100)
    assert SILENCE > 2 * EDGE
