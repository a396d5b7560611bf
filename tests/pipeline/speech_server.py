"""A server of `/v1/audio/speech` on 127.0.0.1 that speaks tones, and fails like real ones."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import soundfile

RATE = 24_000


def tone(text: str) -> bytes:
    """As many seconds of a tone as there are tenths of letters."""
    file = io.BytesIO()
    samples = 0.2 * np.sin(2 * np.pi * (200 + len(text)) * np.arange(RATE * max(len(text), 3) // 20) / RATE)
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, bytes]] = []
        """Status and body of the next answers; tones after them."""
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append({**body, "path": self.path})
            status, content = self.server.script.pop(0) if self.server.script else (200, tone(body["input"]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def speaking() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
