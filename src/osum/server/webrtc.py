"""CallLine: a live talk over WebRTC, by aiortc. Events go over the data channel, sound over two tracks.

1. The client offers a track and a data channel (SDP); the answer is made once the server's own addresses are known.
2. When the channel opens, the talk begins. Frames of the client's track are its microphone.
3. `response.output_audio.delta` is not sent: its sound waits in the server's track, which plays 20 ms at a time, and
   drops it at `output_audio_buffer.cleared`. The client is told when a response begins and ends to play.

Knows nothing of routes. Shapes: S samples.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np
import soxr

from osum.dialogue.live import Samples
from osum.errors import InputError
from osum.server.faults import ApiError, bad
from osum.server.realtime_events import Event
from osum.server.realtime_session import RATE, RealtimeSession, rate_of
from osum.server.realtime_wire import decoded, encoded

FRAME = RATE // 50
"""Samples of a frame of 20 ms."""
CHANNEL = "oai-events"
"""Name of the data channel (serving.md 4.1)."""
WAITS_FOR_CHANNEL = 30.0
"""Seconds in which the client must have connected."""
MAX_BUFFERED = 1 << 20
"""Bytes that may wait in the data channel."""


def library() -> Any:
    """The package aiortc.

    Raises:
        ApiError: 501 where it is not installed.
    """
    try:
        import aiortc
    except ImportError:
        raise ApiError(501, "this server has no WebRTC: pip install 'osum[webrtc]', or use a WebSocket") from None
    return aiortc


class Speaker:
    """The track that a client plays: what it is given, then silence."""

    def __init__(self, aiortc: Any, emptied: Callable[[], None]) -> None:
        self.track = aiortc.AudioStreamTrack()
        self.track.recv = self._frame
        self._emptied = emptied
        self._waiting = bytearray()
        self._begun, self._sent = 0.0, 0

    def play(self, samples: Samples) -> None:
        """More sound (S,) at `RATE`."""
        self._waiting += encoded(samples, "audio/pcm")

    def drop(self) -> None:
        """Play nothing of what waits."""
        self._waiting.clear()

    @property
    def silent(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    async def _frame(self) -> Any:
        """The next 20 ms, when it is time for them."""
        from av import AudioFrame

        self._begun = self._begun or time.monotonic()
        await asyncio.sleep(max(0.0, self._begun + self._sent / RATE - time.monotonic()))
        content = bytes(self._waiting[: 2 * FRAME])
        del self._waiting[: 2 * FRAME]
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(content.ljust(2 * FRAME, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._sent, Fraction(1, RATE)
        self._sent += FRAME
        if content and not self._waiting:
            self._emptied()
        return frame


class CallLine:
    """A WebRTC connection as a `TalkLine`."""

    plays = True

    def __init__(self, session: RealtimeSession) -> None:
        aiortc = library()
        self._session = session
        self._connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self._speaker = Speaker(aiortc, self._check_end)
        self._channel: Any = None
        self._track: Any = None
        self._opened, self._events = asyncio.Event(), asyncio.Queue[str | bytes | None]()
        self._numbers = count(1)
        self._playing: str | None = None
        """Id of the response that is being played."""
        self._whole = False
        """Whether all of its sound was given to the track."""
        self._connection.on("datachannel", self._take_channel)
        self._connection.on("track", self._take_track)
        self._connection.on("connectionstatechange", self._look)

    async def answer(self, offer: str) -> str:
        """The SDP answer to an offer.

        Raises:
            ApiError: 400 for what is no offer of a track and a data channel.
        """
        kinds = [line.split()[0] for line in offer.splitlines() if line.startswith("m=")]
        if sorted(kinds) != ["m=application", "m=audio"]:
            raise bad("the body is no SDP offer of one audio track and one data channel", "sdp")
        try:
            await self._connection.setRemoteDescription(library().RTCSessionDescription(offer, "offer"))
            self._connection.addTrack(self._speaker.track)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as fault:  # aiortc raises many kinds for a text that is none
            await self._connection.close()
            raise bad(f"the SDP offer cannot be answered ({type(fault).__name__})", "sdp") from fault
        return str(self._connection.localDescription.sdp)

    async def connected(self) -> bool:
        """Wait for the data channel; whether it came in time."""
        try:
            await asyncio.wait_for(self._opened.wait(), WAITS_FOR_CHANNEL)
        except TimeoutError:
            return False
        return self._channel is not None

    def hang_up(self) -> None:
        """End the call, as if the client had left."""
        self._events.put_nowait(None)
        self._opened.set()

    # Line

    async def receive(self) -> str | bytes | None:
        """As `Line.receive`."""
        return await self._events.get()

    async def send(self, event: Event) -> None:
        """As `Line.send`; sound goes to the track."""
        match event["type"]:
            case "response.output_audio.delta":
                await self._play(event)
                return
            case "response.output_audio.done":
                self._whole = event["response_id"] == self._playing
            case "output_audio_buffer.cleared":
                self._speaker.drop()
                self._playing = None
        await self._send(event)
        self._check_end()

    async def microphone(self, hear: Callable[[Samples, int], None]) -> None:
        """As `Line.microphone`; what a talk cannot take is dropped."""
        while self._track is not None:
            try:
                frame = await self._track.recv()
            except library().mediastreams.MediaStreamError:
                break
            channels = len(frame.layout.channels)
            mono = frame.to_ndarray().reshape(-1, channels).mean(axis=1) / 32768  # packed 16 bit
            with suppress(InputError):
                hear(mono.astype(np.float32), frame.sample_rate)
        await asyncio.Event().wait()

    async def close(self, number: int, why: str) -> None:  # noqa: ARG002
        """As `Line.close`."""
        await asyncio.sleep(0)  # the last event is on its way
        await self._connection.close()

    # What happens

    async def _play(self, event: Event) -> None:
        form = self._session.known.audio.output.format
        samples, rate = decoded(base64.b64decode(event["delta"]), form.type), rate_of(form)
        self._speaker.play(samples if rate == RATE else soxr.resample(samples, rate, RATE))
        if self._playing != event["response_id"]:
            self._playing, self._whole = event["response_id"], False
            await self._send(self._buffer_event("started"))

    def _check_end(self) -> None:
        """A response has been played when all of its sound was given and none of it waits."""
        if self._playing is not None and self._whole and self._speaker.silent:
            stopped, self._playing = self._buffer_event("stopped"), None
            if self._channel is not None and self._channel.readyState == "open":
                self._channel.send(json.dumps(stopped))

    def _buffer_event(self, what: str) -> Event:
        number = next(self._numbers)
        return {
            "type": f"output_audio_buffer.{what}",
            "event_id": f"event_call_{number}",
            "response_id": self._playing,
        }

    async def _send(self, event: Event) -> None:
        while self._channel is not None and self._channel.readyState == "open":
            if self._channel.bufferedAmount <= MAX_BUFFERED:
                self._channel.send(json.dumps(event))
                return
            await asyncio.sleep(0.02)
        raise ConnectionError("the data channel is closed")

    def _take_channel(self, channel: Any) -> None:
        if self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._events.put_nowait)
        channel.on("close", lambda: self._events.put_nowait(None))
        self._opened.set()

    def _take_track(self, track: Any) -> None:
        self._track = self._track or track

    def _look(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.hang_up()
