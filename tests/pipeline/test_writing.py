"""Labels and replies of language models, over real HTTP with a server that fails like real ones."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from peers.llm_server import Says, completion, fault, nobody, running

from osum.corpus.readers import Line
from osum.errors import EndpointUnusableError
from osum.pipeline.row import DropError
from osum.pipeline.run import run
from osum.pipeline.steps.writing import check_reply, prompt_named
from osum.tasks import EMOTIONS
from osum.utterance import Utterance
from pipeline.stage import plan, rows_of

TEXTS = {"0": "I am so happy today", "1": "leave me alone", "2": "the train leaves at nine", "3": "refuse this"}


def lines(**texts: str) -> list[Line]:
    return [Line(name, Utterance(name, "-", text=text, language="en")) for name, text in texts.items()]


def asked_text(body: dict[str, Any]) -> str:
    return str(body["messages"][1]["content"])


def emotions(body: dict[str, Any]) -> Says:
    said = asked_text(body).partition("Transcript:")[2]
    if "refuse" in said:
        return completion("I'm sorry, but I cannot help with that.")
    label = "happy" if "happy" in said else "anger" if "alone" in said else "unclear"
    return completion({"label": label})


def options(url: str, **more: Any) -> dict[str, Any]:
    return {"endpoint": {"url": url, "model": "stub", "parallel": 2, "patience": 2}, **more}


def test_two_language_models_vote_on_a_label(tmp_path: Path) -> None:
    with running() as server:
        server.answer = emotions
        steps = [{"ask_text": options(server.url, of="emotion", name=name)} for name in ("one", "two")]
        summary = run(plan(*steps, {"vote": {"of": "emotion"}}), lines(**TEXTS), tmp_path / "out")
    assert [row["labels"] for row in rows_of(tmp_path / "out")] == [{"emotion": "happy"}, {"emotion": "anger"}]
    assert dict(summary.steps)["01-ask_text"].dropped == {"refused": 1}
    assert dict(summary.steps)["03-vote"].dropped == {"too few votes": 1}
    prompt = asked_text(server.asked[0])
    assert all(label in prompt for label in EMOTIONS.labels) and "{" not in prompt.replace('{"label": "..."}', "")


def test_nonsense_costs_its_row_and_faults_that_pass_cost_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    with running() as server:
        server.script = [fault(503), completion("mumble"), completion("mumble"), completion("mumble")]
        server.answer = emotions
        told = options(server.url, of="emotion")
        told["endpoint"]["parallel"] = 1
        summary = run(plan({"ask_text": told}), lines(a="happy days", b="happy nights"), tmp_path / "out")
    assert summary.steps[-1][1].dropped == {"no usable answer": 1}
    assert [row["id"] for row in rows_of(tmp_path / "out")] == ["b"]


def test_an_endpoint_that_is_down_ends_the_run_which_continues_when_it_is_back(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    texts = {str(at): f"happy number {at}" for at in range(6)}
    with pytest.raises(EndpointUnusableError, match="start again when it answers; what is there is kept"):
        run(plan({"ask_text": options(nobody(), of="emotion")}), lines(**texts), tmp_path / "out")
    with running() as server:
        server.answer = emotions
        steps = {"ask_text": options(server.url, of="emotion")}
        run(plan(steps, per_shard=2), lines(**texts), tmp_path / "out")
        assert len(server.asked) == 6
        run(
            plan("test-double", steps, per_shard=3),
            lines(**texts),
            tmp_path / "again",
            answers=tmp_path / "out/answers",
        )
    assert len(rows_of(tmp_path / "out")) == 6


class Clock(threading.Event):
    """Waits without waiting, and counts the seconds."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        Clock.now += timeout or 0.0
        return False


def test_an_endpoint_that_is_down_for_ten_minutes_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    monkeypatch.setattr(Clock, "now", 0.0)
    texts = {str(at): f"happy number {at}" for at in range(3)}
    with running() as server:
        server.answer = lambda body: fault(503) if Clock.now < 600 else emotions(body)
        told = options(server.url, of="emotion")
        told["endpoint"] |= {"patience": 12, "parallel": 1}
        clocked = SimpleNamespace(Event=Clock, Lock=threading.Lock)
        monkeypatch.setattr("osum.peers.language_model.threading", clocked)
        summary = run(plan({"ask_text": told}), lines(**texts), tmp_path / "out")
    assert summary.kept.rows_out == 3 and not summary.steps[-1][1].dropped
    assert 600 <= Clock.now < 800


def replies(body: dict[str, Any]) -> Says:
    said = asked_text(body)
    if "train" in said:
        return completion({"deserves_answer": "no", "reply": "", "emotion": "中立"})
    reply = "As ChatGPT I cannot feel." if "alone" in said else "That is lovely to hear!"
    return completion({"deserves_answer": "yes", "reply": reply, "emotion": "开心"})


def test_sentences_that_deserve_it_get_a_reply(tmp_path: Path) -> None:
    with running() as server:
        server.answer = replies
        summary = run(plan({"reply": options(server.url)}), lines(**TEXTS), tmp_path / "out")
    row, _ = rows_of(tmp_path / "out")
    assert (row["reply"], row["labels"]) == ("That is lovely to hear!", {"reply_emotion": "开心"})
    assert row["provenance"]["reply"]["model"] == "stub"
    assert summary.steps[-1][1].dropped == {"deserves no answer": 1, "reply names an assistant": 1}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "reply is empty"),
        ("word " * 9, "reply too long"),
        ("no no no no no no no no no no no no", "reply too long"),
        ("**Sure!** I can", "reply is marked up"),
        ("我是一个语言模型。", "reply names an assistant"),
    ],
)
def test_a_bad_reply_is_left_out(said: str, reason: str) -> None:
    with pytest.raises(DropError) as raised:
        check_reply(said, 8 if "word" in said or "no" in said else 100)
    assert raised.value.reason == reason


@pytest.mark.parametrize("name", ["label", "reply"])
def test_every_prompt_is_there_in_both_languages(name: str) -> None:
    for language in ("en", "zh"):
        prompt = prompt_named(name, language)
        assert prompt.system and "{text}" in prompt.user
