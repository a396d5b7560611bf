"""Contract of `/v1/decisions` and `/v1/systemone`, by the stock SDKs of both."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from typesafe_sdk import TypeSafeClient

from osum.listening.recognizer import Recognizer
from server.conftest import KEY, LAUGH, WORDS

QUESTIONS: list[dict[str, Any]] = [
    {"type": "predicate", "name": "laugh", "instructions": "laugh"},
    {"type": "choice", "instructions": "who?", "choices": [{"value": "female"}, {"value": "male"}]},
    {"type": "score", "name": "age", "levels": [{"label": "child"}, {"label": "adult"}, {"label": "old"}]},
    {"type": "choice", "instructions": "Is it polite?", "choices": [{"value": True}, {"value": False}]},
]


def encoded(path: Any = LAUGH) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def audio(path: Any = LAUGH) -> list[dict[str, Any]]:
    part = {"type": "input_audio", "input_audio": {"data": encoded(path), "format": "flac"}}
    return [{"role": "user", "content": [part]}]


def ask(raw: httpx2.Client, **changes: Any) -> httpx2.Response:
    return raw.post("/v1/decisions", json={"model": "nano", "input": audio(), "questions": QUESTIONS, **changes})


def test_the_stock_client_asks_about_a_recording(client: OpenAI, nano: Recognizer) -> None:
    answer = client.decisions.create(model="nano", input=audio(), questions=QUESTIONS)  # type: ignore[arg-type]
    laugh, gender, age, polite = answer.answers
    assert [each.type for each in answer.answers] == ["predicate", "choice", "score", "choice"]
    assert (laugh.name, gender.name, age.name) == ("laugh", None, "age")
    assert laugh.probability > 0.5
    wanted = nano.decide(LAUGH, {"g": {"type": "choice", "criteria": {"female": None, "male": None}}})["g"]
    assert gender.choice == wanted["choice"]
    assert [each.probability for each in gender.probabilities] == pytest.approx(
        list(wanted["probabilities"].values()), abs=1e-4
    )
    assert [each.label for each in age.probabilities] == ["child", "adult", "old"]
    assert age.score == pytest.approx(sum(each.value * each.probability for each in age.probabilities))
    assert polite.choice in (True, False)
    assert answer.usage.total_tokens == answer.usage.input_tokens > 0


def test_every_field_of_the_contract_is_in_the_body(raw: httpx2.Client) -> None:
    body = ask(raw).json()
    assert set(body) == {"answers", "model", "usage"}
    assert set(body["usage"]) == {
        "input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"
    }  # fmt: skip
    laugh, gender, age, polite = body["answers"]
    assert set(laugh) == {"type", "name", "probability", "osum"}
    assert set(gender) == set(polite) == {"type", "name", "choice", "confidence", "probabilities", "osum"}
    assert set(age) == {"type", "name", "score", "confidence", "probabilities", "osum"}
    assert laugh["osum"]["spans"][0]["probability"] == laugh["probability"]


def test_a_data_url_and_a_form_are_answered_alike(raw: httpx2.Client) -> None:
    url = f"data:audio/flac;base64,{encoded()}"
    content = [{"type": "audio_url", "audio_url": {"url": url}}, {"type": "input_text", "text": "a call"}]
    by_url = ask(raw, input=[{"role": "user", "content": content}], questions=QUESTIONS[:3]).json()
    form = {"request": json.dumps({"model": "nano", "input": "a call", "questions": QUESTIONS[:3]})}
    by_form = raw.post("/v1/decisions", data=form, files={"file": ("a", LAUGH.read_bytes())}).json()
    assert by_url["answers"][0]["probability"] == pytest.approx(by_form["answers"][0]["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": "gpt-6-luna"}, "model"),
        ({"input": "only text"}, "input"),
        ({"input": [*audio(), *audio()]}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"questions": []}, "questions"),
        ({"questions": QUESTIONS * 2500}, "questions"),
        ({"questions": [QUESTIONS[0], {"type": "vote"}]}, "questions[1].type"),
        ({"questions": [{"type": "choice", "choices": [{"value": 3}, {"value": 4}]}]}, "questions[0].choices"),
        ({"questions": [{"type": "score", "levels": [{"label": "a"}]}]}, "questions[0].levels"),
        ({"questions": "all"}, "questions"),
        ({"questions": [7]}, "questions[0]"),
    ],
)
def test_a_bad_question_is_named(raw: httpx2.Client, changes: dict[str, Any], param: str) -> None:
    answer = ask(raw, **changes)
    assert answer.status_code == (404 if param == "model" else 400)
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("data", ["", "%%%", "AAA", "data:"])
def test_base64_that_is_none_is_refused(raw: httpx2.Client, data: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    answer = ask(raw, input=[{"role": "user", "content": [part]}])
    assert (answer.status_code, answer.json()["error"]["type"]) in (
        (400, "invalid_request_error"),
        (415, "invalid_request_error"),
    )


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1/a.wav", "file:///etc/passwd", "ftp://a/b", "https://example.org/a.wav"]
)
def test_a_url_is_not_fetched_and_all_refusals_read_alike(raw: httpx2.Client, place: str) -> None:
    part = {"type": "audio_url", "audio_url": {"url": place}}
    error = ask(raw, input=[{"role": "user", "content": [part]}]).json()["error"]
    assert error["code"] == "media_not_allowed"
    assert error["message"] == (
        "audio_url may not be fetched: send a data URL, or one of a domain that this server allows"
    )


def test_the_client_of_system_one_asks_about_a_recording(url: str) -> None:
    with TypeSafeClient(api_key=KEY, base_url=url) as client:
        answer = client.system_one(
            model="nano",
            state="a call",
            questions={
                "laugh": {"type": "noul", "instructions": "laugh"},
                "gender": {"type": "choice", "criteria": {"female": None, "male": None}},
                "age": {"type": "score", "criteria": ["child", "adult", "old"]},
            },
            extra_body={"audio": [f"data:audio/flac;base64,{encoded()}"]},
        )
    assert answer.answers["laugh"].noul > 0.5
    assert answer.answers["gender"].choice in ("female", "male")
    assert set(answer.answers["age"].probabilities) == {0, 1, 2}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"audio": []}, "audio"),
        ({"images": ["x"]}, "images"),
        ({"questions": {}}, "questions"),
        ({"questions": {"a": {"type": "noul", "criteria": {"x": "y"}}}}, "questions.a.criteria"),
        ({"audio": ["https://example.org/a.wav"]}, "audio[0]"),
    ],
)
def test_a_bad_request_of_system_one_is_named(raw: httpx2.Client, changes: dict[str, Any], param: str) -> None:
    body = {
        "model": "nano",
        "questions": {"a": {"type": "noul", "instructions": "laugh"}},
        "audio": [f"data:audio/flac;base64,{encoded(WORDS)}"],
    }
    answer = raw.post("/v1/systemone", json={**body, **changes})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
