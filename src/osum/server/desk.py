"""Desk: which requests run, in which thread, and until when. Knows nothing of what they ask.

1. A request gets a place, waits for one in a bounded queue, or is refused with 503.
2. Its work runs in a thread, never on the event loop. All threads share one engine, which batches what they ask.
3. A client that is gone, or a deadline, sets the work's `Stop`, which ends it behind the engine's next pass. The place
   is free when the thread has ended, so that no more work runs than was admitted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from starlette.requests import Request

from osum.errors import CancelledError
from osum.server.faults import NO_RETRY, RETRY_AFTER, ApiError

T = TypeVar("T")


class Stop:
    """Says to the thread of a request that nobody wants its answer any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """End the work soon."""
        self._event.set()

    def check(self) -> None:
        """Raise `CancelledError` where the work shall end."""
        if self():
            raise CancelledError("nobody waits for this answer any more")


class Desk:
    """The places of one server, and the threads that work at them."""

    def __init__(self, max_running: int, max_waiting: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(max_running, "osum")
        self._free = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self.running = 0
        self.waiting = 0
        self.draining = False
        """Whether the server is about to stop, and takes nothing new."""
        self.waited: Callable[[float], None] = lambda _: None
        """Is given the seconds that a request has waited for its place."""
        self.refused: Callable[[str], None] = lambda _: None
        """Is given the reason why a request got no place."""

    @property
    def full(self) -> bool:
        """Whether a request would be refused now."""
        return self.draining or (self._free.locked() and self.waiting >= self._max_waiting)

    def check(self) -> None:
        """Refuse a request before its body is read.

        Raises:
            ApiError: 503.
        """
        if self.draining:
            self.refused("draining")
            raise ApiError(503, "this server is about to stop: ask another, or again", headers=RETRY_AFTER)
        if self.full:
            self.refused("queue_full")
            raise ApiError(503, "too many requests wait already: ask again", code="queue_full", headers=RETRY_AFTER)

    async def run(self, request: Request, work: Callable[[Stop], T]) -> T:
        """The result of `work`, done in a thread while its client waits.

        Raises:
            ApiError: 503 where there is no place, 504 at the deadline, 499 where the client is gone.
        """
        deadline = time.monotonic() + self._seconds
        async with _watched(request) as gone, self._place(gone, deadline):
            stop = Stop()
            job = asyncio.get_running_loop().run_in_executor(self._threads, work, stop)
            try:
                await _first(job, gone, deadline)
                if job.done():
                    return job.result()
            finally:
                stop.set()
                await _ended(job)
            raise _why(gone)

    async def stream(self, request: Request, work: Callable[[Stop, Callable[[T], None]], None]) -> AsyncIterator[T]:
        """What `work` gives to its second argument, while its client takes it; then what `work` raises.

        Raises:
            ApiError: as `run` does.
        """
        deadline = time.monotonic() + self._seconds
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[T | None] = asyncio.Queue()  # bounded by what one answer holds

        def put(item: T | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        async with _watched(request) as gone, self._place(gone, deadline):
            stop = Stop()
            job = loop.run_in_executor(self._threads, work, stop, put)
            job.add_done_callback(lambda _: queue.put_nowait(None))
            try:
                while True:
                    next_item = asyncio.ensure_future(queue.get())
                    await _first(next_item, gone, deadline)
                    if not next_item.done():
                        next_item.cancel()
                        raise _why(gone)
                    item = next_item.result()
                    if item is None:
                        break
                    yield item
                job.result()
            finally:
                stop.set()
                await _ended(job)

    @asynccontextmanager
    async def _place(self, gone: asyncio.Future[None], deadline: float) -> AsyncIterator[None]:
        self.check()
        began, self.waiting = time.monotonic(), self.waiting + 1
        turn = asyncio.ensure_future(self._free.acquire())
        try:
            await _first(turn, gone, deadline)
            if not turn.done():
                raise _why(gone)
        except BaseException:
            if not turn.cancel():  # it came at the same moment
                self._free.release()
            raise
        finally:
            self.waiting -= 1
        self.running += 1
        self.waited(time.monotonic() - began)
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """Is done when the client of a request has left; its body must have been read."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        yield gone
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _first(wanted: asyncio.Future[Any], gone: asyncio.Future[None], deadline: float) -> None:
    """Until there is what is wanted, or the client has left, or the deadline is over."""
    waited: set[asyncio.Future[Any]] = {wanted, gone}
    await asyncio.wait(waited, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)


async def _ended(job: asyncio.Future[T]) -> None:
    """Wait for a thread even if this task is cancelled meanwhile: its place is taken as long as it works."""
    while not job.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({job})
    if not job.cancelled():
        job.exception()  # so that nobody complains that it was never looked at


def _why(gone: asyncio.Future[None]) -> ApiError:
    if gone.done():
        return ApiError(499, "the client has left")
    return ApiError(504, "the answer took too long: send a shorter recording", code="timeout", headers=NO_RETRY)
