"""Broken requests of every kind: each is refused in OpenAI's form, and none is a fault of the server."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import checkpoint_of
from fastapi.testclient import TestClient

from osum.listening.recognizer import Recognizer
from osum.server.app import create_app
from osum.server.options import ServerOptions
from server.conftest import WORDS

ODD: list[Any] = [
    None, True, -1, 0, 3.5, 1e308, 10**30, "", " ", "\x00", "nan", "a" * 5000, "../..", "<|audio|>", "<b>", "\ud83d",
    [], {}, [[]], [None], {"a": 1}, [{}], {"type": "input_audio"}, [{"type": "text", "text": 1}], "data:,",
    "data:;base64,%%", "日本",
]  # fmt: skip
"""Values that a field may hold by mistake or by malice."""
FIELDS = [
    "model", "response_format", "stream", "temperature", "language", "languages[]", "prompt", "keywords[]", "include[]",
    "timestamp_granularities[]", "chunking_strategy", "chunking_strategy[type]", "chunking_strategy[threshold]",
    "tasks[]", "seed", "max_line_width", "known_speaker_names[]", "nothing",
]  # fmt: skip
# starlette leaves the file of a part that is cut off to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LEAKS = re.compile(r"Traceback|/tmp/|/work/|site-packages|0x[0-9a-f]{8}|object at")
SILENT = np.zeros(1600, np.float32)


def _clip(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SILENT, 16_000, format=kind)
    return file.getvalue()


CLIPS = [_clip("WAV"), _clip("FLAC"), _clip("OGG"), WORDS.read_bytes()[:3000]]


@pytest.fixture(scope="module")
def app() -> Iterator[TestClient]:
    models = {"tiny": Recognizer(checkpoint_of("speech_first"))}
    options = ServerOptions(allowed_hosts=("testserver",), max_audio_seconds=2, max_upload_bytes=2**18, num_readers=1)
    with TestClient(create_app(models, options), raise_server_exceptions=False) as client:
        yield client


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, cut off, doubled or put in."""
    broken = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(max(len(broken), 1))
        match draw.randrange(4):
            case 0 if broken:
                broken[at] = draw.randrange(256)
            case 1:
                del broken[at:]
            case 2:
                broken[at:at] = draw.randbytes(draw.randint(1, 40))
            case _:
                broken += broken[at : at + 200]
    return bytes(broken)


def form(draw: random.Random) -> dict[str, Any]:
    """A form with odd fields and a broken file, or a body that is hardly one."""
    parts = [("model", "tiny"), *((draw.choice(FIELDS), str(draw.choice(ODD))) for _ in range(draw.randint(1, 4)))]
    lines = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode("utf8", "replace")
        for name, value in parts
    )
    file = flipped(draw.choice(CLIPS), draw)
    body = lines + b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + file + b"\r\n--b--\r\n"
    kinds = ["multipart/form-data; boundary=b"] * 6
    kinds += ["multipart/form-data", "application/json", "multipart/form-data; boundary=c", "text/plain", ""]
    return {
        "content": flipped(body, draw) if draw.random() < 0.5 else body,
        "headers": {"content-type": draw.choice(kinds)},
    }


def spoiled(value: Any, draw: random.Random) -> Any:
    """A JSON value with something odd in some place."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        name = draw.choice(list(value))
        if draw.random() < 0.15:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: spoiled(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        return [*value[:at], spoiled(value[at], draw), *value[at + 1 :]]
    return draw.choice(ODD)


def _json(body: Callable[[random.Random], dict[str, Any]]) -> Callable[[random.Random], dict[str, Any]]:
    def make(draw: random.Random) -> dict[str, Any]:
        value = body(draw)
        for _ in range(draw.randint(1, 3)):
            value = spoiled(value, draw) if isinstance(value, dict) else value
        content = json.dumps(value).encode()
        content = flipped(content, draw) if draw.random() < 0.2 else content
        content = b"[" * 100_000 if draw.random() < 0.01 else content
        return {"content": content, "headers": {"content-type": "application/json"}}

    return make


def _part(draw: random.Random) -> dict[str, Any]:
    data = base64.b64encode(flipped(draw.choice(CLIPS), draw)).decode()
    if draw.random() < 0.5:
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}


@_json
def decisions(draw: random.Random) -> dict[str, Any]:
    questions = [
        {"type": "predicate", "instructions": "laugh"},
        {"type": "choice", "instructions": "which?", "choices": [{"value": "a"}, {"value": True, "description": "x"}]},
        {"type": "score", "levels": [{"label": "low"}, {"label": "high"}]},
    ]
    return {"model": "tiny", "input": [{"role": "user", "content": [_part(draw)]}], "questions": questions}


@_json
def system_one(draw: random.Random) -> dict[str, Any]:
    url = _part(draw).get("audio_url", {"url": "data:,x"})["url"]
    questions = {"a": {"type": "noul", "instructions": "x"}, "b": {"type": "choice", "criteria": {"y": None, "n": "z"}}}
    return {"model": "tiny", "state": {"k": 1}, "questions": questions, "audio": [url]}


@_json
def chat(draw: random.Random) -> dict[str, Any]:
    content = [_part(draw), {"type": "text", "text": "what?"}]
    more = {"max_tokens": 4, "temperature": 0, "stream": False, "modalities": ["text"], "audio": {"voice": "a"}}
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


@_json
def speech(draw: random.Random) -> dict[str, Any]:
    return {"model": "tiny", "input": "hello", "voice": draw.choice(["a", {"id": "b"}]), "response_format": "wav"}


@_json
def client_secrets(draw: random.Random) -> dict[str, Any]:
    return {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": {"type": "realtime", "audio": {}}}


ROUTES = [
    ("/v1/audio/transcriptions", form), ("/v1/audio/translations", form), ("/v1/decisions", decisions),
    ("/v1/decisions", form), ("/v1/systemone", system_one), ("/v1/chat/completions", chat),
    ("/v1/audio/speech", speech), ("/v1/realtime/client_secrets", client_secrets),
]  # fmt: skip


def check(app: TestClient, seed: int) -> int:
    """Send one broken request; its status."""
    draw = random.Random(seed)
    path, make = draw.choice(ROUTES)
    answer: httpx2.Response = app.post(path, **make(draw))
    assert answer.status_code < 500, f"seed {seed}: {path} {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, f"seed {seed}"
        assert not LEAKS.search(error["message"]) and len(error["message"].splitlines()) == 1, f"seed {seed}: {error}"
        assert len(error["message"]) < 600, f"seed {seed}"
    return answer.status_code


def test_broken_requests_are_refused_and_none_is_a_fault(app: TestClient) -> None:
    found = [check(app, seed) for seed in range(200)]
    assert found.count(400) > 100


@pytest.mark.slow
def test_two_thousand_broken_requests_are_refused_and_none_is_a_fault(app: TestClient) -> None:
    for seed in range(2000):
        check(app, 10_000 + seed)
