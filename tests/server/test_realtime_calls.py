"""`/v1/realtime/calls`: a talk over WebRTC on loopback, aiortc on both sides, offered by the stock `openai` client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import soxr
from openai import APIStatusError, AsyncOpenAI

from osum import audio
from osum.audio import SAMPLE_RATE
from server.realtime_clients import KEY, QUESTION, SAMPLES, SERVER_EVENT, Live, run

aiortc = pytest.importorskip("aiortc")
RATE = 48_000
FRAME = RATE // 50


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    server = Live(max_talks=2)
    yield server
    server.stop()


class Microphone:
    """A track: a short silence, a question, and silence for as long as it is asked."""

    def __init__(self) -> None:
        question = soxr.resample(audio.load(SAMPLES / QUESTION), SAMPLE_RATE, RATE)
        whole = np.concatenate([np.zeros(RATE // 4, np.float32), question])
        self.content = (whole.clip(-1, 1) * 32767).astype("<i2").tobytes()
        self.track = aiortc.AudioStreamTrack()
        self.track.recv = self.recv
        self.sent, self.begun = 0, time.monotonic()

    async def recv(self) -> Any:
        from av import AudioFrame

        await asyncio.sleep(max(0.0, self.begun + self.sent / RATE - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self.content[2 * self.sent : 2 * (self.sent + FRAME)].ljust(2 * FRAME, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, Fraction(1, RATE)
        self.sent += FRAME
        return frame


class Caller:
    """A client's side of a call, which keeps every event and the loudest sample that it was played."""

    def __init__(self) -> None:
        self.connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self.connection.addTrack(Microphone().track)
        self.channel = self.connection.createDataChannel("oai-events")
        self.channel.on("message", self._keep)
        self.connection.on("track", self._take)
        self.events, self.loudest, self.place = list[dict[str, Any]](), 0, ""
        self._playing: asyncio.Future[None] | None = None

    async def dial(self, live: Live, session: dict[str, Any] | None = None, key: str = KEY) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer: Any = {"sdp": self.connection.localDescription.sdp, **({"session": session} if session else {})}
        async with client_of(live, key) as client:
            answer = await client.realtime.calls.create(**offer)
        assert answer.response.status_code == 201
        self.place = answer.response.headers["location"]
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))

    def _keep(self, message: str) -> None:
        event = json.loads(message)
        SERVER_EVENT.validate_python(event)
        self.events.append(event)

    def _take(self, track: Any) -> None:
        self._playing = asyncio.ensure_future(self._play(track))

    async def _play(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except aiortc.mediastreams.MediaStreamError:
                return
            self.loudest = max(self.loudest, int(np.abs(frame.to_ndarray().astype(int)).max()))

    async def until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while True:
                for event in self.events:
                    if event["type"] == kind:
                        return event
                await asyncio.sleep(0.02)


def client_of(live: Live, key: str = KEY) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=live.url, api_key=key, max_retries=0)


@asynccontextmanager
async def calling(live: Live, session: dict[str, Any] | None = None) -> AsyncIterator[Caller]:
    caller = Caller()
    try:
        await caller.dial(live, session)
        await caller.until("session.created")
        yield caller
    finally:
        await caller.connection.close()


async def free(live: Live) -> bool:
    """Whether all places are free again in a while."""
    until = time.monotonic() + 60
    while live.talks and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return live.talks == 0


def test_a_question_is_answered_aloud_on_the_servers_track(live: Live) -> None:
    session = {"type": "realtime", "instructions": "be brief"}

    async def call() -> Caller:
        async with calling(live, session) as caller:
            await caller.until("output_audio_buffer.stopped")
            assert caller.events[0]["session"]["instructions"] == "be brief"
            return caller

    caller = run(call())
    kinds = [event["type"] for event in caller.events]
    assert "response.output_audio.delta" not in kinds
    order = ["session.created", "input_audio_buffer.speech_started", "input_audio_buffer.committed", "response.created",
             "output_audio_buffer.started", "output_audio_buffer.stopped"]  # fmt: skip
    assert [kind for kind in kinds if kind in order][: len(order)] == order
    (stopped,) = (event for event in caller.events if event["type"] == "output_audio_buffer.stopped")
    assert stopped["response_id"] == "resp_1" and caller.loudest > 1_000


def test_a_reply_can_be_cleared(live: Live) -> None:
    async def call() -> list[str]:
        async with calling(live) as caller:
            await caller.until("output_audio_buffer.started")
            caller.channel.send(json.dumps({"type": "output_audio_buffer.clear"}))
            await caller.until("output_audio_buffer.cleared")
            return [event["type"] for event in caller.events]

    assert "error" not in run(call())


def test_hanging_up_ends_a_call_and_frees_its_place(live: Live) -> None:
    async def call() -> tuple[int, int]:
        async with calling(live) as caller, client_of(live) as client:
            name = caller.place.rsplit("/", 1)[-1]
            await client.realtime.calls.hangup(name)
            assert await free(live)
            with pytest.raises(APIStatusError) as gone:
                await client.realtime.calls.hangup(name)
        async with calling(live):  # this one just leaves
            open_calls = live.talks
        assert await free(live)
        return gone.value.status_code, open_calls

    assert run(call()) == (404, 1)


def test_a_call_too_many_is_refused(live: Live) -> None:
    async def call() -> tuple[int, str | None]:
        late = Caller()
        async with calling(live), calling(live):
            with pytest.raises(APIStatusError) as refused:
                await late.dial(live)
        await late.connection.close()
        assert await free(live)
        return refused.value.status_code, refused.value.code

    assert run(call()) == (503, "sessions_full")


VIDEO = "v=0\r\nm=audio 9 RTP/AVP 0\r\nm=video 9 RTP/AVP 96\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
HALF = "v=0\r\nm=audio 9 RTP/AVP 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.parametrize("offer", ["", "hello", VIDEO, HALF, "m=audio\n" * 10_000])
def test_what_is_no_offer_is_refused_and_takes_no_place(live: Live, offer: str) -> None:
    async def call() -> int:
        async with client_of(live) as client:
            with pytest.raises(APIStatusError) as refused:
                await client.realtime.calls.create(sdp=offer)
        return refused.value.status_code

    assert run(call()) == 400 and live.talks == 0
