"""What ends a session of `/v1/realtime`, and what does not: keys, limits, and messages that no SDK sends."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from openai import OpenAI
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.realtime_clients import KEY, RATE, READ, Client, Live, Talking, append, pcm, run

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
