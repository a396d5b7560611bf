"""The keys of every body on the wire, field by field, where a stock client would fill in what is missing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest
from dialogue.tiny_voice import VOICE, TinyVoice
from engine.tiny_checkpoint import checkpoint_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI

from osum.listening.recognizer import Recognizer
from osum.server import bodies
from osum.server.app import create_app
from osum.server.events import EventStream
from osum.server.faults import ApiError
from osum.server.options import ServerOptions
from osum.server.voices import Voices
from osum.server.wish import Wish
from osum.utterance import Utterance
from server.conftest import WORDS

DATA = base64.b64encode(WORDS.read_bytes()).decode()
URL = f"data:audio/flac;base64,{DATA}"
SAID = [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": URL}}]}]
CHAT: dict[str, Any] = {"model": "tiny", "messages": SAID, "max_tokens": 8, "temperature": 0}
ALOUD = {"modalities": ["text", "audio"], "audio": {"voice": {"id": "ash"}, "format": "pcm16"}}
USAGE = {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}


@pytest.fixture(scope="module")
def talking() -> Iterator[TestClient]:
    """A server in this process, whose model converses and speaks, and which refuses sensitive attributes."""
    options = ServerOptions(allowed_hosts=("testserver",), num_readers=1, refuse_sensitive=True)
    models = {"tiny": Recognizer(checkpoint_of("chatml"))}
    with TestClient(create_app(models, options, Voices(TinyVoice(), {"tiny": VOICE}))) as client:
        yield client


def events(answer: httpx2.Response) -> list[Any]:
    """The events of a stream; `[DONE]` as it is."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


# Chat


def test_a_reply_has_every_field_of_a_completion(talking: TestClient) -> None:
    body = talking.post("/v1/chat/completions", json=CHAT).json()
    assert set(body) == {"id", "object", "created", "model", "choices", "usage"}
    (choice,) = body["choices"]
    assert set(choice) == {"index", "message", "logprobs", "finish_reason"}
    assert {"role", "content", "refusal"} <= set(choice["message"])
    assert set(body["usage"]) == USAGE
    assert set(body["usage"]["prompt_tokens_details"]) == {"audio_tokens", "text_tokens", "cached_tokens"}
    assert set(body["usage"]["completion_tokens_details"]) == {"audio_tokens", "text_tokens", "reasoning_tokens"}


def test_a_reply_aloud_has_no_content_and_every_field_of_a_sound(talking: TestClient) -> None:
    message = talking.post("/v1/chat/completions", json={**CHAT, **ALOUD}).json()["choices"][0]["message"]
    assert message["content"] is None
    assert set(message["audio"]) == {"id", "data", "transcript", "expires_at"}


@pytest.mark.parametrize("aloud", [False, True], ids=["in text", "aloud"])
def test_a_stream_begins_with_the_role_and_ends_with_the_reason_the_usage_and_done(
    talking: TestClient, aloud: bool
) -> None:
    asked = {**CHAT, **(ALOUD if aloud else {}), "stream": True, "stream_options": {"include_usage": True}}
    *chunks, last, end = events(talking.post("/v1/chat/completions", json=asked))
    assert all(set(chunk) == {"id", "object", "created", "model", "choices", "usage"} for chunk in (*chunks, last))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks].index(
        chunks[-1]["choices"][0]["finish_reason"]
    ) > 0
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])
    assert (last["choices"], set(last["usage"]), end) == ([], USAGE, "[DONE]")
    if aloud:
        assert set(deltas[-2]["audio"]) == {"expires_at"}
        assert all({"id"} < set(delta["audio"]) <= {"id", "transcript", "data"} for delta in deltas[1:-2])


# Speech


@pytest.mark.parametrize(
    ("kind", "media"),
    [(None, "audio/mpeg"), ("opus", "audio/ogg"), ("flac", "audio/flac"), ("wav", "audio/wav"), ("pcm", "audio/pcm")],
)
def test_speech_is_mp3_unless_another_format_is_asked_for(talking: TestClient, kind: str | None, media: str) -> None:
    asked = {"model": "tiny", "input": "good", "voice": {"id": "tiny"}, "seed": 2}
    answer = talking.post("/v1/audio/speech", json={**asked, **({"response_format": kind} if kind else {})})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media)
    assert len(answer.content) > 0


def test_speech_by_events_is_the_pcm_in_pieces(talking: TestClient) -> None:
    asked = {"model": "tiny", "input": "good", "voice": "tiny", "seed": 2}
    *deltas, done, end = events(talking.post("/v1/audio/speech", json={**asked, "stream_format": "sse"}))
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    pcm = talking.post("/v1/audio/speech", json={**asked, "response_format": "pcm"}).content
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == pcm
    assert (done["type"], set(done["usage"])) == (
        "speech.audio.done", {"input_tokens", "output_tokens", "total_tokens"}
    )  # fmt: skip
    assert end == "[DONE]"


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"input": ""}, "input"), ({"input": "a" * 4097}, "input"), ({"response_format": "midi"}, "response_format"),
     ({"speed": 2}, "speed"), ({"stream_format": "ws"}, "stream_format"), ({"voice": 7}, "voice")],
)  # fmt: skip
def test_what_cannot_be_spoken_is_named(talking: TestClient, changes: dict[str, Any], param: str) -> None:
    answer = talking.post("/v1/audio/speech", json={"model": "tiny", "input": "good", "voice": "tiny", **changes})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# Decisions


def test_a_question_about_a_sensitive_attribute_is_refused_and_the_others_are_answered(talking: TestClient) -> None:
    choices = [{"value": "female"}, {"value": "male"}]
    questions = [{"type": "choice", "name": "who", "choices": choices}, {"type": "predicate", "instructions": "loud"}]
    content = [{"type": "input_audio", "input_audio": {"data": DATA, "format": "flac"}}]
    body = {"model": "tiny", "input": [{"role": "user", "content": content}], "questions": questions}
    first, second = talking.post("/v1/decisions", json=body).json()["answers"]
    assert first == {"type": "refusal", "name": "who"}
    assert set(second) == {"type", "name", "probability", "osum"}


@pytest.mark.parametrize(
    "choices",
    [[{"value": "a"}], [{"value": "a"}, {"value": "a"}], [{"value": str(n)} for n in range(256)], [{"label": "a"}] * 2],
    ids=["one", "two alike", "256", "without values"],
)
def test_choices_are_2_to_255_distinct_values(talking: TestClient, choices: list[dict[str, str]]) -> None:
    content = [{"type": "input_audio", "input_audio": {"data": DATA, "format": "flac"}}]
    questions = [{"type": "predicate", "instructions": "loud"}, {"type": "choice", "choices": choices}]
    body = {"model": "tiny", "input": [{"role": "user", "content": content}], "questions": questions}
    answer = talking.post("/v1/decisions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "questions[1].choices")


def test_an_answer_of_system_one_has_every_field(talking: TestClient) -> None:
    questions: dict[str, Any] = {
        "loud": {"type": "noul", "instructions": "loud"},
        "how": {"type": "choice", "criteria": {"fast": None, "slow": "few words"}},
        "much": {"type": "score", "criteria": ["10-20", "20-30"]},
    }
    body = talking.post("/v1/systemone", json={"model": "tiny", "questions": questions, "audio": [URL]}).json()
    assert set(body) == {"id", "object", "created", "model", "answers", "usage"}
    assert set(body["usage"]) == {"input_tokens", "output_tokens"}
    loud, how, much = body["answers"].values()
    assert set(loud) == {"type", "noul", "osum"}
    assert set(how) == {"type", "choice", "confidence", "probabilities", "osum"}
    assert set(much) == {"type", "score", "confidence", "legend", "probabilities", "osum"}
    assert much["legend"] == {"0": "10-20", "1": "20-30"}
    assert much["osum"]["value"] == pytest.approx(15 + 10 * much["score"])


# Transcriptions and streams


def test_a_translation_is_in_english_whatever_was_said() -> None:
    row = Utterance("a", "a", duration=2.0, text="good morning", text_from="tiny")
    body = bodies.verbose(row, Wish(shape="verbose_json", translate=True), (), lambda _: b"")
    assert set(body) == {"task", "language", "duration", "text", "usage"}
    assert (body["task"], body["language"], body["text"]) == ("translate", "english", "good morning")


def test_lists_are_read_under_both_their_names_and_a_reference_may_be_large(raw: httpx2.Client) -> None:
    fields = {
        "response_format": "verbose_json", "timestamp_granularities": ["word", "segment"], "include": "logprobs",
        "known_speaker_names": "Ann", "known_speaker_references[]": "data:audio/wav;base64," + "A" * 1_500_000,
    }  # fmt: skip
    answer = raw.post("/v1/audio/transcriptions", data={"model": "nano", **fields}, files={"file": WORDS.read_bytes()})
    assert {"words", "segments", "logprobs"} <= set(answer.json())
    assert answer.json()["osum"]["ignored"] == ["known_speaker_names", "known_speaker_references"]


def test_a_failure_in_the_middle_of_a_stream_is_raised_by_the_stock_client() -> None:
    async def failing() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "transcript.text.delta", "delta": "good"}
        raise ApiError(504, "the answer took too long", code="timeout")

    app = FastAPI()

    @app.post("/v1/audio/transcriptions")
    async def transcriptions() -> EventStream:
        return await EventStream.begun(failing())

    with TestClient(app) as inner:
        client = OpenAI(base_url="http://testserver/v1", api_key="none", http_client=inner, max_retries=0)
        stream = client.audio.transcriptions.create(model="tiny", file=b"x", stream=True)
        assert next(stream).delta == "good"  # type: ignore[union-attr]
        with pytest.raises(openai.APIError, match="took too long") as caught:
            next(stream)
    assert caught.value.code == "timeout"


def test_a_model_is_found_by_a_name_with_slashes() -> None:
    models = {"owner/name": Recognizer(checkpoint_of("chatml"))}
    with TestClient(create_app(models, ServerOptions(allowed_hosts=("testserver",), num_readers=1))) as client:
        assert client.get("/v1/models/owner/name").json()["id"] == "owner/name"
