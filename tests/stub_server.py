"""A server on 127.0.0.1 whose responses a test writes, with every fault that real ones have."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

S = TypeVar("S", bound=ThreadingHTTPServer)


@dataclass(frozen=True)
class Says:
    """One response."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Before each piece."""
    piece: int = 1 << 20


class Server(ThreadingHTTPServer):
    """Answers what is posted to one path with the responses of its script, and then as `answer` says."""

    daemon_threads = False  # closing it waits for them, so that no socket stays open

    def __init__(self, path: str, answer: Callable[[dict[str, Any]], Says]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.path, self.answer = path, answer
        self.script: list[Says] = []
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
        if self.path != self.server.path:
            says = Says(json.dumps({"error": {"message": f"no {self.path}"}}).encode(), 404)
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
def serving(server: S) -> Iterator[S]:
    """A server in a thread, until the block is left."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            if isinstance(server, Server):
                server.closing.set()
            server.shutdown()
            thread.join()
