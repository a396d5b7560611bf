"""Access: who may ask. Keys, the name that a request calls this server by, and the page that it comes from.

For HTTP and WebSockets alike: `Gate` asks it for every path, so that no route can forget it.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from osum.server.faults import ApiError
from osum.server.options import LOOPBACK, ServerOptions

BROWSER_KEY = "openai-insecure-api-key."
"""Before a key among the subprotocols of a WebSocket, since a browser can set no header there."""


class Access:
    """Which keys, hosts and origins are let in. Only digests of the keys are kept, and no key is ever logged."""

    def __init__(self, options: ServerOptions) -> None:
        self._digests = [_digest(key) for key in options.api_keys]
        self._issued: dict[bytes, float] = {}
        """Digest of a key for a while to when it ends."""
        self._origins = frozenset(options.allowed_origins)
        self._hosts = frozenset((*LOOPBACK, options.host, *options.allowed_hosts))
        self._any_host = "*" in options.allowed_hosts or bool(options.api_keys) or options.insecure

    def issue(self, key: str, until: float) -> None:
        """Let a further key in until `time.monotonic()` is `until`."""
        now = time.monotonic()
        self._issued = {known: end for known, end in self._issued.items() if end > now}
        self._issued[_digest(key)] = until

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

    def check_key(self, headers: Headers) -> None:
        """Refuse a request without one of the keys.

        Raises:
            ApiError: 401.
        """
        if self._digests and not any([self._is_known(key) for key in given_keys(headers)]):  # noqa: C419  (no early exit)
            raise ApiError(
                401, "no valid API key: send it as 'Authorization: Bearer KEY'", code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip

    def _is_known(self, key: str) -> bool:
        """Compared with every key, so that time says nothing about them."""
        digest, now = _digest(key), time.monotonic()
        known = [*self._digests, *(issued for issued, end in self._issued.items() if end > now)]
        return any([hmac.compare_digest(digest, other) for other in known])  # noqa: C419


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
