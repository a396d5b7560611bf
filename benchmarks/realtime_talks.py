"""One scripted conversation, as it is played through a talk: in real time, or by a simulated clock.

`in_real_time` is what a user gets on this machine at this load. `simulated` gives each piece of work the processor time
that it takes and owns the clock, so that neither the load nor other processes are in its figures:

1. Sound arrives frame by frame, at the end of each frame of the simulated clock.
2. Work (a judgement, the next piece of a reply) begins when a core is free; its result arrives when the processor time
   that it took has passed. What waits for a core waits in order.
3. Several talks share the cores and the clock.

Worked example: a policy is asked at 2.512 s and takes 0.030 s of processor, so its answer arrives at 2.542 s; a reply
that was begun on the same core at 2.500 s and needs 0.080 s for its next piece would delay both to 2.610 s.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.dialogue.hearing import cut_into
from osum.dialogue.live import LiveTalk, Parts
from osum.dialogue.news import (
    Abort,
    Begin,
    Broke,
    Came,
    CutOff,
    Event,
    Judge,
    Judged,
    News,
    Order,
    Output,
    ReplyStarted,
    Said,
    Sound,
    TurnTaken,
)
from osum.dialogue.taking_turns import advance
from osum.dialogue.talk import TalkRules, begin
from osum.dialogue.talker import AudioPiece, TextPiece
from osum.errors import OsumError
from osum.listening.vad import FRAME

OVER = 0.6
"""Seconds from the first sound of a reply to what comes over it."""
LISTENS_ON = 3.0
"""Seconds behind the last sound of the user in which an answer may begin."""
Samples = Any


@dataclass(frozen=True)
class Scenario:
    """One conversation: a turn of the user, and what comes over the reply to it or in the middle of it."""

    name: str
    language: str
    first: Samples
    over: Samples | None = None
    must_stop: bool = False
    """Whether the reply must stop for it."""
    num_turns: int = 1
    """Turns that must be answered."""


@dataclass
class Outcome:
    """What happened in one conversation; times in seconds."""

    scenario: str
    language: str
    system: str
    first_sound: list[float] = field(default_factory=list)
    """From the end of the user's speech."""
    waiting: list[float] = field(default_factory=list)
    """... of which until the turn was taken,"""
    writing: list[float] = field(default_factory=list)
    """... from there to the first text (less than nothing where it was speculated),"""
    speaking: list[float] = field(default_factory=list)
    """... and from there to the first sound."""
    stop: float | None = None
    """From the onset of what came over the reply to the end of the reply."""
    stopped: bool = False
    overlapped: bool = False
    """Whether something came while the reply played."""
    turns: int = 0
    verdicts: list[str] = field(default_factory=list)
    """What the policy said, in order."""


class Conversation:
    """One scenario under way: what the user sends, and what came out, with its times."""

    def __init__(self, scenario: Scenario, system: str, now: Callable[[], float]) -> None:
        self.scenario, self.now = scenario, now
        self.found = Outcome(scenario.name, scenario.language, system)
        self.events: list[tuple[float, Event]] = []
        self.ends: list[float] = []
        self.onset = float("inf")
        self.plays: Callable[[], bool] = lambda: False
        """Whether a reply plays."""

    def listen(self, event: Event, _: float) -> None:
        """Keep one event of the talk."""
        self.events.append((self.now(), event))

    def sound(self) -> Iterator[Samples]:
        """What the microphone records, frame by frame; the next frame is asked for once this one was given."""
        silence = np.zeros(round(LISTENS_ON * SAMPLE_RATE), np.float32)
        yield from cut_into(silence[: SAMPLE_RATE // 2], FRAME)
        yield from self._spoken(self.scenario.first)
        for frame in cut_into(silence, FRAME):
            if self.times(Said, AudioPiece):
                break
            yield frame
        if self.scenario.over is not None:
            yield from cut_into(silence[: round(OVER * SAMPLE_RATE)], FRAME)
            self.found.overlapped, self.onset = self.plays(), self.now()
            yield from self._spoken(self.scenario.over)
        yield from cut_into(silence, FRAME)

    def _spoken(self, samples: Samples) -> Iterator[Samples]:
        yield from cut_into(samples, FRAME)
        self.ends.append(self.now())

    def times(self, kind: type, piece: type | None = None) -> list[tuple[float, Any]]:
        """Events of a kind, and of a kind of piece, with their times."""
        return [
            (at, event)
            for at, event in list(self.events)
            if isinstance(event, kind) and (piece is None or isinstance(getattr(event, "piece", None), piece))
        ]

    def outcome(self) -> Outcome:
        """What happened, once it is over."""
        taken, found = self.times(TurnTaken), self.found
        cuts = [at for at, _ in self.times(CutOff) if at >= self.onset]
        found.stopped, found.stop = bool(cuts), cuts[0] - self.onset if cuts else None
        found.turns = len(self.times(ReplyStarted))
        found.verdicts = [event.judgement.verdict for _, event in taken if event.judgement]
        for end in self.ends[: self.scenario.num_turns]:
            sounds = [(at, said.reply) for at, said in self.times(Said, AudioPiece) if at > end]
            turn = next((at for at, _ in taken if at > end), None)
            if not sounds or turn is None:
                continue
            first, reply = sounds[0]
            text = next(at for at, said in self.times(Said, TextPiece) if said.reply == reply)
            found.first_sound.append(first - end)
            found.waiting.append(turn - end)
            found.writing.append(text - turn)
            found.speaking.append(first - text)
        return found


def in_real_time(scenario: Scenario, system: str, parts: Parts, rules: TalkRules) -> Outcome:
    """Play one conversation as it would be spoken."""
    conversation = Conversation(scenario, system, time.monotonic)
    with LiveTalk(parts, rules, conversation.listen) as talk:

        def plays() -> bool:
            answer = talk.talk.answer
            return answer is not None and answer.playback.plays(time.monotonic())

        conversation.plays = plays
        spoken = time.monotonic()
        for frame in conversation.sound():
            spoken += len(frame) / SAMPLE_RATE
            time.sleep(max(0.0, spoken - time.monotonic()))
            talk.hear(frame)
    return conversation.outcome()


# By a clock of its own


class SimulatedClock:
    """Time that passes as work and sound take it; `cores` pieces of work at once."""

    def __init__(self, cores: int, measure: Callable[[], float] = time.process_time) -> None:
        self.now = 0.0
        self._measure = measure
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._idle = cores
        self._waiting: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something at a time from now."""
        heapq.heappush(self._coming, (self.now + seconds, next(self._numbers), do))

    def work(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do a job as soon as a core is free, and hand its result on when its processor time has passed."""
        self._waiting.append((job, then))
        self._start()

    def _start(self) -> None:
        while self._idle and self._waiting:
            job, then = self._waiting.popleft()
            self._idle -= 1
            begun = self._measure()
            result = job()
            self.later(self._measure() - begun, lambda then=then, result=result: self._end(then, result))  # type: ignore[misc]

    def _end(self, then: Callable[[Any], None], result: Any) -> None:
        self._idle += 1
        then(result)
        self._start()

    def run(self) -> None:
        """Until nothing comes any more."""
        while self._coming:
            self.now, _, do = heapq.heappop(self._coming)
            do()


class SimulatedTalk:
    """A talk on a simulated clock."""

    def __init__(self, parts: Parts, rules: TalkRules, conversation: Conversation, clock: SimulatedClock) -> None:
        self.parts, self.conversation, self.clock = parts, conversation, clock
        self.talk = begin(rules, parts.detector)
        self.aborted: set[int] = set()
        conversation.plays = lambda: self.talk.answer is not None and self.talk.answer.playback.plays(clock.now)

    def run(self, over: Callable[[], None]) -> None:
        """Begin; `over` is called when the user has nothing more to send."""
        frames = self.conversation.sound()

        def give(frame: Samples) -> None:
            self.take(Sound(frame))
            following()

        def following() -> None:
            frame = next(frames, None)
            if frame is None:
                self.aborted.update(range(self.talk.replies + 1))
                over()
            else:
                self.clock.later(len(frame) / SAMPLE_RATE, lambda: give(frame))

        following()

    def take(self, news: News) -> None:
        """Something happens now."""
        self.talk, out = advance(self.talk, news, self.clock.now, self.parts.detector)
        for output in out:
            self._follow(output)

    def _follow(self, output: Output) -> None:
        if not isinstance(output, Order):
            self.conversation.listen(output, self.clock.now)
        elif isinstance(output, Judge):
            evidence, number = output.evidence, output.question
            self.clock.work(
                lambda: self.parts.policy.judge(evidence), lambda judgement: self.take(Judged(number, judgement))
            )
        elif isinstance(output, Abort):
            self.aborted.add(output.reply)
        elif isinstance(output, Begin):
            self._pull(output.reply, self.parts.generator.stream_reply(output.messages, output.options))

    def _pull(self, reply: int, stream: Any) -> None:
        """Have the next piece of a reply made, unless nobody wants it any more."""

        def make() -> Any:
            if reply in self.aborted:
                stream.close()
                return None
            try:
                return next(stream, None)
            except OsumError as fault:
                return fault

        def made(piece: Any) -> None:
            if piece is None:
                return
            self.take(Broke(reply, str(piece)) if isinstance(piece, OsumError) else Came(reply, piece))
            if not isinstance(piece, OsumError):
                self._pull(reply, stream)

        self.clock.work(make, made)


def simulated(
    script: Sequence[Scenario],
    system: str,
    parts: Parts,
    rules: TalkRules,
    talks: int,
    clock: SimulatedClock,
) -> list[Outcome]:
    """Play conversations on a simulated clock, so many at once."""
    waiting, done = deque(script), list[Conversation]()

    def following() -> None:
        if waiting:
            conversation = Conversation(waiting.popleft(), system, lambda: clock.now)
            done.append(conversation)
            SimulatedTalk(parts, rules, conversation, clock).run(following)

    for number in range(talks):
        clock.later(0.37 * number, following)
    clock.run()
    return [conversation.outcome() for conversation in done]


# Processor time of the parts


class Stopwatch:
    """Processor seconds of parts of the work, by name; of the thread that does it."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, begun: float) -> None:
        """One piece of work that began at a `time.thread_time()` of this thread."""
        with self._lock:
            self.seconds.setdefault(name, []).append(time.thread_time() - begun)
