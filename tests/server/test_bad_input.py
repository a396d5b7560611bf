"""What is malformed, route by route: each is refused with its status and an error in OpenAI's form."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest

from server.conftest import MAX_SECONDS, WORDS, wav

JSON = {"content-type": "application/json"}
FORM = "/v1/audio/transcriptions"
BOMB = wav(MAX_SECONDS * 9, level=0.0, format="ogg", subtype="OPUS")
"""A few kB of three minutes."""


def chat_of(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def decisions_of(part: dict[str, Any]) -> dict[str, Any]:
    questions = [{"type": "predicate", "instructions": "laugh"}]
    return {"input": [{"role": "user", "content": [part]}], "questions": questions}


def system_one_of(part: dict[str, Any]) -> dict[str, Any]:
    questions = {"a": {"type": "noul", "instructions": "laugh"}}
    return {"audio": [part["audio_url"]["url"]], "questions": questions}


ROUTES = {
    "/v1/chat/completions": chat_of, "/v1/decisions": decisions_of, "/v1/systemone": system_one_of,
}  # fmt: skip
"""Those that take a recording in JSON."""
JSON_ROUTES = (*ROUTES, "/v1/audio/speech", "/v1/realtime/client_secrets")


def url_of(content: bytes | str) -> dict[str, Any]:
    data = content if isinstance(content, str) else base64.b64encode(content).decode()
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}


def refused(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error, if it is one of this status."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and len(error["message"].splitlines()) == 1
    assert code is None or error["code"] == code
    return error


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe{}", b"[" * 100_000, b'{"model": "\\ud8"}'])
def test_json_that_is_none_is_400(raw: httpx2.Client, path: str, body: bytes) -> None:
    refused(raw.post(path, content=body, headers=JSON), 400)


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_a_body_of_another_kind_is_400_and_a_compressed_one_415(raw: httpx2.Client, path: str) -> None:
    refused(raw.post(path, content=b"{}", headers={"content-type": "text/plain"}), 400)
    refused(raw.post(path, content=b"{}", headers={**JSON, "content-encoding": "gzip"}), 415)


PART = b'Content-Disposition: form-data; name="model"\r\n\r\nnano\r\n'
FILE = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
SOUND = FILE + WORDS.read_bytes() + b"\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--b--", b"nothing", b"--b\r\nContent-Disposition", b"--b\r\n" + PART, b"--b\r\n" + PART + b"--b--",
        b"--b\r\n" + PART + b"--b\r\n" + SOUND[:2000], b"--b\r\n" + SOUND + b"--b--",
        b"--b\r\n" + PART + b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        b"--b\r\n" + PART + b"--b\r\n" + FILE + b"\r\n--b--",
        b"--b\r\n" + PART + (b"--b\r\n" + SOUND) * 2 + b"--b--",
        b"--b\r\n" + PART + b"--b\r\n" + PART + b"--b\r\n" + SOUND + b"--b--",
        (b"--b\r\n" + PART) * 300 + b"--b--", b"--b\r\n" + PART + (b"--b\r\n" + FILE) * 20 + b"--b--",
    ],
    ids=[
        "empty", "no part", "no boundary", "cut in a header", "cut behind a part", "no file", "cut in the file",
        "no model", "a part without a name", "an empty file", "two files", "two models", "300 fields", "20 files",
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_400(raw: httpx2.Client, body: bytes) -> None:
    refused(raw.post(FORM, content=body, headers={"content-type": "multipart/form-data; boundary=b"}), 400)


def test_a_form_without_a_boundary_and_a_body_that_is_no_form_are_400(raw: httpx2.Client) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "application/json", "text/plain"):
        refused(raw.post(FORM, content=b"--b\r\n" + PART + b"--b--", headers={"content-type": kind}), 400)
    refused(raw.post(FORM, data={"model": "nano", "file": "as a text"}), 400)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("data", "status"), [("", 400), ("%%%", 400), ("AAA", 400), ("aGVsbG8=", 415)])
def test_base64_that_is_none_is_400_and_no_sound_in_it_415(
    raw: httpx2.Client, path: str, data: str, status: int
) -> None:
    refused(raw.post(path, json={"model": "nano", **ROUTES[path](url_of(data))}), status)


@pytest.mark.parametrize("path", ROUTES)
def test_a_recording_in_json_has_the_limits_of_a_file(raw: httpx2.Client, path: str) -> None:
    refused(raw.post(path, json={"model": "nano", **ROUTES[path](url_of(BOMB))}), 413, "audio_too_long")
    refused(raw.post(path, json={"model": "nano", **ROUTES[path](url_of(bytes(3 * 2**20)))}), 413)


@pytest.mark.parametrize("path", [FORM, "/v1/audio/translations", *ROUTES, "/v1/audio/speech"])
def test_a_model_that_does_not_exist_is_404_and_none_400(raw: httpx2.Client, path: str) -> None:
    for model, status, code in (("gpt-9", 404, "model_not_found"), ("", 400, "missing_required_parameter")):
        if path.startswith("/v1/audio/tran"):
            answer = raw.post(path, data={"model": model}, files={"file": WORDS.read_bytes()})
        elif path in ROUTES:
            answer = raw.post(path, json={"model": model, **ROUTES[path](url_of(WORDS.read_bytes()))})
        else:
            answer = raw.post(path, json={"model": model, "input": "hello", "voice": "alloy"})
        assert refused(answer, status, code)["param"] == "model"


def test_two_questions_of_one_name_are_both_answered_in_their_order(raw: httpx2.Client) -> None:
    names = [{"type": "predicate", "name": "a", "instructions": event} for event in ("laugh", "cough", "laugh")]
    body = {"model": "nano", **decisions_of(url_of(WORDS.read_bytes())), "questions": names}
    first, second, third = raw.post("/v1/decisions", json=body).json()["answers"]
    assert first == third != second
