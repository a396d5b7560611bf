"""A realtime server in this process, and raw clients that keep every event."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import uvicorn
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect as dial

import osum
from osum import audio
from osum.audio import SAMPLE_RATE
from osum.server.app import create_app
from osum.server.options import ServerOptions

SAMPLES = Path(__file__).parents[2] / "samples"
KEY = "sk-test-1234567890"
RATE = 24_000
QUESTION = "en_child_girl.flac"
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
READ = {**MANUAL, "output_modalities": ["text"]}


class Live:
    """A server in a thread of this process."""

    def __init__(self, **limits: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.app = create_app({"nano": _nano()}, ServerOptions(api_keys=(KEY,), port=self.port, **limits))
        how: Any = {
            "ws": "websockets-sansio",
            "ws_max_size": 4 * 2**20,
            "ws_per_message_deflate": False,
        }  # as in `serve`
        config = uvicorn.Config(self.app, port=self.port, log_config=None, **how)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def talks(self) -> int:
        return int(self.app.state.service.realtime.talks)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


@cache
def _nano() -> Any:
    return osum.load("nano")


def pcm(name: str = QUESTION, silence: float = 1.0, rate: int = RATE) -> bytes:
    """A clip between silences, as a client sends it."""
    blank = np.zeros(round(silence * rate), np.float32)
    clip = soxr.resample(audio.load(SAMPLES / name), SAMPLE_RATE, rate)
    return (np.concatenate([blank, clip, blank]).clip(-1, 1) * 32767).astype("<i2").tobytes()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def append(content: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64_of(content)}


class Client:
    """A raw client that keeps every event, each checked against the SDK's own types."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.events = socket, list[dict[str, Any]]()

    async def send(self, *events: dict[str, Any] | str) -> None:
        for event in events:
            await self.socket.send(event if isinstance(event, str) else json.dumps(event))

    async def until(self, *kinds: str, seconds: float = 30) -> dict[str, Any]:
        """The next event of one of these types."""
        async with asyncio.timeout(seconds):
            while True:
                event = json.loads(await self.socket.recv())
                assert event["event_id"]
                asks_ours = "osum." in str((event.get("session") or {}).get("include"))
                if not (event["type"].startswith("osum.") or asks_ours):  # no strict client is sent what is ours
                    SERVER_EVENT.validate_python(event)
                self.events.append(event)
                if event["type"] in kinds:
                    return event

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class Talking:
    """`async with` a raw client of a server."""

    def __init__(
        self, live: Live, session: dict[str, Any] | None = None, query: str = "model=nano", key: str = KEY
    ) -> None:
        self.live, self.session, self.query, self.key = live, session, query, key

    async def __aenter__(self) -> Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"ws://127.0.0.1:{self.live.port}/v1/realtime?{self.query}"
        self._dialling = dial(url, additional_headers=headers, max_size=None)
        client = Client(await self._dialling.__aenter__())
        await client.until("session.created")
        if self.session is not None:
            await client.send({"type": "session.update", "session": self.session})
            await client.until("session.updated")
        return client

    async def __aexit__(self, *fault: Any) -> None:
        await self._dialling.__aexit__(*fault)


def run(job: Any) -> Any:
    return asyncio.run(job)
