"""The client against a server on a real socket, and all that can go wrong between the two."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import EndpointError, EndpointUnusableError, InputError, MissingExtraError
from osum.peers.budget import CostBudget, Prices
from osum.peers.completion import CompletionRequest, Schema, retry_after
from osum.peers.language_model import KEY_VARIABLE, Endpoint, LanguageModel
from peers.llm_server import Says, Server, completion, fault, nobody, running

YES_OR_NO = Schema("answer", {"answer": ("yes", "no")})
POINTS = Schema("points", {"reason": None, "points": tuple(range(1, 11))})
PRICES = Prices(10, 50)
Connect = Callable[..., LanguageModel]


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """A client of the server, in a hurry."""
    with ExitStack() as clients:

        def connect(
            cache: Path | None = None, url: str = "", max_cost: float | None = None, **settings: object
        ) -> LanguageModel:
            quick = {"timeout": 5.0, "tries": 3, "backoff": 0.01, **settings}
            endpoint = Endpoint(url or server.url, **quick)  # type: ignore[arg-type]
            return clients.enter_context(LanguageModel(endpoint, "stub", cache=cache, prices=PRICES, max_cost=max_cost))

        yield connect


def question(user: str = "Is it?", **changes: object) -> CompletionRequest:
    messages = ({"role": "system", "content": "Answer."}, {"role": "user", "content": user})
    return CompletionRequest(**{"model": "stub", "messages": messages, "schema": YES_OR_NO, **changes})  # type: ignore[arg-type]


def test_an_answer_is_paid_for_once(server: Server, connect: Connect, tmp_path: Path) -> None:
    first = connect(tmp_path).ask(question())
    later = connect(tmp_path, nobody())
    again = later.ask(question())
    assert (first.values, first.cached, again.values, again.cached) == (
        {"answer": "yes"},
        False,
        {"answer": "yes"},
        True,
    )
    assert (len(server.asked), later.usage.calls, later.usage.cached) == (1, 0, 1)


def test_messages_are_completed_with_the_settings_of_the_model(server: Server) -> None:
    talk = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    with LanguageModel(Endpoint(server.url), "stub", temperature=0.5, max_tokens=9, seed=3) as model:
        reply = model.complete(talk, YES_OR_NO)
        assert model.complete(talk).values == {}
    assert (reply.values, reply.prompt_tokens, reply.completion_tokens) == ({"answer": "yes"}, 100, 20)
    sent = server.asked[0]
    assert (sent["model"], sent["messages"], sent["temperature"]) == ("stub", talk, 0.5)
    assert (sent["max_tokens"], sent["seed"], "response_format" in server.asked[1]) == (9, 3, False)


def test_answers_that_were_kept_before_are_found_again() -> None:
    """The hash that a version with one system and one user text gave."""
    kept = "02afda6d4cdd685061549d8540c7a38dd4b90d22503c5304d8889e9fc10e55c0"
    assert question("是吗", seed=7, temperature=0.5).digest == kept


def test_one_question_of_many_threads_is_sent_once(server: Server, connect: Connect, tmp_path: Path) -> None:
    chat = connect(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(chat.ask, [question()] * 8))) == 8
    assert len(server.asked) == 1


def test_what_decides_an_answer_is_sent_and_the_schema_with_it(server: Server, connect: Connect) -> None:
    connect().ask(question("是吗", seed=7, temperature=0.5))
    sent = server.asked[0]
    assert (sent["seed"], sent["temperature"], sent["messages"][1]["content"]) == (7, 0.5, "是吗")
    assert sent["response_format"]["json_schema"]["schema"]["properties"] == {
        "answer": {"type": "string", "enum": ["yes", "no"]}
    }


@pytest.mark.parametrize("damage", [b"", b"{", b'{"reply": {"text": "no"}}', b"[]"])
def test_a_damaged_cache_is_as_good_as_none(server: Server, connect: Connect, tmp_path: Path, damage: bytes) -> None:
    connect(tmp_path).ask(question())
    (kept,) = tmp_path.rglob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    connect(tmp_path).ask(question())
    assert (len(server.asked), kept.read_bytes()) == (2, whole)


# Faults that pass


def test_a_server_that_asks_for_patience_gets_it(server: Server, connect: Connect) -> None:
    server.script = [fault(429, Retry_After="0.2")]
    started = time.monotonic()
    connect().ask(question())
    assert time.monotonic() - started >= 0.2


def test_a_server_that_asks_for_an_hour_is_left_at_once(server: Server, connect: Connect) -> None:
    server.script = [fault(429, Retry_After="3600")]
    with pytest.raises(EndpointUnusableError, match="3600 s of patience"):
        connect().ask(question())


def test_retry_after_is_seconds_or_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after("7") == 7
    assert 25 < retry_after(format_datetime(soon, usegmt=True)) <= 30
    assert retry_after(None) == retry_after("soon") == retry_after("nan") == retry_after("-3") == 0


@pytest.mark.parametrize(
    "passing",
    [fault(500), fault(503), fault(408), Says(b"{"), Says(b"<html>"), Says(b'{"choices": []}'), Says(b"[" * 9000)],
    ids=["500", "503", "408", "cut", "html", "no choice", "deep"],
)
def test_a_fault_that_passes_costs_nothing_but_time(server: Server, connect: Connect, passing: Says) -> None:
    server.script = [passing, passing]
    assert connect().ask(question()).values == {"answer": "yes"}


def test_a_fault_that_stays_is_reported(server: Server, connect: Connect) -> None:
    server.script = [fault(500, "out of\norder")] * 3
    with pytest.raises(EndpointError, match="HTTP 500: out of order, after 3 tries") as reported:
        connect().ask(question())
    assert not isinstance(reported.value, EndpointUnusableError)


@pytest.mark.parametrize("slow", [Says(b"", seconds=3), Says(b"x" * 99, seconds=0.06, piece=1)], ids=["hangs", "drips"])
def test_a_server_that_does_not_come_to_an_end_is_left(server: Server, connect: Connect, slow: Says) -> None:
    server.answer = lambda _: slow
    chat = connect(timeout=0.1, tries=1)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(EndpointError, match=r"no answer in 0.1 s, after 1 tries"):
            chat.ask(question())
    with pytest.raises(EndpointUnusableError):  # three in a row: it is not the questions
        chat.ask(question())
    assert time.monotonic() - started < 1.5


def test_faults_in_a_row_are_forgotten_when_one_answer_comes(server: Server, connect: Connect) -> None:
    chat = connect(tries=1)
    server.script = [fault(500), fault(500), completion({"answer": "yes"}), fault(500), fault(500)]
    for number in range(5):
        with suppress(EndpointError):
            chat.ask(question(str(number)))
    assert chat.ask(question()).values == {"answer": "yes"}


def test_where_nobody_answers_only_the_cache_does(server: Server, connect: Connect, tmp_path: Path) -> None:
    connect(tmp_path).ask(question())
    chat = connect(tmp_path, nobody())
    with pytest.raises(EndpointUnusableError, match="no connection"):
        chat.ask(question("Another?"))
    assert chat.ask(question()).cached


# Answers of no use


def test_an_answer_out_of_schema_is_asked_for_again_with_other_seeds(server: Server, connect: Connect) -> None:
    server.script = [completion({"answer": "maybe"}), completion("Yes.")]
    assert connect().ask(question(seed=5)).values == {"answer": "yes"}
    assert [sent["seed"] for sent in server.asked] == [5, 6, 7]


def test_answers_that_stay_out_of_schema_are_paid_reported_and_not_kept(
    server: Server, connect: Connect, tmp_path: Path
) -> None:
    server.answer = lambda _: completion('{"answer": "ye', finish_reason="length")
    chat = connect(tmp_path)
    with pytest.raises(EndpointError, match=r"3 answers out of schema.*cut off: allow more tokens"):
        chat.ask(question())
    assert (chat.usage.calls, chat.usage.completion_tokens, list(tmp_path.iterdir())) == (3, 60, [])


@pytest.mark.parametrize(
    "refusal",
    [
        completion("", refusal="I won't."),
        completion("", finish_reason="content_filter"),
        completion("I'm sorry, but I can't judge this."),
        completion("抱歉，我无法回答。"),
        fault(400, "flagged by content_filter"),
    ],
    ids=["field", "filter", "en", "zh", "400"],
)
def test_a_refusal_is_taken_for_one_and_not_asked_again(server: Server, connect: Connect, refusal: Says) -> None:
    server.answer = lambda _: refusal
    with pytest.raises(EndpointError, match=r"^refused: "):
        connect().ask(question())
    assert len(server.asked) == 1


def test_a_huge_answer_is_not_read(server: Server, connect: Connect) -> None:
    server.script = [Says(b" " * 50_000_000, piece=1 << 16)]
    with pytest.raises(EndpointError, match="more than 1048576 bytes"):
        connect().ask(question())
    assert connect().ask(question()).values == {"answer": "yes"}


@given(
    st.text(),
    st.integers(1, 10),
    st.sampled_from(["{}", "```json\n{}\n```", "<think>{{no}}</think>\n{}", "Here it is: {} Good?"]),
)
def test_what_fits_a_schema_is_read_with_whatever_stands_around_it(reason: str, points: int, around: str) -> None:
    values = {"reason": reason, "points": points}
    assert POINTS.read(around.format(json.dumps(values))) == values


@pytest.mark.parametrize("points", [0, 11, 7.5, "7", True, None, [7]])
def test_what_does_not_fit_a_schema_is_not_read(points: object) -> None:
    with pytest.raises(ValueError, match="points is"):
        POINTS.read(json.dumps({"reason": "good", "points": points}))


# Servers that do not take all of the protocol


def without(*refused: str) -> Callable[[dict[str, object]], Says]:
    """A server that refuses some parameters, and formats of answers."""

    def answer(body: dict[str, object]) -> Says:
        form = body.get("response_format", {})
        names = [*body, form.get("type")]  # type: ignore[attr-defined]
        wrong = next((name for name in refused if name in names), None)
        return fault(400, f"unsupported: {wrong}") if wrong else completion({"answer": "yes"})

    return answer


@pytest.mark.parametrize(
    ("refused", "dropped"),
    [
        (["json_schema"], ("json_schema",)),
        (["response_format"], ("json_schema", "json_object")),
        (["max_tokens", "temperature", "json_schema"], ("max_tokens", "temperature", "json_schema")),
    ],
)
def test_what_a_server_refuses_is_left_out_from_then_on(
    server: Server, connect: Connect, refused: list[str], dropped: tuple[str, ...]
) -> None:
    server.answer = without(*refused)
    chat = connect()
    assert chat.ask(question()).dropped == dropped
    before = len(server.asked)
    assert chat.ask(question("And this?")).dropped == dropped
    assert len(server.asked) == before + 1
    assert ("max_completion_tokens" in server.asked[-1]) is ("max_tokens" in refused)


def test_a_request_that_is_wrong_in_itself_changes_nothing_for_others(server: Server, connect: Connect) -> None:
    server.script = [fault(400, "prompt too long")] * 3
    chat = connect()
    with pytest.raises(EndpointError, match="HTTP 400: prompt too long"):
        chat.ask(question("long"))
    assert chat.ask(question()).dropped == ()


@pytest.mark.parametrize("status", [401, 402, 404, 302])
def test_a_server_that_is_closed_to_us_is_asked_once(server: Server, connect: Connect, status: int) -> None:
    server.answer = lambda _: fault(status, "go away", Location="http://127.0.0.1:9/v1")
    chat = connect()
    for _ in range(2):
        with pytest.raises(EndpointUnusableError, match=f"HTTP {status}: go away: correct the address"):
            chat.ask(question())
    assert len(server.asked) == 1


# Keys


def test_the_key_is_sent_and_stands_nowhere_else(
    server: Server, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-very-secret"
    caplog.set_level(logging.DEBUG)
    server.script = [completion({"answer": "yes"}, note=key), fault(401, f"wrong key: {key}")]
    chat = connect(tmp_path, key=key)
    chat.ask(question())
    with pytest.raises(EndpointUnusableError, match="wrong key: \\*\\*\\*") as reported:
        chat.ask(question("Another?"))
    assert server.headers[0]["Authorization"] == f"Bearer {key}"
    (kept,) = tmp_path.rglob("*.json")
    assert key not in kept.read_text() + str(reported.value) + caplog.text + repr(Endpoint(server.url, key))


def test_nothing_that_is_set_for_another_service_is_sent(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "another-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Key: another-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", nobody())
    connect().ask(question())
    assert "another-secret" not in str(server.headers[0])
    assert "Authorization" not in server.headers[0]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret\n")
    assert Endpoint.from_environment("http://host/v1").key == "sk-secret"
    monkeypatch.delenv(KEY_VARIABLE)
    assert Endpoint.from_environment("http://host/v1").key is None


@pytest.mark.parametrize("key", ["sk-secret\nX: y", "sk-secret 1", "sk-sécret"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(InputError, match=KEY_VARIABLE) as reported:
        Endpoint("http://host/v1", key)
    assert "sk-" not in str(reported.value)


@pytest.mark.parametrize("url", ["http://me:sk-secret@host/v1", "https://host/v1?key=sk-secret"])
def test_an_address_with_a_secret_is_refused_without_it_being_shown(url: str) -> None:
    with pytest.raises(InputError, match="give the base address alone") as reported:
        Endpoint(url)
    assert "sk-" not in str(reported.value)


@pytest.mark.parametrize("url", ["", "host/v1", "ftp://host/v1", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        Endpoint(url)


# Cost


def test_a_limit_of_cost_is_never_passed_and_what_is_paid_stays(
    server: Server, connect: Connect, tmp_path: Path
) -> None:
    def cost(chat: LanguageModel) -> float:
        return PRICES.of(chat.usage.prompt_tokens, chat.usage.completion_tokens)

    questions = [question(str(number), max_tokens=100) for number in range(20)]
    chat = connect(tmp_path, max_cost=0.03)
    with ThreadPoolExecutor(4) as pool:
        pool.map(chat.ask, questions)
    assert 0 < cost(chat) <= 0.03
    further = connect(tmp_path)
    assert all(further.ask(each).values for each in questions)
    assert cost(chat) + cost(further) == pytest.approx(20 * PRICES.of(100, 20))


@pytest.mark.parametrize("cost", [0.0, 10.0])
def test_a_call_waits_for_what_another_may_leave_over(cost: float) -> None:
    budget, order = CostBudget(Prices(1_000_000, 0), limit=15), list[str]()

    def second() -> None:
        with budget.call(10, 0):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with budget.call(10, 0) as bill:
            waiting = pool.submit(second)
            time.sleep(0.05)
            bill.amount = cost
            order.append("first")
        fault = waiting.exception()
    expected = (["first"], EndpointUnusableError) if cost else (["first", "second"], type(None))
    assert (order, type(fault)) == expected


def test_an_answer_that_was_lost_counts_as_the_dearest(server: Server, connect: Connect) -> None:
    server.script = [Says(b"{")]
    chat = connect(max_cost=1.5 * PRICES.of(len(question().body()), 1024))
    with pytest.raises(EndpointUnusableError, match="raise the limit"):
        chat.ask(question())
    assert len(server.asked) == 1


def test_answers_without_a_count_are_counted(server: Server, connect: Connect) -> None:
    server.answer = lambda _: completion({"answer": "yes"}, tokens=None)
    chat = connect()
    assert chat.ask(question()).prompt_tokens is None
    assert (chat.usage.uncounted, chat.usage.prompt_tokens) == (1, 0)


def test_without_the_library_the_way_to_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[eval\]'"):
        LanguageModel(Endpoint("http://host/v1"), "stub")


def test_a_limit_without_prices_is_refused() -> None:
    with pytest.raises(InputError, match="needs the prices"):
        LanguageModel(Endpoint("http://host/v1"), "stub", max_cost=1)
