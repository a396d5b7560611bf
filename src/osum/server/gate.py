"""Gate: what every request passes on its way in and out, HTTP and WebSocket alike.

1. In: host, origin and key are checked; a full or stopping server refuses before a body is read.
2. The body is counted and timed as it comes, and so is what a client takes of the answer.
3. Out: the request's id, one line of the access log, and the metrics. No content is ever logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from osum.server.faults import ApiError, api_error
from osum.server.service import Service

OPEN = ("/", "/health", "/ready", "/metrics", "/studio")
"""Paths that need no key; so does what is below `STATIC`."""
STATIC = "/studio/static/"
SAFE = ("GET", "HEAD", "OPTIONS")
CLOSED = {"connection": "close"}
"""Of an answer to a body that is not read to its end."""
ACCESS_LOG = logging.getLogger("osum.server.access")
LOG = logging.getLogger("osum.server")


class Gate:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, receive, send, self._service)
        try:
            try:
                with self._admitted(scope):
                    await self._app(scope, passage.receive, passage.send)
            except Exception as fault:
                await passage.refuse(fault)
        finally:
            passage.log()

    @contextmanager
    def _admitted(self, scope: Scope) -> Iterator[None]:
        """Raise what refuses a request before anything of it is read, or count it while it is answered."""
        headers, access = Headers(scope=scope), self._service.access
        method, path = scope.get("method", "GET"), scope["path"]
        is_socket = scope["type"] == "websocket"
        writes, key = is_socket or method not in SAFE, None
        access.check_place(headers, writes)
        if method != "OPTIONS" and (path.rstrip("/") or "/") not in OPEN and not path.startswith(STATIC):
            key = access.check_key(headers)
        if writes:
            self._service.desk.check()
        size = headers.get("content-length", "")
        if size.isdecimal() and int(size) > self._service.options.max_upload_bytes:
            raise _too_large(self._service.options.max_upload_bytes)
        with self._service.key_places.one(key if writes else None):
            yield


class _Passage:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self._scope, self._receive, self._send, self._service = scope, receive, send, service
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._id = f"req_{uuid.uuid4().hex}"
        self._num_bytes = 0
        self._body_read = False
        self._status: int | None = None
        self._started = False
        self._notes: dict[str, Any] = {}
        """What routes add to the line of the log."""
        scope.setdefault("state", {})["log"] = self._notes

    async def receive(self) -> Message:
        """The next message of the client, its body within the limits of size and time."""
        if self._scope["type"] == "websocket" or self._body_read:
            return await self._receive()
        options = self._service.options
        left = min(options.idle_seconds, options.body_seconds - (self._clock() - self._began))
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise ApiError(408, "the body comes too slowly: send it faster, or a shorter one", headers=CLOSED) from None
        if message["type"] == "http.request":
            self._num_bytes += len(message.get("body", b""))
            self._body_read = not message.get("more_body", False)
        if self._num_bytes > options.max_upload_bytes:
            raise _too_large(options.max_upload_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message to the client, which must take it in time."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._started, self._status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._id
            headers.setdefault("x-content-type-options", "nosniff")
        elif message["type"] == "websocket.accept":
            self._started, self._status = True, 101
        if self._scope["type"] == "websocket":
            await self._send(message)
            return
        try:
            await asyncio.wait_for(self._send(message), self._service.options.idle_seconds)
        except TimeoutError:
            raise ApiError(499, "the client takes nothing of its answer") from None

    async def refuse(self, fault: Exception) -> None:
        """Answer with an error, if the answer has not begun."""
        error = api_error(fault)
        if error.status >= 500 and not isinstance(fault, ApiError):
            LOG.error("request %s failed", self._id, exc_info=fault)
        if self._started:
            self._status = error.status
            if self._scope["type"] == "http":
                raise fault  # the connection is closed, so that a client does not take half for the whole
            return
        response: Any = error.response()
        if self._scope["type"] == "http":
            await response(self._scope, self._receive, self.send)
            return
        if "websocket.http.response" in self._scope.get("extensions", {}):
            await response(self._scope, self._receive, self.send)
        else:
            await self.send({"type": "websocket.close", "code": 1008})

    def log(self) -> None:
        """One line about the request, and its figures."""
        seconds = self._clock() - self._began
        route = getattr(self._scope.get("route"), "path", None)
        status = self._status or 499
        if self._scope["type"] == "http":
            self._service.metrics.latency.labels(route or "unknown").observe(seconds)
            if status >= 400:
                self._service.metrics.failures.labels(str(status)).inc()
        client = self._scope.get("client")
        row = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": self._id,
            "client": client[0] if client else None,
            "method": self._scope.get("method", "WEBSOCKET"),
            "path": route or self._scope["path"][:200],
            "status": status,
            "ms": round(seconds * 1000),
            "bytes_in": self._num_bytes,
            **self._notes,
        }
        ACCESS_LOG.info(json.dumps(row))


def _too_large(most: int) -> ApiError:
    return ApiError(
        413, f"the body is larger than {most} bytes: send a compressed or a shorter recording", "file", headers=CLOSED
    )
