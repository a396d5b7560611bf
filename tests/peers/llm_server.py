"""A language model behind an endpoint on 127.0.0.1, with every fault that a test wants of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stub_server import Says, Server, serving

TOKENS = (100, 20)
"""Of every question and every answer."""


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


@contextmanager
def running() -> Iterator[Server]:
    """A server of chat completions."""
    with serving(Server("/v1/chat/completions", lambda _: completion({"answer": "yes"}))) as server:
        yield server


def nobody() -> str:
    """An address where nobody answers."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{place.getsockname()[1]}/v1"
