"""Live: runs a talk in real time, on threads of its own. Sound in, events out.

1. One thread owns the talk. It takes what came, in order: first what the parts have finished, then what the user sent.
2. What a talk orders (a judgement, a reply, a transcript) is done by other threads, which bring the result back.
3. Sound that comes faster than it was spoken waits while the policy is asked, so that its answer is not about the past:
   a file that is sent at once is understood as if it had been spoken.

Parts hold weights and serve many talks. Knows nothing of wire formats. Shapes: S samples.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from osum.audio import MAX_RATE, MIN_RATE, SAMPLE_RATE
from osum.dialogue.conversation import Messages
from osum.dialogue.hearing import cut_into
from osum.dialogue.news import Abort, Begin, Broke, Came, Event, Judge, Judged, News, Noted, Order, Part, Sound, Tick
from osum.dialogue.taking_turns import advance
from osum.dialogue.talk import Talk, TalkRules, begin
from osum.dialogue.talker import Piece
from osum.dialogue.turn_policy import TurnPolicy
from osum.errors import InputError, OsumError
from osum.listening.vad import FRAME, Detector

Samples = NDArray[np.float32]
_log = logging.getLogger(__name__)

Settled = Callable[[OsumError | None], None]
MAX_WAITING = 60.0
"""Seconds of sound that may wait to be looked at; what comes then is refused."""
THREADS = 8
"""That do what one talk orders: a reply that was given up may still end its pass."""
TICK = 0.02
"""Seconds after which time is looked at where nothing comes."""
AHEAD = 0.25
"""Seconds that sound may be ahead of the clock before it waits for the policy."""


class Generator(Protocol):
    """Writes and speaks replies; `Talker` is one."""

    def stream_reply(self, conversation: Messages, options: Any = None, /) -> Iterator[Piece]:
        """Yield a reply as it comes, the whole `Reply` last. `close()` on the stream stops it.

        Raises:
            OsumError: a conversation that cannot be replied to.
        """


class Writer(Protocol):
    """Writes down what a user has said; such as a recognizer's `transcribe`."""

    def __call__(self, samples: Samples, last: bool, /) -> tuple[str | None, Any]:
        """Text of a clip (S,) at 16 kHz, and all that is known of it; `last` is false of a part of a long turn."""


@dataclass(frozen=True)
class Parts:
    """What a talk is done with."""

    detector: Detector[Any]
    policy: TurnPolicy
    generator: Generator
    writer: Writer | None = None
    """None writes nothing down."""


@dataclass(eq=False)
class Microphone:
    """Sound of any rate and block size, to 16 kHz."""

    rate: int
    _resampler: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise InputError(f"a rate of {self.rate} Hz: {MIN_RATE} to {MAX_RATE} can be resampled")
        same = self.rate == SAMPLE_RATE
        self._resampler = None if same else soxr.ResampleStream(self.rate, SAMPLE_RATE, 1, dtype="float32")

    def take(self, samples: Samples) -> Samples:
        """What is certain at 16 kHz after more samples (S,)."""
        if self._resampler is None:
            return samples
        return np.asarray(self._resampler.resample_chunk(samples), dtype=np.float32)


class LiveTalk:
    """A talk as it happens.

    Example:
        >>> with LiveTalk(parts, TalkRules(), print) as talk:
        ...     talk.hear(samples)
    """

    def __init__(
        self,
        parts: Parts,
        rules: TalkRules,
        listener: Callable[[Event, float], None],
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; `listener` is given each event and its time, one after the other, by the talk's own thread."""
        self.parts, self.listener, self.clock = parts, listener, clock
        self.talk: Talk = begin(rules, parts.detector)
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(THREADS, "osum-talk")
        self._changed = threading.Condition()
        self._done: deque[News] = deque()
        self._sent: deque[tuple[News | TalkRules, Settled]] = deque()
        self._waiting = 0  # samples
        self._aborted: set[int] = set()
        self._closed = False
        self._begun = clock()
        self._thread = threading.Thread(target=self._run, name="osum-talk", daemon=True)
        self._thread.start()

    def hear(self, samples: Samples, reference: Samples | None = None) -> None:
        """More of the microphone (S,) at 16 kHz, of any length.

        Raises:
            InputError: a minute of sound waits already; this is not taken.
        """
        with self._changed:
            if (self._waiting + len(samples)) / SAMPLE_RATE > MAX_WAITING:
                raise InputError(f"more than {MAX_WAITING:.0f} s of sound wait: send it as fast as it is spoken")
            self._waiting += len(samples)
        for at, piece in enumerate(cut_into(samples, FRAME)):
            played = None if reference is None else reference[at * FRAME : (at + 1) * FRAME]
            self._send(Sound(piece, played), _ignore)

    def tell(self, news: News | TalkRules, settled: Settled | None = None) -> None:
        """Something happens behind all sound that was sent before.

        `settled` is called by the talk's own thread: with None once it has happened, else with why it cannot. New
        `TalkRules` count from then on.
        """
        self._send(news, settled or _ignore)

    def close(self) -> None:
        """End the talk, whatever it is at."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._own:
            self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def idle(self) -> bool:
        """Whether nothing that was sent waits to be looked at."""
        return not self._sent and not self._done

    def __enter__(self) -> LiveTalk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The talk's own thread

    def _send(self, news: News | TalkRules, settled: Settled) -> None:
        with self._changed:
            self._sent.append((news, settled))
            self._changed.notify_all()

    def _bring(self, news: News) -> None:
        with self._changed:
            self._done.append(news)
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._closed:
            news, settled = self._next()
            try:
                self._advance(news)
                settled(None)
            except OsumError as fault:
                settled(fault)
            except Exception:
                _log.exception("a talk could not take %s", type(news).__name__)
                settled(OsumError("this failed: the log says why"))
        self._aborted.update(range(self.talk.replies + 1))

    def _next(self) -> tuple[News | TalkRules, Settled]:
        """What comes next; a tick where nothing does for a moment."""
        with self._changed:
            if not self._done and (not self._sent or self._must_wait()):
                self._changed.wait(TICK)
            if self._done:
                return self._done.popleft(), _ignore
            if not self._sent or self._must_wait():
                return Tick(), _ignore
            news, settled = self._sent.popleft()
            if isinstance(news, Sound):
                self._waiting -= len(news.samples)
            return news, settled

    def _must_wait(self) -> bool:
        """Whether sound is ahead of the clock while the policy is asked."""
        asked = self.talk.user is not None and self.talk.user.question is not None
        ahead = self.talk.clock / SAMPLE_RATE - (self.clock() - self._begun)
        return asked and ahead > AHEAD and isinstance(self._sent[0][0], Sound)

    def _advance(self, news: News | TalkRules) -> None:
        if isinstance(news, TalkRules):
            self.talk = replace(self.talk, rules=news)
            return
        now = self.clock()
        todo: list[News] = [news]
        while todo:
            self.talk, out = advance(self.talk, todo.pop(0), now, self.parts.detector)
            for output in out:
                if isinstance(output, Order):
                    todo += self._order(output)
                else:
                    self.listener(output, now)

    # What is ordered

    def _order(self, order: Order) -> list[News]:
        """Have it done; what needs no work is done at once."""
        if isinstance(order, Judge) and self.parts.policy.instant:
            return [Judged(order.question, self.parts.policy.judge(order.evidence))]
        if isinstance(order, Abort):
            self._aborted.add(order.reply)
        elif isinstance(order, Judge):
            self._executor.submit(self._judge, order)
        elif isinstance(order, Begin):
            self._executor.submit(self._generate, order)
        elif self.parts.writer is not None:
            self._executor.submit(self._note, order)
        return []

    def _judge(self, order: Judge) -> None:
        try:
            judgement = self.parts.policy.judge(order.evidence)
        except Exception:
            _log.exception("the turn policy failed")
            judgement = None
        self._bring(Judged(order.question, judgement))

    def _generate(self, order: Begin) -> None:
        try:
            stream: Any = self.parts.generator.stream_reply(order.messages, order.options)
            with closing(stream):
                for piece in stream:
                    if order.reply in self._aborted or self._closed:
                        return
                    self._bring(Came(order.reply, piece))
        except Exception as fault:
            if not isinstance(fault, OsumError):
                _log.exception("a reply failed")
            why = str(fault) if isinstance(fault, OsumError) else "the reply failed: try again"
            self._bring(Broke(order.reply, why))

    def _note(self, order: Part) -> None:
        assert self.parts.writer is not None
        try:
            text, found = self.parts.writer(order.samples, order.last)
        except Exception as fault:
            if not isinstance(fault, OsumError):
                _log.exception("a transcript failed")
            text, found = None, fault
        self._bring(Noted(order.turn, order.part, text, order.last, found))


def _ignore(fault: OsumError | None) -> None:
    if fault is not None:
        _log.debug("refused: %s", fault)
