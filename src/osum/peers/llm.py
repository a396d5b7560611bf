"""A client of any OpenAI-compatible chat completions endpoint: one question in, one answer out, paid for once.

1. A request that was answered before is read from the cache, whose names are hashes of what was asked.
2. Else it is sent: again after faults that pass (429, 5xx, timeouts), in a plainer form where the server refuses one.
3. An answer that does not fit the request's schema is asked for again with the next seed.

Knows nothing of what the answers are for. The key stands in no message, file or log.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from osum.errors import EndpointError, EndpointUnusableError, InputError, MissingExtraError
from osum.files import atomic_file
from osum.peers.budget import Budget, Prices
from osum.peers.completion import Message, Reply, Request, error_text, retry_after, short

KEY_VARIABLE = "OSUM_LLM_KEY"
"""Of our own: the key of another service must not go to whatever address a command line names."""
HOPELESS = 3
"""So many requests in a row that fail after all their tries: it is not the requests."""
_SECRET = 8
"""Characters of the shortest key that can be one."""
_PATH = "/chat/completions"
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
    timeout: float = 120.0  # s, for one whole answer
    tries: int = 5
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
            raise InputError(f"the key in {KEY_VARIABLE} is empty or holds spaces or letters beyond ASCII: set it anew")

    @classmethod
    def from_environment(cls, url: str, **settings: Any) -> Endpoint:
        """With the key in `OSUM_LLM_KEY`; without one where it is not set, as local servers like it."""
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return cls(url, key or None, **settings)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one `Chat` has asked for so far, answers of no use among it."""

    calls: int = 0
    """Answers that came from the server."""
    cached: int = 0
    """Requests that the cache answered."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    """Answers whose tokens the server did not count."""


class Chat:
    """An endpoint with its cache, its count and its limit of cost; threads may share it.

    A fault that every request would meet ends the sending: from then on only the cache answers.

    Raises:
        InputError: a limit of cost without prices.
        MissingExtraError: httpx2 is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Path | None = None,
        prices: Prices | None = None,
        max_cost: float | None = None,
    ) -> None:
        if max_cost is not None and prices is None:
            raise InputError(f"a limit of cost, {max_cost:g}, needs the prices of a million tokens: give both of them")
        try:
            import httpx2
        except ImportError as missing:
            raise MissingExtraError("httpx2", "eval") from missing
        self._httpx, self._endpoint, self._cache = httpx2, endpoint, cache
        self._address = endpoint.url.rstrip("/").removesuffix(_PATH) + _PATH
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        # Compressed, a small answer could be a huge one.
        headers |= {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        self._http = httpx2.Client(headers=headers, timeout=endpoint.timeout)
        self._budget = Budget(prices or Prices(0, 0), math.inf if max_cost is None else max_cost)
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
        self._http.close()

    @property
    def usage(self) -> Usage:
        """So far."""
        return self._usage

    def ask(self, request: Request) -> Reply:
        """The answer to a request, from the cache or from the server.

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

    def _ask_until_it_fits(self, request: Request) -> Reply:
        fault = ""
        for attempt in range(self._endpoint.answers):
            message, dropped = self._send_with_tries(replace(request, seed=request.seed + attempt))
            try:
                return message.reply(request, dropped)
            except ValueError as wrong:
                fault = str(wrong)
        raise EndpointError(f"{self._endpoint.answers} answers out of schema, the last: {fault}")

    def _send_with_tries(self, request: Request) -> tuple[Message, tuple[str, ...]]:
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

    def _send_in_any_form(self, request: Request) -> tuple[Message, tuple[str, ...]]:
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

    def _send(self, request: Request, dropped: tuple[str, ...]) -> Message:
        """One call."""
        if self._ended.is_set():
            raise EndpointUnusableError(self._why)
        body = request.body(dropped)
        with self._budget.call(len(body), request.max_tokens) as bill:
            try:
                status, headers, raw = self._exchange(body)
            except self._httpx.ConnectError as fault:
                bill.amount = 0.0
                raise _PassingError(f"no connection ({short(str(fault))})", everybody=True) from None
            except self._httpx.TimeoutException:
                raise _PassingError(f"no answer in {self._endpoint.timeout:g} s") from None
            except self._httpx.TransportError as fault:
                raise _PassingError(f"connection lost ({short(str(fault))})") from None
            if status != 200:
                bill.amount = 0.0
                raise self._fault_of(status, headers, raw)
            try:
                message = Message.read(raw)
            except ValueError as fault:
                raise _PassingError(str(fault)) from None
            prompt, completion = message.tokens or (0, 0)
            if message.tokens:
                bill.amount = self._budget.prices.of(prompt, completion)
        self._count(calls=1, prompt_tokens=prompt, completion_tokens=completion, uncounted=int(message.tokens is None))
        return message

    def _exchange(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, in the time that is allowed."""
        deadline = time.monotonic() + self._endpoint.timeout
        raw = bytearray()
        with self._http.stream("POST", self._address, content=body) as response:
            for chunk in response.iter_bytes():
                raw += chunk
                if len(raw) > self._endpoint.max_bytes:
                    raise EndpointError(f"the answer has more than {self._endpoint.max_bytes} bytes")
                if time.monotonic() > deadline:  # the library's own limit starts anew with every piece
                    raise self._httpx.ReadTimeout("too slow")
            return response.status_code, response.headers, self._without_key(bytes(raw))

    def _without_key(self, raw: bytes) -> bytes:
        """Servers quote a key that they refuse. A stand-in such as `none` is no secret, and too common a word."""
        key = self._endpoint.key or ""
        return raw.replace(key.encode(), b"***") if len(key) >= _SECRET else raw

    # Faults

    def _fault_of(self, status: int, headers: Mapping[str, str], raw: bytes) -> Exception:
        said = f"HTTP {status}: {short(error_text(raw)) or 'no reason given'}"
        if status in _PASSING or status >= 500:
            return _PassingError(said, retry_after(headers.get("retry-after")), everybody=status == 429)
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
        return urlsplit(self._address).netloc

    # Count and cache

    def _count(self, **more: int) -> None:
        with self._lock:
            self._usage = Usage(**{name: count + more.get(name, 0) for name, count in asdict(self._usage).items()})

    def _read(self, request: Request, digest: str) -> Reply | None:
        """What the cache holds; a damaged file is as good as none."""
        if self._cache is None:
            return None
        try:
            kept = json.loads(_place(self._cache, digest).read_bytes())["reply"]
            values = request.schema.read(kept["text"]) if request.schema else {}
            return Reply(**kept | {"dropped": tuple(kept["dropped"])}, values=values, cached=True)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _keep(self, request: Request, digest: str, reply: Reply) -> None:
        if self._cache is None:
            return
        kept = {name: value for name, value in asdict(reply).items() if name not in ("values", "cached")}
        try:
            with atomic_file(_place(self._cache, digest)) as file:
                file.write(json.dumps({"request": asdict(request), "reply": kept}, indent=1).encode())
        except OSError as fault:
            raise InputError(f"cache {self._cache} cannot be written ({fault.strerror or fault}): make room") from fault


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
