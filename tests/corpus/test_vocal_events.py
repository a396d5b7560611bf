"""What is taken of an event, and what is known of speech that has one. Mixing: tests/pipeline/test_events.py."""

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.corpus.vocal_events import excerpt, labels_with_event


def sound(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("label", ["laugh", "cry"])
def test_an_event_is_cut_to_a_length_that_is_drawn(label):
    drawn = {excerpt(sound(4.0), label, (0.5, 1.5), np.random.default_rng(seed)).size for seed in range(20)}
    assert len(drawn) > 10 and min(drawn) >= 0.5 * SAMPLE_RATE and max(drawn) <= 1.5 * SAMPLE_RATE


def test_an_event_begins_where_it_is_loud_and_a_cry_anywhere():
    samples = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), sound(4.0)])
    first = {label: {float(excerpt(samples, label, (0.5, 0.5), np.random.default_rng(seed))[0]) for seed in range(9)}
             for label in ("laugh", "cry")}  # fmt: skip
    assert len(first["laugh"]) == 1 and len(first["cry"]) > 5


def test_a_short_event_is_taken_whole():
    assert excerpt(sound(0.4), "sneeze", (0.8, 2.0), np.random.default_rng(0)).size >= 0.3 * SAMPLE_RATE


@pytest.mark.parametrize("event", ["laugh", "cry"])
def test_how_a_speaker_feels_is_not_known_behind_an_event(event):
    labels = {"event": "none", "emotion": "happy", "gender": "male", "age": "adult"}
    kept = {"gender": "male", **({} if event == "cry" else {"age": "adult"}), "event": event}
    assert labels_with_event(labels, event) == kept
