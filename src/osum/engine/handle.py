"""Handle: a submitted request as its caller sees it, and Turn: which thread makes the next step.

Knows nothing of the model.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator

from osum.engine.request import EngineReply, Event, Request, Result
from osum.errors import CancelledError


class StepTurn:
    """Lets one thread at a time step, and wakes those that wait for what the step brings.

    1. Whoever waits for something looks whether a step is being made. If so, it sleeps until that step is over.
    2. If not, it makes the step itself, for all requests in flight, and wakes the others.
    3. Whoever has what it waited for leaves, and one that still waits makes the next step.

    Example: threads A and B each wait for a reply. A steps, B sleeps; the step brings B's reply; B leaves, A steps on.

    A lock and no thread of its own: nothing has to be started, stopped or survive a fork; a run over files stays
    lazy; Ctrl-C and faults reach the thread that waits; and a single caller pays one uncontended lock per pass.

    `lock` guards what threads share (inboxes, ends) and is never held while the model works, so that `submit` and
    `cancel` do not wait for a pass.
    """

    def __init__(self, step: Callable[[], None], tidy: Callable[[], None]) -> None:
        self.lock = threading.Condition()
        self._step = step
        self._tidy = tidy
        self._taken = False

    def until(self, ready: Callable[[], object]) -> None:
        """Step, or sleep while another thread steps, until `ready()` is true."""
        while self._step_unless(ready):
            pass

    def once(self) -> None:
        """Make one step as soon as no other thread does."""
        self._step_unless(lambda: False)

    def _step_unless(self, ready: Callable[[], object]) -> bool:
        """Make one step as soon as no other thread does, and say so; not where `ready()` is true before."""
        mine = False
        try:
            with self.lock:
                self.lock.wait_for(lambda: ready() or not self._taken)
                if ready():
                    return False
                mine = self._taken = True  # in this order: Ctrl-C between the two must not leave the turn taken
            self._step()
            return True
        finally:
            if mine:
                with self.lock:
                    self._taken = False
                self.tidy()

    def tidy(self) -> None:
        """Drop what has ended, now or, where a step is being made, behind it."""
        with self.lock:
            if not self._taken:
                self._tidy()
            self.lock.notify_all()


class Handle:
    """A submitted request. It ends exactly once: with all its replies, with a fault, or cancelled.

    Iterating gives its events as they come; `with` cancels what has not ended when the block is left.

    Example:
        >>> with engine.submit(request) as handle:
        ...     for event in handle:
        ...         print(event.ids, event.reply)
    """

    def __init__(self, request: Request, turn: StepTurn) -> None:
        self.request = request
        self._turn = turn
        self._events: deque[Event] = deque()
        self._replies: dict[int, EngineReply] = {}
        self._fault: Exception | None = None
        self._ended = False

    @property
    def id(self) -> Hashable:
        """The request's id."""
        return self.request.id

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    def __iter__(self) -> Iterator[Event]:
        """Events as they come, each given once; after the last one, what prevented the replies is raised."""
        while True:
            self._turn.until(lambda: self._events or self._ended)
            with self._turn.lock:
                event = self._events.popleft() if self._events else None
            if event is None:
                break
            yield event
        self._check()

    @property
    def fresh(self) -> bool:
        """Whether there are events that nobody has taken."""
        return bool(self._events)

    def news(self) -> list[Event]:
        """The events that came since they were last taken, without waiting."""
        with self._turn.lock:
            found = list(self._events)
            self._events.clear()
        return found

    def result(self) -> Result:
        """All replies, as soon as they are there.

        Raises:
            CancelledError: it was cancelled.
            Exception: what prevented a reply.
        """
        self._turn.until(lambda: self._ended)
        self._check()
        return Result(self.id, tuple(self._replies[ask] for ask in range(len(self.request.asks))))

    def cancel(self) -> bool:
        """End it, whatever it is at; False where it has ended already."""
        return self.end(CancelledError(f"request {self.id!r} was cancelled: submit it again"))

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    # For the engine

    def put(self, event: Event) -> None:
        """Give the caller an event; the last reply ends the request, and behind the end nothing is taken."""
        with self._turn.lock:
            if self._ended:
                return
            self._events.append(event)
            if event.reply is not None:
                self._replies[event.ask] = event.reply
            self._ended = len(self._replies) == len(self.request.asks)

    def end(self, fault: Exception) -> bool:
        """End it with a fault; False where it has ended already."""
        with self._turn.lock:
            if self._ended:
                return False
            self._fault, self._ended = fault, True
        self._turn.tidy()
        return True
