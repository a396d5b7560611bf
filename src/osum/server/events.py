"""EventStream: server-sent events. An error before the first one has its own status; a later one is the last event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from osum.server.faults import api_error
from osum.text import to_json

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""A proxy must pass each event on as it comes."""


class EventStream(StreamingResponse):
    """Events `data: {...}`, then `data: [DONE]`; what makes them ends when the client leaves."""

    def __init__(self, events: AsyncIterator[dict[str, Any]], first: dict[str, Any] | None) -> None:
        self._events = events
        super().__init__(self._lines(first), media_type="text/event-stream", headers=HEADERS)

    @classmethod
    async def begun(cls, events: AsyncIterator[dict[str, Any]]) -> EventStream:
        """A stream whose first event is there, so that what fails before it is answered with a status.

        Raises:
            Exception: what prevents the first event.
        """
        return cls(events, await anext(events, None))

    async def _lines(self, first: dict[str, Any] | None) -> AsyncIterator[str]:
        try:
            if first is not None:
                yield _line(first)
            async for event in self._events:
                yield _line(event)
        except Exception as fault:
            yield _line(api_error(fault).body())
            return
        yield "data: [DONE]\n\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and end what makes them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()  # type: ignore[attr-defined]


def _line(event: dict[str, Any]) -> str:
    return f"data: {to_json(event)}\n\n"
