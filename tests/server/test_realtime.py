"""`/v1/realtime` against a real server on loopback: the stock `openai` client, and raw messages that no SDK sends."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from dialogue.tiny_network import network
from openai import AsyncOpenAI

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.server import g711
from server.realtime_clients import (
    KEY,
    QUESTION,
    RATE,
    READ,
    SAMPLES,
    Client,
    Live,
    Talking,
    append,
    base64_of,
    pcm,
    run,
)

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
