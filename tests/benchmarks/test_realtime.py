"""The benchmark of live talks: its clock, its script, and an hour of a talk with real parts."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import realtime
from dialogue.rehearsal import LoudIsSpeech, sound
from realtime_talks import Conversation, Outcome, Scenario, SimulatedClock, SimulatedTalk, Stopwatch, simulated

import osum
from osum import audio
from osum.audio import SAMPLE_RATE
from osum.dialogue.hearing import cut_into
from osum.dialogue.live import Parts
from osum.dialogue.news import Event, Said, TurnTaken
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import AudioPiece, Piece, Reply, TextPiece
from osum.dialogue.turn_policy import SilenceOnly
from osum.dialogue.turn_words import ByWords
from osum.listening.vad import FRAME
from osum.scoring.duplex import INTERRUPTIONS, REJECTIONS

LOG = logging.getLogger(__name__)
STEP = FRAME / SAMPLE_RATE
SILENCE = 17 * STEP
"""The policy's 0.5 s in whole frames, and the part of a frame by which the blocks of the script straddle frames."""


class Processor:
    """A processor clock that moves only when a job says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def job(self, seconds: float, result: Any = None) -> Any:
        def work() -> Any:
            self.seconds += seconds
            return result

        return work


class Slow:
    """A reply whose text takes so much processor time, and its sound as much again."""

    def __init__(self, processor: Processor, seconds: float) -> None:
        self.processor, self.seconds = processor, seconds

    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Piece]:
        self.processor.seconds += self.seconds
        yield TextPiece("well")
        self.processor.seconds += self.seconds
        yield AudioPiece(np.ones(4_000, np.float32), 1_000)
        yield Reply("well")


def outcomes(seconds: float, talks: int = 1, cores: int = 1, **rules: Any) -> list[Outcome]:
    """Conversations of one turn, as many as talks at once, with a reply that takes some processor time."""
    processor = Processor()
    parts = Parts(LoudIsSpeech(), SilenceOnly(), Slow(processor, seconds))
    script = [Scenario("turn", "en", sound(0.992, 0.3))] * talks
    return simulated(script, "live", parts, TalkRules(**rules), talks, SimulatedClock(cores, processor))


@pytest.mark.parametrize(("cores", "ends"), [(1, [0.2, 0.5, 0.6]), (2, [0.2, 0.3, 0.3])])
def test_work_takes_its_processor_time_and_waits_for_a_core(cores: int, ends: list[float]) -> None:
    processor, done = Processor(), list[float]()
    clock = SimulatedClock(cores, processor)
    for seconds in (0.2, 0.3, 0.1):
        clock.work(processor.job(seconds), lambda _: done.append(round(clock.now, 6)))
    clock.run()
    assert done == ends


def test_without_speculation_the_first_sound_waits_for_the_silence_and_all_the_work() -> None:
    (found,) = outcomes(0.1)
    assert found.waiting == [pytest.approx(SILENCE)]
    assert found.first_sound == [pytest.approx(SILENCE + 0.2)] and found.turns == 1


@pytest.mark.parametrize(("seconds", "late"), [(0.1, 0.0), (0.3, 0.6 - 11 * STEP)])
def test_speculation_hides_the_work_that_fits_into_the_silence(seconds: float, late: float) -> None:
    (found,) = outcomes(seconds, speculate_after=0.15)  # begun 11 frames before the turn is taken
    assert found.first_sound == [pytest.approx(SILENCE + late)]


@pytest.mark.parametrize(("cores", "late"), [(1, [0.6, 0.8]), (2, [0.4, 0.4])])
def test_two_talks_share_the_cores(cores: int, late: list[float]) -> None:
    processor = Processor()
    parts = Parts(LoudIsSpeech(), SilenceOnly(), Slow(processor, 0.2))
    clock = SimulatedClock(cores, processor)
    talks = [Conversation(Scenario("turn", "en", sound(0.992, 0.3)), "live", lambda: clock.now) for _ in late]
    for talk in talks:  # in the same moment
        SimulatedTalk(parts, TalkRules(), talk, clock).run(lambda: None)
    clock.run()
    found = [talk.outcome().first_sound for talk in talks]  # piece by piece in turn where there is one core
    assert found == [[pytest.approx(SILENCE + seconds)] for seconds in late]


def test_the_script_holds_every_scenario_in_both_languages() -> None:
    clips, noises = realtime.from_samples()
    for language, each in clips.items():
        names = [one.name for one in realtime.scenarios(language, each, noises, 2)]
        assert sorted(names) == sorted(2 * ["turn", *INTERRUPTIONS, *REJECTIONS, "noise"])


# An hour


class Hour(Conversation):
    """A question every ten seconds, for so many minutes."""

    def __init__(self, question: Any, minutes: float, clock: SimulatedClock) -> None:
        super().__init__(Scenario("turn", "en", question), "live", lambda: clock.now)
        self.minutes, self.memory, self.answers = minutes, list[float](), 0

    def listen(self, event: Event, _: float) -> None:
        """Times alone: sound that a listener keeps is memory of the listener."""
        if isinstance(event, TurnTaken):
            self.ends.append(self.now())
        self.answers += isinstance(event, Said) and isinstance(event.piece, AudioPiece)

    def sound(self) -> Iterator[Any]:
        question = self.scenario.first
        whole = np.concatenate([question, np.zeros(10 * SAMPLE_RATE - len(question), np.float32)])
        for _ in range(round(6 * self.minutes)):
            yield from cut_into(whole, FRAME)
            self.memory.append(float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)


@pytest.mark.slow
def test_an_hour_of_talk_keeps_its_memory_and_its_pace() -> None:
    nano, clock = osum.load("nano"), SimulatedClock(1)
    question = audio.load(realtime.ROOT / "samples" / "en_child_girl.flac")
    parts, rules = realtime.systems(nano, ByWords(nano), Stopwatch())["live"]
    hour = Hour(question, float(os.environ.get("OSUM_SOAK_MINUTES", "60")), clock)
    SimulatedTalk(parts, rules, hour, clock).run(lambda: None)
    clock.run()
    third = len(hour.memory) // 3
    before, after = np.mean(hour.memory[third : 2 * third]), np.mean(hour.memory[2 * third :])
    late = np.array(hour.ends) - 10 * np.arange(len(hour.ends))  # of a talk that keeps its pace, all are the same
    drift = float(np.median(late[-third:]) - np.median(late[:third]))
    LOG.info(f"memory {before:.0f} MiB, then {after:.0f} MiB; {len(late)} turns, drift {drift:.3f} s")
    assert len(late) == len(hour.memory) and hour.answers >= len(late)
    assert abs(drift) <= STEP and after < 1.03 * before
