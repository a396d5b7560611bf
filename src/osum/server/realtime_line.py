"""TalkLine: what carries the events of one live talk between a client and `RealtimeTalk`; here over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from osum.dialogue.live import Samples
from osum.server.realtime_events import Event


class TalkLine(Protocol):
    """Carries events, in order."""

    plays: bool
    """Whether the server plays replies itself; else it sends their sound as events, and the client plays them."""

    async def receive(self) -> str | bytes | None:
        """The client's next event; None once it has left."""

    async def send(self, event: Event) -> None:
        """Send an event, as soon as the client takes it.

        Raises:
            ConnectionError: the client has left.
        """

    async def microphone(self, hear: Callable[[Samples, int], None]) -> None:
        """Hand on sound (S,) and its rate that does not come as events; never ends by itself."""

    async def close(self, number: int, why: str) -> None:
        """End the connection, with a close code of WebSocket."""


class SocketLine:
    """A WebSocket."""

    plays = False

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes | None:
        """As `TalkLine.receive`."""
        try:
            message = await self._socket.receive()
        except WebSocketDisconnect:
            return None
        if message["type"] == "websocket.disconnect":
            return None
        return message.get("text") or message.get("bytes") or ""

    async def send(self, event: Event) -> None:
        """As `TalkLine.send`."""
        try:
            await self._socket.send_text(json.dumps(event))
        except (RuntimeError, WebSocketDisconnect) as fault:
            raise ConnectionError("the client has left") from fault

    async def microphone(self, hear: Callable[[Samples, int], None]) -> None:  # noqa: ARG002
        """As `TalkLine.microphone`: all sound comes as events here."""
        await asyncio.Event().wait()

    async def close(self, number: int, why: str) -> None:
        """As `TalkLine.close`."""
        await self._socket.close(number, why)
