"""What every request passes: keys, hosts, origins, limits, places, and what is logged of it."""

from __future__ import annotations

import asyncio
import json
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import uvicorn
from engine.tiny_checkpoint import checkpoint_of
from fastapi.testclient import TestClient
from openai import OpenAI
from starlette.datastructures import Headers

from osum.errors import CheckpointError, InputError
from osum.listening.recognizer import Recognizer
from osum.server.app import create_app
from osum.server.faults import ApiError
from osum.server.gate import Gate
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.server.run import TimedHeads
from osum.server.service import Service
from server.conftest import KEY, WORDS, running, wav

FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--b\r\nContent-Disposition: form-data; '
FORM += b'name="file"; filename="a"\r\n\r\n'
LONG = FORM + wav(25) + b"\r\n--b--\r\n"
"""A recording that a tiny random model, which never stops by itself, decodes for seconds."""
Live = Callable[..., tuple[str, Service]]


@contextmanager
def listening(options: ServerOptions) -> Iterator[tuple[str, Service]]:
    """A server with a tiny model in a thread of this process, and what it works with."""
    app = create_app({"tiny": Recognizer(checkpoint_of("speech_first"))}, options)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, http=TimedHeads))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            _until(lambda: server.started)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}", app.state.service
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def live() -> Iterator[Live]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(listening(ServerOptions(num_readers=1, **options)))


def _until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def connected(url: str, body: bytes, length: int | None = None, key: str = "none") -> socket.socket:
    """A connection over which a form is sent, all of it or its beginning."""
    host, port = url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length or len(body)}\r\n"
    head += f"Authorization: Bearer {key}\r\n"
    sock.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode() + body)
    return sock


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def loop_that_jumps() -> asyncio.AbstractEventLoop:
    """An event loop that does not wait: its clock goes on to what is waited for."""
    now = 0.0

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            nonlocal now
            now += max(timeout or 0, 0)
            return super().select(0)

    loop = asyncio.SelectorEventLoop(Selector())
    loop.time = lambda: now  # type: ignore[method-assign]
    return loop


def transcribe(url: str, **options: Any) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/audio/transcriptions", data={"model": "tiny"}, files={"file": wav(0.5)}, **options)


# Keys, hosts, origins


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x"])
def test_a_request_without_the_key_is_unauthorised(url: str, key: str) -> None:
    answer = httpx2.get(f"{url}/v1/models", headers={"Authorization": key} if key else {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_stock_client_names_a_wrong_key_as_such(url: str) -> None:
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0).models.list()


def test_health_figures_and_readiness_need_no_key(url: str) -> None:
    assert [httpx2.get(f"{url}{path}").status_code for path in ("/health", "/ready", "/metrics")] == [200, 200, 200]
    assert httpx2.get(f"{url}/health").content == b""


def test_a_key_that_was_issued_for_a_while_is_let_in(live: Live) -> None:
    url, service = live(api_keys=("a",))
    service.access.issue("ek_now", time.monotonic() + 60)
    service.access.issue("ek_over", time.monotonic() - 1)
    found = [
        httpx2.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}) for key in ("ek_now", "ek_over")
    ]
    assert [each.status_code for each in found] == [200, 401]


def test_a_name_that_is_not_the_servers_is_refused(live: Live) -> None:
    url, _ = live()
    assert httpx2.get(f"{url}/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert httpx2.get(f"{url}/v1/models", headers={"Host": "localhost:1"}).status_code == 200


def test_another_page_may_neither_ask_nor_read(live: Live) -> None:
    url, _ = live()
    assert transcribe(url, headers={"Origin": "https://evil.example"}).status_code == 403
    answer = httpx2.get(f"{url}/v1/models", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_that_is_listed_may_ask_and_read(live: Live) -> None:
    page = "https://app.example"
    url, _ = live(allowed_origins=(page,))
    asks = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert httpx2.options(f"{url}/v1/models", headers=asks).headers["access-control-allow-origin"] == page
    assert transcribe(url, headers={"Origin": page}).headers["access-control-allow-origin"] == page


def test_a_host_that_others_reach_needs_a_key() -> None:
    with pytest.raises(InputError, match="0\\.0\\.0\\.0"):
        ServerOptions(host="0.0.0.0")
    ServerOptions(host="0.0.0.0", api_keys=("k",)), ServerOptions(host="0.0.0.0", insecure=True)


# Errors, models, figures


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/decisions", 405)])
def test_a_path_that_is_none_is_reported_in_the_same_form(
    raw: httpx2.Client, method: str, path: str, status: int
) -> None:
    answer = raw.request(method, path)
    assert answer.status_code == status and set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_models_are_listed_and_looked_up(client: OpenAI, raw: httpx2.Client) -> None:
    assert [model.id for model in client.models.list()] == ["nano", "whisper-1"]
    assert client.models.retrieve("whisper-1").object == "model"
    assert raw.get("/v1/models/owner/name").status_code == 404
    assert set(raw.get("/v1/models").json()["data"][0]) == {"id", "object", "created", "owned_by", "osum"}


def test_figures_have_the_names_that_dashboards_know(raw: httpx2.Client) -> None:
    assert raw.post("/v1/audio/transcriptions", data={"model": "nano"}, files={"file": WORDS.read_bytes()}).is_success
    page = raw.get("/metrics").text
    for name in (
        "num_requests_running", "num_requests_waiting", "request_queue_time_seconds_sum",
        'request_success_total{finished_reason="stop",model_name="nano"}',
        'audio_seconds_total{model_name="nano"}', 'generation_tokens_total{model_name="nano"}',
        'e2e_request_latency_seconds_bucket{le="0.001",route="/v1/audio/transcriptions"}',
    ):  # fmt: skip
        assert f"osum:{name}" in page


def test_the_log_has_a_line_of_json_for_each_request_and_no_content(raw: httpx2.Client, log_folder: Path) -> None:
    answer = raw.post(
        "/v1/audio/transcriptions?hush=1",
        data={"model": "nano", "prompt": "private words"},
        files={"file": WORDS.read_bytes()},
    )
    name = answer.headers["x-request-id"]
    _until(lambda: name in (log_folder / "log").read_text())
    text = (log_folder / "log").read_text()
    (line,) = [json.loads(line) for line in text.splitlines() if name in line]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/audio/transcriptions", 200)
    assert line["model"] == "nano" and line["audio_seconds"] == 1.36 and line["bytes_in"] > 10_000
    for private in (KEY, "private words", "hush", answer.json()["text"]):
        assert private not in text


# Clients that leave, do not come, or are too many


def test_a_client_that_leaves_frees_the_engine(live: Live) -> None:
    url, service = live()
    with connected(url, LONG), service.models.lease("tiny") as model:
        _until(lambda: model.engine.busy)
    _until(lambda: not model.engine.busy and not service.desk.running, 3)


def test_a_client_that_leaves_a_stream_frees_the_engine(live: Live) -> None:
    url, service = live()
    body = LONG.replace(b"--b\r\n", b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--b\r\n', 1)
    with connected(url, body) as sock, service.models.lease("tiny") as model:
        _until(lambda: model.engine.busy)
        assert sock.recv(10)
    _until(lambda: not model.engine.busy and not service.desk.running, 3)


def test_one_request_too_many_is_asked_to_come_again(live: Live) -> None:
    url, service = live(max_running=1, max_waiting=1)
    with connected(url, LONG), connected(url, LONG):
        _until(lambda: (service.desk.running, service.desk.waiting) == (1, 1))
        answer = transcribe(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx2.get(f"{url}/ready").json()["reason"] == "no place free"
    _until(lambda: not service.desk.running and not service.desk.waiting)
    assert transcribe(url).status_code == 200


def test_a_key_that_has_its_share_in_flight_is_asked_to_come_again(live: Live) -> None:
    url, service = live(api_keys=("a", "b"), max_per_key=1)
    service.access.issue("ek_a", time.monotonic() + 60, service.access.check_key(Headers(bearer("a"))))
    with connected(url, LONG, key="a"):
        _until(lambda: service.desk.running == 1)
        for key in ("a", "ek_a"):
            answer = transcribe(url, headers=bearer(key))
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert transcribe(url, headers=bearer("b")).status_code == 200
        assert httpx2.get(f"{url}/v1/models", headers=bearer("a")).status_code == 200
        assert 'admission_rejections_total{reason="key_limit"} 2.0' in httpx2.get(f"{url}/metrics").text
    _until(lambda: not service.desk.running)
    assert transcribe(url, headers=bearer("ek_a")).status_code == 200


def test_a_limit_of_each_key_needs_keys() -> None:
    with pytest.raises(InputError, match="there is no key"):
        ServerOptions(max_per_key=2)


def test_an_answer_that_takes_too_long_is_given_up(live: Live) -> None:
    url, service = live(request_seconds=0.02)
    with connected(url, LONG) as sock:
        answer = sock.recv(65536)
    assert b" 504 " in answer and b"x-should-retry: false" in answer
    _until(lambda: not service.desk.running, 3)


@pytest.mark.parametrize("options", [{"idle_seconds": 0.2}, {"body_seconds": 0.4}])
def test_a_body_that_does_not_come_is_given_up(live: Live, options: dict[str, float]) -> None:
    url, service = live(**options)
    with connected(url, FORM, length=9999) as sock:
        for _ in range(30 if "body_seconds" in options else 0):  # a byte now and then
            time.sleep(0.05)
            try:
                sock.sendall(b"x")
            except OSError:
                break
        assert b" 408 " in sock.recv(65536)
    assert service.desk.running == service.desk.waiting == 0


def test_a_gigabyte_is_refused_before_any_of_it_is_read(live: Live) -> None:
    url, _ = live()
    with connected(url, b"", length=2**30) as sock:
        answer = sock.recv(65536)
    assert b" 413 " in answer and b"connection: close" in answer


@pytest.mark.parametrize(
    ("sends", "takes", "given_up"), [(60, 0, 30), (20, 0, 300), (0, 60, 30)], ids=["idle", "trickling", "not reading"]
)
def test_a_client_of_one_byte_a_minute_is_given_up(sends: float, takes: float, given_up: float) -> None:
    """With the limits that a server has, on a clock that jumps to whatever is waited for."""
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(20):
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(sends)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message.get("status", 200))
        await asyncio.sleep(takes)

    async def ask() -> float:
        service: Service = create_app(Models({}, Recognizer), ServerOptions()).state.service
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
        gate = Gate(app, service)
        with pytest.raises(ApiError) if takes else nullcontext():  # the connection is closed in the middle of an answer
            await gate(scope, receive, send)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=loop_that_jumps) as runner:
        assert runner.run(ask()) == pytest.approx(given_up, abs=0.01)
    assert sent[0] == (200 if takes else 408)


@pytest.mark.parametrize(
    "head", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"GET /health HTTP/1.1\r\nHost: "]
)
def test_a_head_that_does_not_come_is_given_up(live: Live, head: bytes) -> None:
    url, _ = live(idle_seconds=0.2)
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=30) as sock:
        if head:
            sock.sendall(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )  # a whole one before it, on the same connection
            assert b" 200 " in sock.recv(65536)
            sock.sendall(head)
        assert sock.recv(65536) == b""


def test_threads_ask_at_once_and_each_gets_the_answer_that_it_gets_alone(live: Live) -> None:
    url, service = live(max_running=4)
    alone = transcribe(url).json()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: transcribe(url).json(), range(8)))
    assert answers == [alone] * 8
    assert not service.desk.running


# Loading and stopping


def test_a_model_is_loaded_at_first_use_and_unloaded_when_idle(live: Live) -> None:
    url, service = live(idle_unload=0.2)
    assert transcribe(url).status_code == 200
    _until(lambda: not service.models.is_loaded("tiny"))
    assert transcribe(url).status_code == 200


def test_a_server_about_to_stop_finishes_what_runs_and_takes_nothing_new(live: Live) -> None:
    url, service = live()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transcribe, url)
        _until(lambda: service.desk.running)
        service.desk.draining = True
        answer = transcribe(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert [httpx2.get(f"{url}{path}").status_code for path in ("/health", "/ready")] == [503, 503]
        assert running.result().status_code == 200


@pytest.mark.slow
def test_a_server_that_is_asked_to_stop_finishes_what_it_does(tmp_path: Path) -> None:
    with running(tmp_path, "--model", "nano", "--drain-seconds", "1.5", key=None) as (url, process):
        with ThreadPoolExecutor(1) as pool, httpx2.Client(base_url=url, timeout=60) as client:
            content = wav(14, level=0.1)
            answer = pool.submit(
                client.post, "/v1/audio/transcriptions", data={"model": "nano", "tasks": "all"}, files={"file": content}
            )
            _until(lambda: httpx2.get(f"{url}/ready").json()["running"] == 1)
            process.send_signal(signal.SIGTERM)
            _until(lambda: httpx2.get(f"{url}/health").status_code == 503)
            assert transcribe(url).status_code == 503
            assert answer.result().status_code == 200
        process.wait(30)
    assert "nothing was left unfinished" in (tmp_path / "log").read_text()


def test_a_model_that_cannot_be_loaded_is_a_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def broken(place: str) -> Recognizer:
        raise CheckpointError(f"{place} is broken at /srv/secret")

    app = create_app(Models({"a": "a"}, broken), ServerOptions(allowed_hosts=("testserver",), num_readers=1))
    with TestClient(app) as inner:
        answer = inner.post("/v1/audio/transcriptions", data={"model": "a"}, files={"file": wav(0.5)})
        assert inner.get("/ready").json()["reason"] == "loading"
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert "secret" not in answer.text and "secret" in caplog.text
