"""`/v1/realtime` against a real server on loopback: the stock `openai` client, and raw messages that no SDK sends."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import uvicorn
from dialogue.tiny_network import network
from openai import AsyncOpenAI, OpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidStatus

import osum
from osum import audio
from osum.audio import SAMPLE_RATE
from osum.server import g711
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


_MODELS: dict[str, Any] = {}


def _nano() -> Any:
    return _MODELS.setdefault("nano", osum.load("nano"))


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    server = Live()
    yield server
    server.stop()


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


# A turn by voice


def test_a_spoken_turn_is_answered_in_the_order_that_clients_know(live: Live) -> None:
    async def talk() -> Client:
        session = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}
        async with Talking(live, session) as client:
            await client.send(append(pcm()))
            await client.until("response.done")
            if "conversation.item.input_audio_transcription.completed" not in client.kinds():
                await client.until("conversation.item.input_audio_transcription.completed")
            return client

    client = run(talk())
    order = [kind for kind in client.kinds() if not kind.endswith(".delta") and "transcription" not in kind]
    assert order == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    (done,) = client.of("response.done")
    assert done["response"]["status"] == "completed"
    sound = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
    assert len(sound) / 2 / RATE > 0.5
    said = "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))
    assert said == client.of("response.output_audio_transcript.done")[0]["transcript"] != ""
    user = client.of("conversation.item.added")[0]["item"]
    assert user["content"] == [{"type": "input_audio", "transcript": None}]
    (written,) = client.of("conversation.item.input_audio_transcription.completed")
    assert written["item_id"] == user["id"] and written["usage"]["type"] == "duration"
    started, stopped = client.of("input_audio_buffer.speech_started"), client.of("input_audio_buffer.speech_stopped")
    assert 500 <= started[0]["audio_start_ms"] < stopped[0]["audio_end_ms"] <= 5_000


def test_labels_of_the_voice_come_on_a_known_event(live: Live) -> None:
    async def talk() -> dict[str, Any]:
        session = {"type": "realtime", "include": ["osum.labels"], "output_modalities": ["text"]}
        async with Talking(live, session) as client:
            await client.send(append(pcm()))
            return await client.until("conversation.item.input_audio_transcription.completed")

    labels = run(talk())["osum"]["labels"]
    assert {"SER", "SGC", "SAP"} <= set(labels) and labels["SGC"]["label"] in ("female", "male")


def test_an_interruption_ends_the_response_before_speech_starts(live: Live) -> None:
    async def talk() -> Client:
        async with Talking(live) as client:
            await client.send(append(pcm()))
            await client.until("response.output_audio.delta")
            await client.send(append(pcm("en_child_boy.flac", silence=0.0)))
            while len(client.of("input_audio_buffer.speech_started")) < 2:
                await client.until("input_audio_buffer.speech_started")
            reply = client.of("response.output_item.added")[0]["item"]["id"]
            cut = {"type": "conversation.item.truncate", "item_id": reply, "content_index": 0, "audio_end_ms": 300}
            await client.send(cut, {"type": "conversation.item.retrieve", "item_id": reply})
            await client.until("conversation.item.retrieved")
            return client

    client = run(talk())
    kinds = client.kinds()
    second = [at for at, kind in enumerate(kinds) if kind == "input_audio_buffer.speech_started"][1]
    assert kinds.index("response.done") < second < kinds.index("conversation.item.truncated")
    ended = [event["response"]["id"] for event in client.of("response.done")]
    assert len(ended) == len(set(ended))  # once each, whether it was written already or not
    whole = client.of("response.output_audio_transcript.done")[0]["transcript"]
    (kept,) = client.of("conversation.item.retrieved")[0]["item"]["content"]
    assert kept["type"] == "output_audio" and whole.startswith(kept["transcript"]) and kept["transcript"] != whole


def test_music_is_no_turn(live: Live) -> None:
    async def talk() -> Client:
        async with Talking(live, {"type": "realtime", "output_modalities": ["text"]}) as client:
            await client.send(append(pcm("no_voice_rain.flac")), {"type": "response.cancel", "event_id": "x"})
            await client.until("error")
            return client

    assert "input_audio_buffer.committed" not in run(talk()).kinds()


# Push to talk and text


def test_push_to_talk_commits_and_answers_when_asked(live: Live) -> None:
    async def talk() -> Client:
        async with Talking(live, READ) as client:
            await client.send(append(pcm()), {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
            await client.until("response.done")
            return client

    client = run(talk())
    assert "input_audio_buffer.speech_started" not in client.kinds()
    assert client.of("input_audio_buffer.committed") and client.of("response.output_text.done")[0]["text"]
    assert not client.of("response.output_audio.delta")


def test_what_is_cleared_cannot_be_committed(live: Live) -> None:
    async def talk() -> dict[str, Any]:
        async with Talking(live, READ) as client:
            await client.send(append(pcm()), {"type": "input_audio_buffer.clear"})
            await client.until("input_audio_buffer.cleared")
            await client.send({"type": "input_audio_buffer.commit", "event_id": "mine"})
            return await client.until("error")

    error = run(talk())["error"]
    assert error["code"] == "input_audio_buffer_commit_empty" and error["event_id"] == "mine"


def test_items_are_created_retrieved_and_deleted(live: Live) -> None:
    def text(name: str, said: str, **more: Any) -> dict[str, Any]:
        item = {"type": "message", "id": name, "role": "user", "content": [{"type": "input_text", "text": said}]}
        return {"type": "conversation.item.create", "item": item, **more}

    async def talk() -> Client:
        async with Talking(live, READ) as client:
            await client.send(text("a", "one"), text("b", "two"), text("c", "zero", previous_item_id="root"))
            await client.send({"type": "conversation.item.retrieve", "item_id": "b"})
            await client.until("conversation.item.retrieved")
            await client.send({"type": "conversation.item.delete", "item_id": "b"})
            await client.until("conversation.item.deleted")
            await client.send({"type": "conversation.item.retrieve", "item_id": "b"})
            await client.until("error")
            return client

    client = run(talk())
    added = [(event["item"]["id"], event["previous_item_id"]) for event in client.of("conversation.item.added")]
    assert added == [("a", None), ("b", "a"), ("c", None)]
    assert client.of("conversation.item.retrieved")[0]["item"]["content"] == [{"type": "input_text", "text": "two"}]
    assert client.of("error")[0]["error"]["code"] == "item_retrieve_invalid_item_id"


def test_a_clip_is_an_item_and_is_answered_outside_the_conversation(live: Live) -> None:
    clip = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": base64_of(pcm(silence=0.1))}],
    }

    async def talk() -> Client:
        async with Talking(live, READ) as client:
            asked = {"input": [clip], "conversation": "none", "metadata": {"purpose": "test"}}
            await client.send({"type": "response.create", "response": asked})
            done = await client.until("response.done")
            assert done["response"]["metadata"] == {"purpose": "test"} and done["response"]["status"] == "completed"
            await client.send({"type": "response.create", "event_id": "again"})
            await client.until("error")  # nothing of it was remembered
            return client

    assert run(talk()).of("error")[0]["error"]["event_id"] == "again"


def test_what_the_model_cannot_answer_fails_in_words(live: Live) -> None:
    async def talk() -> dict[str, Any]:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        async with Talking(live, READ) as client:
            await client.send({"type": "conversation.item.create", "item": item}, {"type": "response.create"})
            return await client.until("response.done")

    response = run(talk())["response"]
    assert (
        response["status"] == "failed" and "replies to speech alone" in response["status_details"]["error"]["message"]
    )


# Sessions


def test_names_of_others_are_replaced_and_what_is_not_known_is_echoed(live: Live) -> None:
    asked = {
        "type": "realtime",
        "model": "gpt-realtime-2.1",
        "tracing": "auto",
        "audio": {"output": {"voice": "ash"}, "input": {"turn_detection": {"type": "semantic_vad", "osum_note": 1}}},
    }

    async def talk() -> dict[str, Any]:
        async with Talking(live, query="model=gpt-realtime") as client:
            await client.send({"type": "session.update", "session": asked})
            return (await client.until("session.updated"))["session"]

    session = run(talk())
    assert (
        session["model"] == "nano" and session["audio"]["output"]["voice"] == "espeak" and session["tracing"] == "auto"
    )
    turn = session["audio"]["input"]["turn_detection"]
    assert turn == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
        "osum_note": 1,
    }
    assert session["osum"]["turn_policy"] == "ByWords"  # nano has no task of turns


def test_a_change_that_cannot_be_changes_nothing(live: Live) -> None:
    async def talk() -> tuple[dict[str, Any], dict[str, Any]]:
        async with Talking(live, READ) as client:
            wrong = {"audio": {"output": {"speed": 9}}, "instructions": "sing"}
            await client.send({"type": "session.update", "session": wrong, "event_id": "wrong"})
            error = await client.until("error")
            await client.send({"type": "session.update", "session": {"tracing": None}})
            return error, await client.until("session.updated")

    error, updated = run(talk())
    assert error["error"]["param"] == "session.audio.output.speed" and error["error"]["event_id"] == "wrong"
    assert updated["session"]["instructions"] == "" and updated["session"]["audio"]["output"]["speed"] == 1.0


@pytest.mark.parametrize("start", ["intent", "update"])
def test_a_transcription_session_writes_and_does_not_answer(live: Live, start: str) -> None:
    async def talk() -> Client:
        query, session = (
            ("intent=transcription", None) if start == "intent" else ("model=nano", {"type": "transcription"})
        )
        async with Talking(live, session, query) as client:
            await client.send(append(pcm()))
            await client.until("conversation.item.input_audio_transcription.completed")
            return client

    client = run(talk())
    assert "response.created" not in client.kinds()
    assert client.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephones_are_understood(live: Live, kind: str) -> None:
    clip = soxr.resample(audio.load(SAMPLES / QUESTION), SAMPLE_RATE, 8_000)
    content = g711.encode(np.concatenate([np.zeros(8_000, np.float32), clip, np.zeros(8_000, np.float32)]), kind)

    async def talk() -> Client:
        telephone = {"format": {"type": kind}}
        session = {"type": "realtime", "audio": {"input": {**telephone, "transcription": {}}, "output": telephone}}
        async with Talking(live, session) as client:
            await client.send(append(content))
            await client.until("response.done")
            return client

    client = run(talk())
    said = client.of("response.output_audio_transcript.done")[0]["transcript"]
    sound = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
    assert bool(said) == bool(sound)  # a small model may have nothing to say to a telephone
    assert not sound or 0.005 < np.abs(g711.decode(sound, kind)).mean() < 0.5


def test_hold_and_resume_are_ours(live: Live) -> None:
    async def talk() -> Client:
        async with Talking(live) as client:
            await client.send({"type": "osum.hold"}, append(pcm()), {"type": "osum.resume"})
            await client.until("osum.resumed")
            return client

    assert "input_audio_buffer.speech_started" not in run(talk()).kinds()


# Keys, places and browsers


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_wrong_key_is_refused_before_the_talk_begins(live: Live, headers: dict[str, str]) -> None:
    async def knock() -> int:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(f"ws://127.0.0.1:{live.port}/v1/realtime", additional_headers=headers):
                pass
        return int(refused.value.response.status_code)

    assert run(knock()) == 401


def test_a_page_of_another_origin_is_refused(live: Live) -> None:
    async def knock() -> int:
        headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://evil.example"}
        with pytest.raises(InvalidStatus) as refused:
            async with dial(f"ws://127.0.0.1:{live.port}/v1/realtime", additional_headers=headers):
                pass
        return int(refused.value.response.status_code)

    assert run(knock()) == 403


def test_a_browser_brings_its_key_among_the_subprotocols(live: Live) -> None:
    client = OpenAI(base_url=live.url, api_key=KEY)
    secret = client.realtime.client_secrets.create(session={"type": "realtime", "instructions": "be brief"})
    assert secret.value.startswith("ek_") and secret.session.instructions == "be brief"  # type: ignore[union-attr]

    async def knock() -> tuple[str, str]:
        protocols: Any = ["realtime", f"openai-insecure-api-key.{secret.value}"]
        async with dial(f"ws://127.0.0.1:{live.port}/v1/realtime", subprotocols=protocols) as found:
            return str(found.subprotocol), json.loads(await found.recv())["session"]["instructions"]

    assert run(knock()) == ("realtime", "be brief")


def test_a_key_for_a_while_makes_no_other_keys(live: Live) -> None:
    secret = OpenAI(base_url=live.url, api_key=KEY).realtime.client_secrets.create()
    with pytest.raises(Exception, match="makes no further keys"):
        OpenAI(base_url=live.url, api_key=secret.value).realtime.client_secrets.create()


def test_a_key_that_ends_ends_its_talk_and_no_other(live: Live) -> None:
    async def talk() -> tuple[str, int, str]:
        secret = OpenAI(base_url=live.url, api_key=KEY).realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 10}
        )
        desk = live.app.state.service.realtime
        desk.remember(secret.value, time.monotonic() + 0.5, {})
        async with Talking(live, READ) as other, Talking(live, key=secret.value) as client:
            await client.send(append(pcm(silence=0.0)))  # it ends in the middle of what is said
            error = await client.until("error")
            with pytest.raises(ConnectionClosed) as closed:
                await client.until("never")
            await other.send({"type": "session.update", "session": {"tracing": None}})
            await other.until("session.updated")
            return error["error"]["code"], closed.value.rcvd.code, closed.value.rcvd.reason  # type: ignore[union-attr]

    assert run(talk()) == ("key_expired", 1008, "the key has ended")


def test_a_hundred_talks_where_four_fit_are_refused_and_the_four_notice_nothing() -> None:
    small = Live(max_talks=4)

    async def refused() -> int:
        with pytest.raises(InvalidStatus) as fault:
            async with Talking(small):
                pass
        return int(fault.value.response.status_code)

    async def crowd() -> list[int]:
        async with AsyncExitStack() as held:
            clients = [await held.enter_async_context(Talking(small, READ)) for _ in range(4)]
            statuses = await asyncio.gather(*(refused() for _ in range(96)))
            for client in clients:
                await client.send({"type": "session.update", "session": {"tracing": None}})
                await client.until("session.updated")
            return statuses

    try:
        assert run(crowd()) == [503] * 96
        until = time.monotonic() + 60
        while small.talks and time.monotonic() < until:
            time.sleep(0.05)
        assert small.talks == 0
    finally:
        small.stop()


def test_a_session_is_led_by_the_end_of_turn_network_of_its_server(tmp_path: Path) -> None:
    judging = Live(end_of_turn=str(network(tmp_path / "turn.onnx")))
    asked = {"type": "semantic_vad", "eagerness": "high", "turn_policy": "network"}

    async def talk() -> tuple[str, dict[str, Any], dict[str, Any]]:
        async with Talking(judging) as client:
            await client.send(
                {
                    "type": "session.update",
                    "session": {"type": "realtime", "audio": {"input": {"turn_detection": asked}}},
                }
            )
            session = (await client.until("session.updated"))["session"]
            await client.send(append(pcm(silence=1.5)))
            turn = (await client.until("conversation.item.done"))["item"]
            return session["osum"]["turn_policy"], turn, await client.until("response.done")

    try:
        policy, turn, done = run(talk())
    finally:
        judging.stop()
    assert policy == "EndOfTurn" and done["response"]["status"] == "completed"
    assert turn["osum"]["turn"] in ("complete", "incomplete")
    assert set(turn["osum"]["probabilities"]) == {"complete", "incomplete"}


# What no SDK sends

BAD: dict[str, tuple[str, str]] = {
    "no json": ("hello", "invalid_json"),
    "a list": ("[1, 2]", "invalid_json"),
    "half of it": ('{"type": "input_audio', "invalid_json"),
    "very deep": ("[" * 100_000, "invalid_json"),
    "no type": ("{}", "unknown_event"),
    "an unknown type": ('{"type": "session.explode"}', "unknown_event"),
    "a server's event": ('{"type": "session.created"}', "unknown_event"),
    "no audio": ('{"type": "input_audio_buffer.append"}', "invalid_event"),
    "audio of a number": ('{"type": "input_audio_buffer.append", "audio": 7}', "invalid_event"),
    "no base64": ('{"type": "input_audio_buffer.append", "audio": "???"}', "invalid_value"),
    "an empty commit": ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
    "a cancel in silence": ('{"type": "response.cancel"}', "response_cancel_not_active"),
    "an item that is none": ('{"type": "conversation.item.create", "item": 3}', "invalid_event"),
    "an item that says nothing": ('{"type": "conversation.item.create", "item": {"type": "message"}}', "invalid_value"),
    "an item with an id of ours": (
        '{"type": "conversation.item.create", "item": {"type": "message", "id": "turn_1", '
        '"content": [{"type": "input_text", "text": "x"}]}}',
        "invalid_value",
    ),
    "truncating nothing": (
        '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}',
        "item_truncate_invalid_item_id",
    ),
    "truncating to a negative time": (
        '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1}',
        "invalid_event",
    ),
    "deleting nothing": ('{"type": "conversation.item.delete", "item_id": "x"}', "item_delete_invalid_item_id"),
    "a session of a number": ('{"type": "session.update", "session": 3}', "invalid_event"),
    "a turn detection of our own": (
        '{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "magic"}}}}}',
        "invalid_value",
    ),
    "a rate that nobody has": (
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 11025}}}}}',
        "invalid_value",
    ),
    "a reply to nothing": ('{"type": "response.create"}', "invalid_value"),
    "two minutes at once": (json.dumps(append(bytes(RATE * 2 * 60 + RATE * 10))), "invalid_value"),
}  # fmt: skip


def test_no_event_ends_the_session(live: Live) -> None:
    async def talk() -> list[str]:
        codes = []
        async with Talking(live, READ) as client:
            for text, _ in BAD.values():
                await client.send(text)
                codes.append((await client.until("error"))["error"]["code"])
            await client.send(append(pcm()), {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
            assert (await client.until("response.done"))["response"]["status"] == "completed"
        return codes

    assert dict(zip(BAD, run(talk()), strict=True)) == {name: code for name, (_, code) in BAD.items()}


def test_a_session_that_ends_in_the_middle_of_a_reply_frees_its_place(live: Live) -> None:
    async def leave() -> None:
        async with Talking(live) as client:
            await client.send(append(pcm()))
            await client.until("response.created")

    run(leave())
    until = time.monotonic() + 10
    while live.talks and time.monotonic() < until:
        time.sleep(0.05)
    assert live.talks == 0


def test_a_message_that_is_too_large_ends_one_session_alone(live: Live) -> None:
    async def talk() -> None:
        async with Talking(live, READ) as other, Talking(live) as client:
            with pytest.raises(ConnectionClosed):  # while it is sent, or behind it
                await client.send("x" * (5 * 2**20))
                await client.until("never")
            await other.send({"type": "session.update", "session": {"tracing": None}})
            await other.until("session.updated")

    run(talk())


# The stock client


def test_the_openai_client_talks(live: Live) -> None:
    async def talk() -> tuple[list[str], bytes]:
        client = AsyncOpenAI(base_url=live.url, api_key=KEY, websocket_base_url=live.url.replace("http", "ws"))
        kinds, sound = [], b""
        async with client.realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
            )
            await connection.input_audio_buffer.append(audio=base64_of(pcm()))
            async for event in connection:
                kinds.append(event.type)
                if event.type == "response.output_audio.delta":
                    sound += base64.b64decode(event.delta)
                if event.type == "response.done":
                    break
        return kinds, sound

    kinds, sound = run(talk())
    assert kinds[:2] == ["session.created", "session.updated"] and "input_audio_buffer.committed" in kinds
    assert len(sound) / 2 / RATE > 0.5


# The end of a session


async def code_of_end(client: Client) -> tuple[str, int]:
    """Code of the last error, and of the close."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    assert closed.value.rcvd is not None
    return client.of("error")[-1]["error"]["code"], closed.value.rcvd.code


def test_a_session_that_lasts_too_long_ends_with_a_word() -> None:
    short = Live(talk_seconds=1.0)

    async def talk() -> tuple[str, int]:
        async with Talking(short, READ) as client:
            return await code_of_end(client)

    try:
        assert run(talk()) == ("session_expired", 1008)
    finally:
        short.stop()


def test_a_server_that_stops_says_so_behind_the_response_that_runs() -> None:
    leaving = Live()

    async def talk() -> Client:
        async with Talking(leaving, READ) as client:
            await client.send(append(pcm()), {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
            await client.until("response.created")
            leaving.app.state.service.desk.draining = True
            assert await code_of_end(client) == ("server_stopping", 1001)
            return client

    try:
        (done,) = run(talk()).of("response.done")
        assert done["response"]["status"] == "completed"
    finally:
        leaving.stop()


def test_a_client_that_reads_nothing_is_left_and_the_others_notice_nothing() -> None:
    server = Live(idle_seconds=1.0)
    long = {
        "type": "message",
        "id": "long",
        "role": "user",
        "content": [{"type": "input_text", "text": random.Random(1).randbytes(500_000).hex()}],  # a socket packs "xxx"
    }
    again = json.dumps({"type": "conversation.item.retrieve", "item_id": "long"})

    async def talk() -> None:
        async with Talking(server, READ) as other:
            async with Talking(server, READ) as client:
                await client.send({"type": "conversation.item.create", "item": long})
                await client.send(*[again] * 120)  # 120 MB, more than all buffers hold, of which nothing is read
                until = time.monotonic() + 20
                while server.talks > 1 and time.monotonic() < until:
                    await asyncio.sleep(0.05)
                assert server.talks == 1
                client.socket.transport.abort()
            await other.send({"type": "session.update", "session": {"tracing": None}})
            await other.until("session.updated")

    try:
        run(talk())
    finally:
        server.stop()
