"""A language model behind any OpenAI-compatible endpoint: messages in, one answer out, paid for once.

    endpoint = Endpoint.from_environment("http://127.0.0.1:8000/v1")
    with LanguageModel(endpoint, "qwen2.5", cache=Path("cache")) as model:
        reply = model.complete([{"role": "user", "content": "Is it raining?"}], Schema("answer", {"it": ("yes", "no")}))
        print(reply.values["it"], reply.prompt_tokens, reply.completion_tokens, reply.cached)

1. A request that was answered before is read from the cache, whose names are hashes of what was asked.
2. Else the `openai` SDK sends it: again after faults that pass (429, 5xx, timeouts), in a plainer form where the
   server refuses one. The SDK's own retries are off: they know neither a limit of cost nor that a run is stopped.
3. An answer that does not fit the request's schema is asked for again with the next seed.

Knows nothing of what the answers are for. The key is written to no message, file or log.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

from msgspec import Meta

from osum.errors import EndpointError, EndpointUnusableError, InputError, MissingExtraError
from osum.files import atomic_file
from osum.peers.budget import CostBudget, Prices
from osum.peers.completion import (
    Completion,
    CompletionRequest,
    Message,
    Messages,
    Schema,
    error_text,
    retry_after,
    short,
)

if TYPE_CHECKING:
    import httpx2
    import openai

ENDPOINT_VARIABLE = "OSUM_LLM_ENDPOINT"
"""Base address, where none is given."""
KEY_VARIABLE = "OSUM_LLM_KEY"
"""Of our own: the key of another service must not go to whatever address a command line names."""
HOPELESS = 3
"""So many requests in a row that fail after all their tries: it is not the requests."""
_SECRET = 8
"""Characters of the shortest key that can be one."""
_PATH = "/chat/completions"
_HEADERS = frozenset({"host", "content-type", "content-length", "accept", "authorization", "user-agent"})
"""All that is sent: others may come from variables of another service (`OPENAI_CUSTOM_HEADERS`, `OPENAI_ORG_ID`)."""
_PASSING = frozenset({408, 409, 425, 429})
_CLOSED = frozenset({401, 402, 404, 405})
"""No further request will fare better: wrong key, no money, wrong address or model."""
_REFUSED_FORM = frozenset({400, 422})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go, and how patiently.

    Raises:
        InputError: an address that is none or holds a secret, or a key that no header can carry.
    """

    url: str
    """Base address, such as `http://127.0.0.1:8000/v1`."""
    key: str | None = field(default=None, repr=False)
    timeout: Annotated[float, Meta(gt=0)] = 120.0
    """Seconds for one whole answer."""
    tries: Annotated[int, Meta(ge=1)] = 5
    """Of one request, where the fault may pass."""
    backoff: float = 1.0  # s before the second try; doubled for each further one
    longest_wait: float = 120.0  # s that a server may ask us to wait
    answers: int = 3
    """Of one request, until one fits its schema."""
    max_bytes: int = 1 << 20
    """Of one answer."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(
                f"the endpoint at {parts.hostname} is given with a user, '?' or '#': give the base address alone, and "
                f"the key in the environment as {KEY_VARIABLE}"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"endpoint {self.url!r} is no address: give a base such as http://127.0.0.1:8000/v1")
        if self.key is not None and not re.fullmatch(r"[!-~]+", self.key):
            raise InputError(
                f"the key in {KEY_VARIABLE} is empty or holds spaces or letters beyond ASCII: set it again"
            )

    @classmethod
    def from_environment(cls, url: str, **settings: Any) -> Endpoint:
        """With the key in `OSUM_LLM_KEY`; without one where it is not set, as local servers like it."""
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return cls(url, key or None, **settings)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one `LanguageModel` has asked for so far, unusable answers included."""

    calls: int = 0
    """Answers that came from the server."""
    cached: int = 0
    """Requests that the cache answered."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    """Answers whose tokens the server did not count."""


class LanguageModel:
    """One model of an endpoint, with a cache, a count and a limit of cost; threads may share it.

    A fault that every request would meet ends the sending: from then on only the cache answers.

    Args:
        endpoint: where requests go.
        model: as the endpoint names it.
        temperature, max_tokens, seed: of each `complete`.
        cache: a folder that keeps every answer that fits; processes may share it. None keeps nothing.
        prices: of a million tokens; needed for a limit.
        max_cost: the most that may be spent, in the currency of the prices.

    Raises:
        InputError: a limit of cost without prices.
        MissingExtraError: openai is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        seed: int = 0,
        cache: Path | None = None,
        prices: Prices | None = None,
        max_cost: float | None = None,
    ) -> None:
        if max_cost is not None and prices is None:
            raise InputError(f"a limit of cost, {max_cost:g}, needs the prices of a million tokens: give both of them")
        try:
            import httpx2
            import openai
        except ImportError as missing:
            raise MissingExtraError("openai", "eval") from missing
        self._openai, self._httpx, self._endpoint, self._cache = openai, httpx2, endpoint, cache
        self._model, self._temperature, self._max_tokens, self._seed = model, temperature, max_tokens, seed
        self._client = openai.OpenAI(
            base_url=endpoint.url.rstrip("/").removesuffix(_PATH),
            api_key=endpoint.key or "none",  # without one the SDK would read another service's from the environment
            max_retries=0,
            http_client=httpx2.Client(
                transport=_Transport(httpx2, endpoint),  # type: ignore[arg-type]  # by its form
                timeout=endpoint.timeout,
            ),
        )
        self._budget = CostBudget(prices or Prices(0, 0), math.inf if max_cost is None else max_cost)
        self._dropped: tuple[str, ...] = ()
        self._usage, self._failed_in_row = Usage(), 0
        self._lock, self._ended, self._why = threading.Lock(), threading.Event(), ""
        self._asking: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("the client is closed")
        self._client.close()

    @property
    def usage(self) -> Usage:
        """So far."""
        return self._usage

    def complete(self, messages: Messages, schema: Schema | None = None) -> Completion:
        """The answer to messages, as text and, where there is a schema, as values that fit it; raises as `ask` does."""
        return self.ask(
            CompletionRequest(self._model, messages, schema, self._temperature, self._max_tokens, self._seed)
        )

    def ask(self, request: CompletionRequest) -> Completion:
        """The answer to a request that brings its own model and settings, from the cache or from the server.

        Raises:
            EndpointError: there is none to this request: refused, out of its schema, or too long.
            EndpointUnusableError: there will be none to any: down, not allowed, or the limit of cost is reached.
            InputError: the cache cannot be written.
        """
        digest = request.digest
        with self._lock:
            asking = self._asking[digest]
        with asking:  # one question of two threads is paid for once
            reply = self._read(request, digest)
            if reply is not None:
                self._count(cached=1)
                return reply
            reply = self._ask_until_it_fits(request)
            self._keep(request, digest, reply)
            return reply

    def end(self, why: str) -> EndpointUnusableError:
        """Send nothing from here on, and wake who waits; the error is what they get."""
        with self._lock:
            self._why = self._why or why
            self._ended.set()
        return EndpointUnusableError(self._why)

    # Sending

    def _ask_until_it_fits(self, request: CompletionRequest) -> Completion:
        fault = ""
        for attempt in range(self._endpoint.answers):
            message, dropped = self._send_with_tries(replace(request, seed=request.seed + attempt))
            try:
                return message.reply(request, dropped)
            except ValueError as wrong:
                fault = str(wrong)
        raise EndpointError(f"{self._endpoint.answers} answers out of schema, the last: {fault}")

    def _send_with_tries(self, request: CompletionRequest) -> tuple[Message, tuple[str, ...]]:
        fault = _PassingError("not tried")
        for attempt in range(self._endpoint.tries):
            if attempt:
                self._wait(fault, attempt)
            try:
                answered = self._send_in_any_form(request)
            except _PassingError as again:
                fault = again
            else:
                self._failed_in_row = 0
                return answered
        self._failed_in_row += 1
        said = f"{fault}, after {self._endpoint.tries} tries"
        if fault.everybody or self._failed_in_row >= HOPELESS:
            raise self.end(f"{self._host}: {said}: start again when it answers; what is there is kept")
        raise EndpointError(said)

    def _send_in_any_form(self, request: CompletionRequest) -> tuple[Message, tuple[str, ...]]:
        """The message, and what the server refused; that is kept in mind once a plainer form has worked."""
        dropped: tuple[str, ...] | None = self._dropped
        first = ""
        while dropped is not None:
            try:
                message = self._send(request, dropped)
            except _FormError as refused:
                first = first or str(refused)
                dropped = request.plainer(dropped, str(refused))
            else:
                self._dropped = dropped
                return message, dropped
        raise EndpointError(first)

    def _send(self, request: CompletionRequest, dropped: tuple[str, ...]) -> Message:
        """One call."""
        if self._ended.is_set():
            raise EndpointUnusableError(self._why)
        body = request.body(dropped)
        with self._budget.call(len(body), request.max_tokens) as bill:
            try:
                message = Message.of(self._client.chat.completions.create(**json.loads(body)))
            except self._openai.APIStatusError as fault:
                bill.amount = 0.0
                raise self._fault_of(fault) from None
            except self._openai.APIConnectionError as fault:
                if isinstance(fault.__cause__, self._httpx.ConnectError):
                    bill.amount = 0.0
                raise self._lost(fault) from None
            except (ValueError, RecursionError) as fault:
                raise _PassingError(short(str(fault))) from None
            prompt, completion = message.tokens or (0, 0)
            if message.tokens:
                bill.amount = self._budget.prices.of(prompt, completion)
        self._count(calls=1, prompt_tokens=prompt, completion_tokens=completion, uncounted=int(message.tokens is None))
        return message

    # Faults

    def _lost(self, fault: openai.APIConnectionError) -> _PassingError:
        if isinstance(fault, self._openai.APITimeoutError):
            return _PassingError(f"no answer in {self._endpoint.timeout:g} s")
        refused = isinstance(fault.__cause__, self._httpx.ConnectError)
        what = "no connection" if refused else "connection lost"
        return _PassingError(f"{what} ({short(str(fault.__cause__))})", everybody=refused)

    def _fault_of(self, fault: openai.APIStatusError) -> Exception:
        status = fault.status_code
        said = f"HTTP {status}: {short(error_text(fault.body) or fault.response.text) or 'no reason given'}"
        if status in _PASSING or status >= 500:
            return _PassingError(said, retry_after(fault.response.headers.get("retry-after")), everybody=status == 429)
        if status in _CLOSED or status < 400:
            return self.end(f"{self._host}: {said}: correct the address, the model or {KEY_VARIABLE}")
        if "content_filter" in said or "content_policy" in said:
            return EndpointError(f"refused: {said}")
        return _FormError(said) if status in _REFUSED_FORM else EndpointError(said)

    def _wait(self, fault: _PassingError, attempt: int) -> None:
        if fault.wait > self._endpoint.longest_wait:
            raise self.end(
                f"{self._host}: {fault}; it asks for {fault.wait:.0f} s of patience: start again then; what is there "
                "is kept"
            )
        # Drawn, so that threads that were refused together do not come back together.
        backoff = self._endpoint.backoff * 2 ** (attempt - 1) * random.uniform(1, 1.5)
        if self._ended.wait(max(fault.wait, min(backoff, self._endpoint.longest_wait))):
            raise EndpointUnusableError(self._why)

    @property
    def _host(self) -> str:
        return urlsplit(self._endpoint.url).netloc

    # Count and cache

    def _count(self, **more: int) -> None:
        with self._lock:
            self._usage = Usage(**{name: count + more.get(name, 0) for name, count in asdict(self._usage).items()})

    def _read(self, request: CompletionRequest, digest: str) -> Completion | None:
        """What the cache holds; a damaged file is as good as none."""
        if self._cache is None:
            return None
        try:
            kept = json.loads(_place(self._cache, digest).read_bytes())["reply"]
            values = request.schema.read(kept["text"]) if request.schema else {}
            return Completion(**kept | {"dropped": tuple(kept["dropped"])}, values=values, cached=True)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _keep(self, request: CompletionRequest, digest: str, reply: Completion) -> None:
        if self._cache is None:
            return
        kept = {name: value for name, value in asdict(reply).items() if name not in ("values", "cached")}
        try:
            with atomic_file(_place(self._cache, digest)) as file:
                file.write(json.dumps({"request": asdict(request), "reply": kept}, indent=1).encode())
        except OSError as fault:
            raise InputError(f"cache {self._cache} cannot be written ({fault.strerror or fault}): make room") from fault


class _Transport:
    """What the SDK sends and gets over HTTP: our headers alone, and a whole answer within a time and a size."""

    def __init__(self, httpx: ModuleType, endpoint: Endpoint) -> None:
        self._httpx, self._inner, self._endpoint = httpx, httpx.HTTPTransport(), endpoint
        key = endpoint.key or ""
        # Servers quote a key that they refuse. A stand-in such as `none` is no secret, and too common a word.
        self._secret = key.encode() if len(key) >= _SECRET else b""
        self._sent = _HEADERS if endpoint.key else _HEADERS - {"authorization"}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = time.monotonic() + self._endpoint.timeout
        for name in request.headers.keys() - self._sent:
            del request.headers[name]
        request.headers["Accept-Encoding"] = "identity"  # compressed, a small answer could be a huge one
        raw = bytearray()
        with contextlib.closing(self._inner.handle_request(request)) as response:
            for chunk in response.iter_raw():
                raw += chunk
                if len(raw) > self._endpoint.max_bytes:
                    raise EndpointError(f"the answer has more than {self._endpoint.max_bytes} bytes")
                if time.monotonic() > deadline:  # the library's own limit starts again with every piece
                    raise self._httpx.ReadTimeout("too slow", request=request)
        content = bytes(raw).replace(self._secret, b"***") if self._secret else bytes(raw)
        return self._httpx.Response(response.status_code, headers=response.headers, content=content)

    def close(self) -> None:
        self._inner.close()


class _PassingError(Exception):
    """A fault that may pass."""

    def __init__(self, said: str, wait: float = 0.0, everybody: bool = False) -> None:
        super().__init__(said)
        self.wait = wait
        """Seconds that the server asks for."""
        self.everybody = everybody
        """Whether any other request would have met it too."""


class _FormError(Exception):
    """The server refuses a request as it is."""


def _place(cache: Path, digest: str) -> Path:
    return cache / digest[:2] / f"{digest}.json"
