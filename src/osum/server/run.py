"""serve: run an app until a signal stops it; it says so, and ends when its requests are finished."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from osum.server.options import ServerOptions
from osum.server.service import Service

LOG = logging.getLogger("osum.server")
MAX_SOCKET_BYTES = 4 * 2**20
"""Of one message of a WebSocket."""


class TimedHeads(H11Protocol):
    """HTTP whose heads must come in time: of a request whose head has not ended, nothing else counts the seconds."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, or no longer where it has ended."""
        super().data_received(data)
        ended = self.conn.their_state is not h11.IDLE
        if ended and self._late is not None:
            self._late.cancel()
            self._late = None
        elif not ended and self._late is None:
            self._expect()

    def _expect(self) -> None:
        options: ServerOptions = self.config.app.state.service.options  # type: ignore[union-attr]
        self._late = self.loop.call_later(options.idle_seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()


class StoppableServer(uvicorn.Server):
    """A server that says that it is about to stop before it no longer listens."""

    def __init__(self, app: FastAPI, started: Callable[[int], None] = lambda _: None) -> None:
        self._service: Service = app.state.service
        self._started = started
        options = self._service.options
        super().__init__(
            uvicorn.Config(
                app,
                host=options.host,
                port=options.port,
                log_config=None,
                access_log=False,
                server_header=False,
                http=TimedHeads,
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # sound in base64 hardly becomes smaller, and it takes the loop's time
                ws_max_size=MAX_SOCKET_BYTES,
                timeout_graceful_shutdown=round(options.stop_seconds),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say at which port."""
        await super().startup(sockets)
        if not self.should_exit:
            self._started(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At the first signal refuse new work; stop listening when a balancer has had time to see it."""
        desk, wait = self._service.desk, self._service.options.drain_seconds
        again, desk.draining = desk.draining, True
        if again or sig == signal.SIGINT or not wait:
            super().handle_exit(sig, frame)
            return
        LOG.info("stopping in %g s: refusing new requests", wait)
        asyncio.get_running_loop().call_later(wait, super().handle_exit, sig, frame)

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Wait for what runs, and say what was not finished."""
        desk = self._service.desk
        LOG.info("stopping: %d requests run, %d wait", desk.running, desk.waiting)
        await super().shutdown(sockets)  # type: ignore[arg-type]
        left = desk.running + desk.waiting
        LOG.info("stopped%s", f", {left} requests were not finished" if left else ", nothing was left unfinished")


def serve(app: FastAPI, started: Callable[[int], None] = lambda _: None) -> None:
    """Run an app until SIGTERM or Ctrl-C; `started` is given the port when it listens."""
    StoppableServer(app, started).run()
