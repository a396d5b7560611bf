"""A server of chat completions on 127.0.0.1, with every fault that a test wants of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = (100, 20)
"""Of every question and every answer."""


@dataclass(frozen=True)
class Says:
    """One response."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Before each piece."""
    piece: int = 1 << 20


def completion(text: str | Mapping[str, Any], tokens: tuple[int, int] | None = TOKENS, **message: Any) -> Says:
    content = text if isinstance(text, str) else json.dumps(text)
    finished = message.pop("finish_reason", "stop")
    body: dict[str, Any] = {
        "model": "stub-1",
        "choices": [{"message": {"content": content, **message}, "finish_reason": finished}],
    }
    if tokens:
        body["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), tokens, strict=True))
    return Says(json.dumps(body).encode())


def fault(status: int, message: str = "no", **headers: str) -> Says:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Says(json.dumps({"error": {"message": message}}).encode(), status, named)


class Server(ThreadingHTTPServer):
    """Answers with the responses of its script, one after the other, and then as `answer` says."""

    daemon_threads = False  # closing it waits for them, so that no socket stays open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Says] = []
        self.answer: Callable[[dict[str, Any]], Says] = lambda _: completion({"answer": "yes"})
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Message] = []
        self.closing, self.lock = threading.Event(), threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.headers.append(self.headers)  # names in any case
            says = self.server.script.pop(0) if self.server.script else None
        says = says or self.server.answer(body)
        if self.path != "/v1/chat/completions":
            says = fault(404, f"no {self.path}")
        with suppress(ConnectionError):  # a client may have had enough
            self.server.closing.wait(says.seconds)
            self.send_response(says.status)
            for name, value in says.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(says.body), says.piece):
                self.wfile.write(says.body[start : start + says.piece])
                self.server.closing.wait(says.seconds)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def nobody() -> str:
    """An address where nobody answers."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{place.getsockname()[1]}/v1"
