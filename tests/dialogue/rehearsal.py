"""A talk on a clock of its own: sound is scripted by level, the policy and the model answer after scripted times.

The parts are stand-ins, since what is tested is the logic of turns alone: a detector that calls what is loud speech, a
policy and a generator that say what a test scripts.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.dialogue.news import Abort, Begin, Came, Judge, Judged, News, Noted, Output, Part, Sound
from osum.dialogue.taking_turns import advance
from osum.dialogue.talk import Talk, TalkRules, begin
from osum.dialogue.talker import AudioPiece, Piece, Reply, TextPiece
from osum.dialogue.turn_policy import Evidence, Judgement, Verdict
from osum.listening.vad import FRAME
from osum.utterance import Word

RATE = 1_000
"""Hz of what replies sound like."""
LOUD, SOFT = 0.3, 0.02
"""Amplitude of somebody near, and of somebody far away."""
Script = Sequence[tuple[float, Piece]]
"""Seconds after the order, and the piece that comes then."""


class LoudIsSpeech:
    """Whatever is not silence is speech."""

    name = "scripted"

    def start(self) -> None:
        return None

    def __call__(self, frames: Any, state: None) -> tuple[Any, None]:
        return (np.abs(frames).max(axis=1) > 0.001).astype(np.float32), None


def sound(seconds: float, amplitude: float = 0.0) -> Any:
    """A tone, or silence, of whole frames."""
    at = np.arange(round(seconds * SAMPLE_RATE / FRAME) * FRAME)
    return (amplitude * np.sin(at * 0.3)).astype(np.float32)


def spoken(text: str, seconds: float = 2.0, first: float = 0.3, pieces: int = 4) -> Script:
    """A reply: its text at once, its sound in pieces a little later, each word as long as the others."""
    words = text.split()
    length = seconds / len(words)
    times = tuple(Word(word, at * length, (at + 1) * length) for at, word in enumerate(words))
    share = round(seconds / pieces * RATE)
    audio = [AudioPiece(np.ones(share, np.float32), RATE, times if not at else ()) for at in range(pieces)]
    timed = [(first + 0.01 * at, piece) for at, piece in enumerate(audio)]
    return [(first / 2, TextPiece(text)), *timed, (first + 0.01 * pieces, Reply(text))]


@dataclass
class Rehearsal:
    """Runs a script and keeps what came out, with its time."""

    rules: TalkRules = field(default_factory=lambda: TalkRules(judge_after=0.2))
    verdicts: Iterable[Verdict | Judgement | None] = ()
    """What the policy says, question by question; `complete` when they are used up. None: it never answers."""
    judging: float = 0.05
    """Seconds that the policy takes."""
    replies: Iterable[Script] = ()
    """What the model says, reply by reply; `yes of course` when they are used up."""
    block: int = FRAME
    """Samples that come at once."""

    def __post_init__(self) -> None:
        self.detector = LoudIsSpeech()
        self.talk: Talk = begin(self.rules, self.detector)
        self.now = 0.0
        self.log: list[tuple[float, Output]] = []
        self.evidence: list[Evidence] = []
        self.orders: list[Begin] = []
        self.largest = 0
        self._coming: list[tuple[float, int, News]] = []
        self._numbers = count()
        self._verdicts, self._replies = iter(self.verdicts), iter(self.replies)

    def hear(self, seconds: float, amplitude: float = 0.0, **at_once: Any) -> Rehearsal:
        """So many seconds of sound pass."""
        samples = sound(seconds, amplitude)
        for at in range(0, len(samples), self.block):
            piece = samples[at : at + self.block]
            self.now += len(piece) / SAMPLE_RATE
            self._arrive()
            self.tell(Sound(piece))
        return self

    def say(self, seconds: float) -> Rehearsal:
        """The user speaks."""
        return self.hear(seconds, LOUD)

    def tell(self, news: News) -> Rehearsal:
        """Something happens now."""
        self.talk, out = advance(self.talk, news, self.now, self.detector)
        for output in out:
            self.log.append((round(self.now, 3), output))
            self._follow(output)
        return self

    def _follow(self, output: Output) -> None:
        if isinstance(output, Judge):
            self.evidence.append(output.evidence)
            said = next(self._verdicts, "complete")
            if said is not None:
                judgement = said if isinstance(said, Judgement) else Judgement(said, 2.0 if said == "incomplete" else 0)
                self._later(self.judging, Judged(output.question, judgement))
        elif isinstance(output, Begin):
            self.orders.append(output)
            for seconds, piece in next(self._replies, spoken("yes of course")):
                self._later(seconds, Came(output.reply, piece))
        elif isinstance(output, Part):
            self.largest = max(self.largest, len(output.samples))
            self._later(0.1, Noted(output.turn, output.part, f"part{output.part}", output.last))

    def _later(self, seconds: float, news: News) -> None:
        heapq.heappush(self._coming, (self.now + seconds, next(self._numbers), news))

    def _arrive(self) -> None:
        until = self.now
        while self._coming and self._coming[0][0] <= until:
            self.now, _, news = heapq.heappop(self._coming)
            self.tell(news)
        self.now = until

    # What came out

    def all(self, kind: type) -> list[Any]:
        """Everything of a kind."""
        return [output for _, output in self.log if isinstance(output, kind)]

    def when(self, kind: type, which: int = 0) -> float:
        """The time at which something of a kind came out."""
        return [at for at, output in self.log if isinstance(output, kind)][which]

    def kinds(self, without: tuple[type, ...] = (Judge, Begin, Part, Abort)) -> list[str]:
        """Names of the events in order."""
        return [type(output).__name__ for _, output in self.log if not isinstance(output, without)]

    @property
    def remembered(self) -> list[tuple[str, str]]:
        """Role and text of what the model would be given; a user's is empty where it is sound."""
        return [(entry.role, entry.text) for entry in self.talk.history if entry.role == "user" or entry.text]


Talks = Callable[..., Rehearsal]

STEP = FRAME / SAMPLE_RATE
"""Seconds of a frame."""
LONG = spoken("one two three four five six seven eight", seconds=4.0)


def replying(**options: Any) -> Rehearsal:
    """The user has spoken from 1 s to 2 s, and the reply of 4 s has begun to play at 2.55 s."""
    return Rehearsal(replies=[LONG], **options).hear(1.0).say(1.0).hear(1.0)
