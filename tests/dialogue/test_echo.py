"""The echo of a reply is subtracted, and a voice on top of it stays."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.dialogue import echo
from osum.dialogue.history import Entry, History
from osum.dialogue.news import Came, Judge, Judged, Respond, Sound
from osum.dialogue.taking_turns import advance
from osum.dialogue.talk import Talk, TalkRules, begin
from osum.dialogue.talker import AudioPiece
from osum.dialogue.turn_policy import SilenceOnly
from osum.errors import InputError
from osum.listening.vad import FRAME, Energy

SAMPLES = Path(__file__).parents[2] / "samples"


@cache
def clip(name: str, seconds: float) -> Any:
    """A clip at a usual level, repeated to a length of whole frames."""
    found = audio.load(SAMPLES / name)
    size = round(seconds * SAMPLE_RATE / FRAME) * FRAME
    found = np.resize(found, size)
    return (found * 0.1 / found.std()).astype(np.float32)


def room(signal: Any, gain: float = 0.5, delay: int = 400) -> Any:
    """What a microphone records of a loudspeaker: later, quieter, with 60 ms of reverberation."""
    random = np.random.default_rng(1)
    tail = random.normal(size=960) * np.exp(-np.arange(960) / 160)
    response = np.concatenate([np.zeros(delay), tail / np.linalg.norm(tail)])
    return (gain * np.convolve(signal, response)[: len(signal)]).astype(np.float32)


def power(signal: Any) -> float:
    return float(10 * np.log10(np.mean(np.square(signal)) + 1e-12))


def test_an_echo_is_subtracted_once_the_room_is_known() -> None:
    played = clip("en_jfk.flac", 10.0)
    recorded = room(played)
    clean, _ = echo.cancel(echo.start(), recorded, played)
    second = SAMPLE_RATE * 5
    assert power(clean[second:]) < power(recorded[second:]) - 15  # dB


def test_a_voice_over_the_echo_stays() -> None:
    played, voice = clip("en_jfk.flac", 10.0), clip("en_child_girl.flac", 10.0).copy()
    voice[: SAMPLE_RATE * 5] = 0  # the room is learned before anybody speaks
    recorded = room(played, gain=1.0) + voice
    clean, _ = echo.cancel(echo.start(), recorded, played)
    late = slice(SAMPLE_RATE * 5, None)
    assert np.corrcoef(recorded[late], voice[late])[0, 1] < 0.85
    assert np.corrcoef(clean[late], voice[late])[0, 1] > 0.9


def test_without_anything_played_the_sound_is_unchanged() -> None:
    voice = clip("en_child_girl.flac", 3.0)
    clean, _ = echo.cancel(echo.start(), voice, np.zeros_like(voice))
    np.testing.assert_allclose(clean, voice, atol=1e-6)


def test_the_cut_into_calls_changes_nothing() -> None:
    played = clip("en_jfk.flac", 2.0)
    whole, _ = echo.cancel(echo.start(), room(played), played)
    state, pieces = echo.start(), []
    for at in range(0, len(played), FRAME):
        piece, state = echo.cancel(state, room(played)[at : at + FRAME], played[at : at + FRAME])
        pieces.append(piece)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize(("recorded", "played"), [(512, 511), (100, 100)])
def test_what_does_not_fit_is_refused(recorded: int, played: int) -> None:
    with pytest.raises(InputError, match="equally many, in blocks of 256"):
        echo.cancel(echo.start(), np.zeros(recorded, np.float32), np.zeros(played, np.float32))


def talk_over(recorded: Any, reference: Any) -> Talk:
    """A talk in which a reply of ten seconds plays while this is recorded; who speaks for 0.35 s interrupts."""
    detector, policy = Energy(), SilenceOnly()
    talk = begin(TalkRules(aloud=True), detector, History((Entry("a", "user", "hello"),)))
    talk, _ = advance(talk, Respond(), 0.0, detector)
    talk, _ = advance(talk, Came(1, AudioPiece(np.ones(1000, np.float32), 100)), 0.0, detector)
    for at in range(0, len(recorded), FRAME):
        played = None if reference is None else reference[at : at + FRAME]
        news: list[Any] = [Sound(recorded[at : at + FRAME], played)]
        while news:
            talk, out = advance(talk, news.pop(), at / SAMPLE_RATE, detector)
            news += [Judged(each.question, policy.judge(each.evidence)) for each in out if isinstance(each, Judge)]
    return talk


def test_the_echo_of_a_reply_does_not_interrupt_it_once_it_is_subtracted() -> None:
    played = clip("en_jfk.flac", 9.0)
    assert talk_over(room(played), None).answer is None
    assert talk_over(room(played), played).answer is not None


def test_a_voice_interrupts_over_the_echo() -> None:
    played, voice = clip("en_jfk.flac", 9.0), clip("en_child_girl.flac", 9.0).copy()
    voice[: SAMPLE_RATE * 5] = 0
    assert talk_over(room(played) + voice, played).answer is None
