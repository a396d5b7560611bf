"""Vocal events mixed into speech: labels, level, length, words."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.corpus.vocal_events import MIXING, EventMixer, EventMixing
from osum.utterance import Utterance, Word

NEVER = EventMixing(probability=0.0)


def hiss(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


SPEECH = Utterance(
    "s", "s", text="hi you", words=(Word("hi", 0.2, 0.4), Word("you", 0.5, 0.9)), reply="hello",
    labels={"event": "none", "emotion": "happy", "gender": "male", "age": "adult"},
)  # fmt: skip
EVENTS = [Utterance(name, name, text="", labels={"event": name}) for name in ("laugh", "cry", "sneeze")]
NO_EVENTS = [
    SPEECH,
    SPEECH.with_(labels={"event": "sigh"}),
    Utterance("n", "n", text="", labels={"event": "none"}),
    Utterance("o", "o", text="", labels={"event": "other"}),
    Utterance("u", "u", labels={"event": "cough"}),
]


def mixer(options: EventMixing = MIXING, seconds: float = 2.0) -> EventMixer:
    return EventMixer([*EVENTS, *NO_EVENTS], lambda row: hiss(seconds, len(row.id)), options)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 4.0))
def test_a_mixed_clip_has_the_label_of_the_event_and_the_words_of_the_speech(seed, seconds):
    mixed, row = mixer()(hiss(seconds), SPEECH, np.random.default_rng(seed))
    assert row.text == "hi you" and [word.text for word in row.words] == ["hi", "you"]
    assert row.labels["event"] in ("laugh", "cry", "sneeze") and row.labels["gender"] == "male"
    assert "emotion" not in row.labels and row.reply is None
    assert ("age" in row.labels) == (row.labels["event"] != "cry")
    assert mixed.dtype == np.float32 and np.abs(mixed).max() <= 1
    assert 0 <= mixed.size - int(seconds * SAMPLE_RATE) <= 2 * 0.6 * SAMPLE_RATE


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_event_has_the_asked_level(seed):
    clip = hiss(3.0) / 4
    mixed, row = mixer()(clip, SPEECH, np.random.default_rng(seed))
    front = round((row.words[0].start - 0.2) * SAMPLE_RATE)
    event = mixed - np.pad(clip, (front, mixed.size - front - clip.size))
    event = event[np.abs(event) > 1e-6]
    assert -6.1 <= 20 * np.log10(np.sqrt((event**2).mean()) / np.sqrt((clip**2).mean())) <= 3.1


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (SPEECH, NEVER),
        (SPEECH.with_(text=""), MIXING),
        (SPEECH.with_(text=None), MIXING),
        (SPEECH.with_(labels={"event": "laugh"}), MIXING),
        (SPEECH.with_(labels={}), MIXING),
    ],
)
def test_other_clips_are_left_as_they_are(row, options):
    clip = hiss(1.0)
    mixed, same = mixer(options)(clip, row, np.random.default_rng(1))
    assert mixed is clip and same is row


@pytest.mark.parametrize("made", [mixer(seconds=0.0), EventMixer(NO_EVENTS, lambda _: hiss(1.0), MIXING)])
def test_without_a_sound_there_is_no_event(made):
    assert made(hiss(1.0), SPEECH, np.random.default_rng(1))[1] is SPEECH


def test_a_silent_event_is_no_event():
    silent = EventMixer(EVENTS, lambda _: np.zeros(9000, np.float32), MIXING)
    assert silent(hiss(1.0), SPEECH, np.random.default_rng(1))[1] is SPEECH


def test_events_are_as_likely_as_each_other_however_many_clips_they_have():
    many = EventMixer([*EVENTS, *[EVENTS[0]] * 20], lambda _: hiss(0.1), EventMixing(probability=0.5))
    found = Counter(many(hiss(0.1), SPEECH, np.random.default_rng(i))[1].labels["event"] for i in range(600))
    assert [found[name] for name in ("none", "laugh", "cry", "sneeze")] == pytest.approx([300, 100, 100, 100], abs=45)


def test_the_same_seed_mixes_the_same():
    first, second = (mixer()(hiss(1.0), SPEECH, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
