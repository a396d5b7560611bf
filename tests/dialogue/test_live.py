"""A talk in real time: threads, order, pace, and what happens when something fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine.tiny_checkpoint import checkpoint_of

from dialogue.rehearsal import LOUD, LoudIsSpeech, sound
from dialogue.tiny_voice import VOICE, TinyVoice
from osum.audio import SAMPLE_RATE
from osum.dialogue.history import Entry
from osum.dialogue.live import LiveTalk, Microphone, Parts
from osum.dialogue.news import (
    Cancel,
    Commit,
    Event,
    Put,
    ReplyDone,
    Respond,
    Said,
    SpeechStarted,
    Transcribed,
    TurnTaken,
)
from osum.dialogue.options import TalkOptions
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import AudioPiece, Reply, Talker, TextPiece
from osum.dialogue.turn_policy import Evidence, Judgement, SilenceOnly
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions
from osum.errors import InputError

BY_HAND = TalkRules(takes_turns=False)
HELLO = Put(Entry("a", "user", "hello"))


class Says:
    """Says so many words, one after the other, until it is closed."""

    def __init__(self, words: int = 3, pause: float = 0.0, fails: bool = False) -> None:
        self.words, self.pause, self.fails = words, pause, fails
        self.closed = threading.Event()

    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Any]:
        try:
            for _ in range(self.words):
                time.sleep(self.pause)
                yield TextPiece("so ")
                yield AudioPiece(np.ones(10, np.float32), 1_000)
            if self.fails:
                raise RuntimeError("secret of the machine")
            yield Reply("so " * self.words)
        finally:
            self.closed.set()


class Slow:
    """A policy that takes its time."""

    after, instant = 0.2, False

    def judge(self, evidence: Evidence) -> Judgement:
        time.sleep(0.15)
        return Judgement("complete")


class Events:
    """Keeps what comes, and waits for it."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event, now: float) -> None:
        with self._changed:
            self.all.append(event)
            self._changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.all if isinstance(event, kind)]

    def wait(self, kind: type, count: int = 1) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.of(kind)) >= count, timeout=10)
        return self.of(kind)


def parts(generator: Any = None, policy: Any = None, writer: Any = None) -> Parts:
    return Parts(LoudIsSpeech(), policy or SilenceOnly(0.2), generator or Says(), writer)


def test_a_file_that_is_sent_at_once_is_understood_as_if_it_was_spoken() -> None:
    events = Events()
    rules = TalkRules(judge_after=0.2, judge_timeout=5.0, interrupts=False)
    with LiveTalk(parts(policy=Slow()), rules, events) as talk:
        talk.hear(np.concatenate([sound(0.5), sound(1.0, LOUD), sound(1.0)] * 3))
        taken = events.wait(TurnTaken, 3)
    assert [round(len(turn.entry.samples) / SAMPLE_RATE, 1) for turn in taken] == [1.5] * 3


def test_what_was_said_is_written_down() -> None:
    events = Events()
    with LiveTalk(parts(writer=lambda *_: ("hello", {"SER": "happy"})), TalkRules(judge_after=0.2), events) as talk:
        talk.hear(np.concatenate([sound(0.5), sound(1.0, LOUD), sound(0.5)]))
        (written,) = events.wait(Transcribed)
        assert (written.text, written.found) == ("hello", {"SER": "happy"})
        assert talk.talk.history.get(written.entry).text == "hello"


def test_a_reply_that_is_cancelled_closes_its_stream() -> None:
    events, says = Events(), Says(words=1000, pause=0.01)
    with LiveTalk(parts(says), BY_HAND, events) as talk:
        talk.tell(HELLO)
        talk.tell(Respond())
        events.wait(Said)
        talk.tell(Cancel())
        assert events.wait(ReplyDone)[0].status == "cancelled"
        assert says.closed.wait(5)


def test_a_fault_of_the_model_ends_the_reply_and_says_nothing_of_the_machine() -> None:
    events = Events()
    with LiveTalk(parts(Says(fails=True)), BY_HAND, events) as talk:
        talk.tell(HELLO)
        talk.tell(Respond())
        (done,) = events.wait(ReplyDone)
        assert done.status == "failed" and "secret" not in done.why
        talk.tell(Respond())
        events.wait(ReplyDone, 2)


def test_a_policy_that_fails_takes_the_turn() -> None:
    class Broken(Slow):
        def judge(self, evidence: Evidence) -> Judgement:
            raise RuntimeError("out of order")

    events = Events()
    with LiveTalk(parts(policy=Broken()), TalkRules(judge_after=0.2), events) as talk:
        talk.hear(np.concatenate([sound(0.5), sound(1.0, LOUD), sound(0.5)]))
        assert events.wait(TurnTaken)


def test_what_cannot_be_done_is_refused_in_its_place() -> None:
    events, refused = Events(), []
    with LiveTalk(parts(), BY_HAND, events) as talk:
        talk.tell(Commit(), refused.append)
        talk.hear(sound(0.5, LOUD))
        talk.tell(Commit(), refused.append)
        events.wait(TurnTaken)
    assert [str(fault)[:20] for fault in refused] == ["nothing was recorded", "None"]


def test_new_rules_count_from_then_on() -> None:
    events = Events()
    with LiveTalk(parts(), BY_HAND, events) as talk:
        talk.hear(sound(0.5))
        talk.tell(Commit())
        talk.tell(TalkRules(judge_after=0.2))
        talk.hear(np.concatenate([sound(0.5), sound(1.0, LOUD), sound(0.5)]))
        events.wait(TurnTaken, 2)
        assert len(events.of(SpeechStarted)) == 1


def test_sound_without_end_is_refused_and_nothing_else_is_lost() -> None:
    events = Events()
    with LiveTalk(parts(policy=Slow()), TalkRules(judge_after=0.2), events) as talk:
        with pytest.raises(InputError, match="more than 60 s of sound wait"):
            talk.hear(sound(61.0))
        talk.hear(np.concatenate([sound(0.5), sound(1.0, LOUD), sound(0.5)]))
        assert events.wait(TurnTaken)


def test_closing_in_the_middle_of_a_reply_ends_its_threads() -> None:
    says = Says(words=10_000, pause=0.01)
    with LiveTalk(parts(says), BY_HAND, Events()) as talk:
        talk.tell(HELLO)
        talk.tell(Respond())
        time.sleep(0.1)
    assert says.closed.wait(5) and not talk._thread.is_alive()


def test_a_talk_with_the_engine_speaks_and_frees_it() -> None:
    talker = Talker(Engine(checkpoint_of("chatml")), TinyVoice(), VOICE)
    options = TalkOptions(generation=GenerationOptions(max_new_tokens=40))
    events = Events()
    with LiveTalk(parts(talker), BY_HAND, events) as talk:
        talk.hear(np.resize(np.random.default_rng(0).normal(0, 0.1, 8000), 8000).astype(np.float32))
        talk.tell(Commit())
        talk.tell(Respond(options))
        (done,) = events.wait(ReplyDone)
    assert done.status in ("completed", "cut") and not talker.engine.busy


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_any_rate_comes_out_at_16_khz(rate: int) -> None:
    microphone = Microphone(rate)
    tone = np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate).astype(np.float32)
    out = np.concatenate([microphone.take(tone[at : at + 441]) for at in range(0, len(tone), 441)])
    assert abs(len(out) / SAMPLE_RATE - 2.0) < 0.1
    peak = np.argmax(np.abs(np.fft.rfft(out[: 16_000 * 1])))
    assert peak == pytest.approx(440, abs=1)


@pytest.mark.parametrize("rate", [0, 999, 10**7])
def test_rates_that_nobody_records_are_refused(rate: int) -> None:
    with pytest.raises(InputError, match="can be resampled"):
        Microphone(rate)
