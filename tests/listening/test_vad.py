"""Voice activity: what is speech and what is not, the same however a stream comes in."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.errors import MissingExtraError
from osum.listening import vad
from osum.listening.vad import (
    DETECTORS,
    FRAME,
    FRAMES_PER_SECOND,
    Detector,
    Energy,
    Floats,
    detector_named,
    speech_spans,
)

SAMPLES = Path(__file__).parents[2] / "samples"
needs_silero = pytest.mark.skipif(vad._silero_path() is None, reason="the extra vad is not installed")
SECOND = round(FRAMES_PER_SECOND)


def frames(samples: np.ndarray) -> Floats:
    """(N, S) of (N x S,), what is left over cut off."""
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)


def probabilities(samples: np.ndarray, detector: Detector[Any] | None = None) -> Floats:
    detector = detector or Energy()
    return detector(frames(samples), detector.start())[0]


def tone(seconds: float, hertz: float) -> np.ndarray:
    return 0.3 * np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 2 * np.pi * hertz / SAMPLE_RATE)


def clip(name: str) -> np.ndarray:
    return soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0]


detectors = pytest.mark.parametrize("kind", ["energy", pytest.param("silero", marks=needs_silero)])


def detector_of(kind: str) -> Detector[Any]:
    return detector_named(kind)


@detectors
def test_a_stream_gives_the_same_in_any_pieces(kind: str) -> None:
    detector, sound = detector_of(kind), frames(np.concatenate([clip("en_jfk"), noise(SAMPLE_RATE)]))
    whole, last = detector(sound, detector.start())
    for seed in range(3):
        edges = np.sort(np.random.default_rng(seed).choice(np.arange(1, len(sound)), 20, replace=False))
        parts, state = [], detector.start()
        for part in np.split(sound, edges):
            found, state = detector(part, state)
            parts.append(found)
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
        np.testing.assert_allclose(vars_of(state), vars_of(last), atol=1e-5)


def vars_of(state: Any) -> np.ndarray:
    arrays = [state] if isinstance(state, np.ndarray) else [state.context, state.hidden, state.cell]
    return np.concatenate([array.ravel() for array in arrays])


@detectors
@pytest.mark.parametrize("name", ["en_jfk", "en_adult_male_zh_accent", "zh_sentence_2", "en_child_girl"])
def test_speech_is_found_in_real_clips(kind: str, name: str) -> None:
    found = probabilities(clip(name), detector_of(kind)) >= 0.5
    assert 0.4 < found.mean() < 0.95


@detectors
@pytest.mark.parametrize("offset", [0.0, 0.4, -1.0])
def test_silence_is_no_speech_whatever_its_offset(kind: str, offset: float) -> None:
    silent = np.full(3 * SAMPLE_RATE, offset) + 1e-5 * noise(3 * SAMPLE_RATE)
    assert probabilities(silent, detector_of(kind)).max() < 0.35


@detectors
@pytest.mark.parametrize(
    "sound",
    [noise(12 * SAMPLE_RATE), tone(12, 50), tone(12, 440) + tone(12, 554), tone(12, 100) + 0.5],
    ids=["noise", "hum", "chord", "hum with offset"],
)
def test_what_continues_unchanged_is_no_speech_once_it_is_known(kind: str, sound: np.ndarray) -> None:
    assert probabilities(sound, detector_of(kind))[6 * SECOND :].max() < 0.35


def test_speech_at_the_very_beginning_is_detected_by_its_level() -> None:
    loud = clip("en_jfk")[SAMPLE_RATE // 2 :]
    assert probabilities(loud)[:SECOND].mean() > 0.5


def test_speech_over_steady_noise_is_detected_by_its_level() -> None:
    spoken, quiet = clip("en_jfk"), np.zeros(8 * SAMPLE_RATE, np.float32)
    both = np.concatenate([quiet, spoken]) + 0.05 * noise(len(quiet) + len(spoken), 1)
    found = probabilities(both) >= 0.5
    assert found[6 * SECOND : 8 * SECOND].mean() == 0 and found[8 * SECOND :].mean() > 0.4


@needs_silero
def test_rain_and_crying_are_no_speech_to_silero() -> None:
    assert (probabilities(clip("no_voice_rain"), detector_named("silero")) >= 0.5).mean() == 0
    assert (probabilities(clip("cry_baby"), detector_named("silero")) >= 0.5).mean() < 0.1


def test_without_the_extra_the_level_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "_silero_path", lambda: None)
    assert detector_named.__wrapped__("auto").name == "energy"
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[vad\]'"):
        detector_named.__wrapped__("silero")


@needs_silero
def test_with_the_extra_silero_listens() -> None:
    assert [detector_named(name).name for name in DETECTORS] == ["silero-vad", "silero-vad", "energy"]


# Spans


PROBABILITIES = st.lists(st.sampled_from([0.0, 0.4, 0.9]), max_size=80)


@settings(max_examples=100)
@given(PROBABILITIES)
def test_spans_are_apart_long_enough_and_hold_all_speech_but_clicks(probabilities: list[float]) -> None:
    spans = list(speech_spans(probabilities))
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(set(edges))
    assert all(stop - begin >= 3 for begin, stop in spans)
    assert all(later[0] - sooner[1] >= 8 for sooner, later in pairwise(spans))
    outside = [at for at, value in enumerate(probabilities) if value == 0.9 and not within(at, spans)]
    assert all(sum(at <= other < at + 3 for other in outside) < 3 for at in outside)


def within(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(begin <= at < stop for begin, stop in spans)


def test_a_span_begins_high_and_ends_low() -> None:
    assert list(speech_spans([0.4] * 5 + [0.6] * 2 + [0.4] * 3 + [0.3] * 20)) == [(5, 10)]


def test_a_span_is_reported_as_soon_as_its_silence_is_long_enough() -> None:
    spans = speech_spans(iter([0.9] * 4 + [0.0] * 8 + [float("nan")]))
    assert next(spans) == (0, 4)
