"""Access: who may ask. Keys, the name that a request calls this server by, and the page that it comes from.

For HTTP and WebSockets alike: `Gate` asks it for every path, so that no route can forget it.
`KeyPlaces` is how much one key may ask at once.
"""

from __future__ import annotations

import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from osum.server.faults import RETRY_AFTER, ApiError
from osum.server.options import LOOPBACK, ServerOptions

BROWSER_KEY = "openai-insecure-api-key."
"""Before a key among the subprotocols of a WebSocket, since a browser can set no header there."""


class Access:
    """Which keys, hosts and origins are let in. Only digests of the keys are kept, and no key is ever logged."""

    def __init__(self, options: ServerOptions) -> None:
        self._digests = [_digest(key) for key in options.api_keys]
        self._issued: dict[bytes, tuple[float, bytes | None]] = {}
        """Digest of a key for a while to when it ends, and the digest of the key that it was made with."""
        self._origins = frozenset(options.allowed_origins)
        self._hosts = frozenset((*LOOPBACK, options.host, *options.allowed_hosts))
        self._any_host = "*" in options.allowed_hosts or bool(options.api_keys) or options.insecure

    def issue(self, key: str, until: float, owner: bytes | None = None) -> None:
        """Let a further key in until `time.monotonic()` is `until`; its requests are those of the key `owner`."""
        now = time.monotonic()
        self._issued = {known: (end, whose) for known, (end, whose) in self._issued.items() if end > now}
        self._issued[_digest(key)] = until, owner

    def check_place(self, headers: Headers, writes: bool) -> None:
        """Refuse a name that is not ours (DNS rebinding), and what another's page makes a browser do.

        Raises:
            ApiError: 403.
        """
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if not self._any_host and host not in self._hosts:
            raise ApiError(403, "this server is not known by the name of that host: give it --allowed-host")
        origin = headers.get("origin")
        if writes and origin is not None and not self.is_own(origin, headers.get("host", "")):
            raise ApiError(403, "pages of that origin may not ask here: give it --allowed-origin")

    def is_own(self, origin: str, host: str) -> bool:
        """Whether a page may ask: it is this server's own, or listed."""
        return bool(self._origins & {origin, "*"}) or urlsplit(origin).netloc == host

    def check_key(self, headers: Headers) -> bytes | None:
        """The digest of the key that a request is made with; None where none is needed.

        Raises:
            ApiError: 401, without one of the keys.
        """
        if not self._digests:
            return None
        found = [owner for key in given_keys(headers) for owner in self._owners(key)]
        if not found:
            raise ApiError(
                401, "no valid API key: send it as 'Authorization: Bearer KEY'", code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return found[0]

    def _owners(self, key: str) -> list[bytes]:
        """Whose key it is, if it is one. It is compared with every key, so that time says nothing about them."""
        digest, now = _digest(key), time.monotonic()
        known = [(own, own) for own in self._digests]
        known += [(issued, owner or issued) for issued, (end, owner) in self._issued.items() if end > now]
        return [owner for other, owner in known if hmac.compare_digest(digest, other)]


class KeyPlaces:
    """How many requests and live talks each key has in flight; one too many is refused."""

    def __init__(self, most: int | None) -> None:
        self._most, self._taken = most, Counter[bytes]()
        self.refused: Callable[[], None] = lambda: None
        """Is called where a request got no place."""

    @contextmanager
    def one(self, key: bytes | None) -> Iterator[None]:
        """A place among those of a key, while the block runs. On the event loop alone.

        Raises:
            ApiError: 429, where it has none left.
        """
        if self._most is None or key is None:
            yield
            return
        if self._taken[key] >= self._most:
            self.refused()
            raise ApiError(429, f"this key has {self._most} requests in flight, as many as it may: ask again after one",
                           code="rate_limit_exceeded", headers=RETRY_AFTER)  # fmt: skip
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            self._taken += Counter()  # forgets the keys that have none in flight


def given_keys(headers: Headers) -> Iterable[str]:
    """The keys that a request brings: as a bearer, or of a browser's WebSocket among its subprotocols."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield key.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(BROWSER_KEY):
            yield protocol.strip().removeprefix(BROWSER_KEY)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf8", "surrogateescape")).digest()
