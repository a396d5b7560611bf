"""Media: the recordings inside JSON requests: base64, data URLs and, from domains that are allowed, URLs.

A URL is fetched without trusting it: its host must be allowed, every address that it resolves to must be public, one of
those very addresses is dialled, and a redirect is refused. All refusals read alike, so that nobody can map a network.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from osum.server.desk import Stop
from osum.server.faults import ApiError, bad
from osum.server.options import ServerOptions

FETCH_SECONDS = 10.0
"""In which a URL must be fetched."""
CHUNK = 2**16  # bytes
_DATA = re.compile(r"data:[^,]{0,200},")


def save_part(part: Mapping[str, Any], place: Path, param: str, options: ServerOptions, stop: Stop) -> None:
    """Write the recording of a content part, `input_audio` or `audio_url`, to a file.

    Raises:
        ApiError: 400 for one that is malformed or may not be fetched, 413 for one that is too large.
    """
    kind = part.get("type")
    given = part.get(str(kind))
    if kind == "input_audio" and isinstance(given, Mapping) and isinstance(given.get("data"), str):
        place.write_bytes(_decoded(given["data"], f"{param}.input_audio.data"))
        return
    url = given.get("url") if isinstance(given, Mapping) else given
    if kind == "audio_url" and isinstance(url, str):
        save_url(url, place, f"{param}.audio_url.url", options, stop)
        return
    raise bad(f"{param} is no recording: give input_audio with data, or audio_url with url", param)


def save_url(url: str, place: Path, param: str, options: ServerOptions, stop: Stop) -> None:
    """Write what a data URL holds, or what an allowed URL gives, to a file.

    Raises:
        ApiError: as `save_part`.
    """
    if url[:5].lower() == "data:":
        place.write_bytes(_data(url, param))
        return
    size = 0
    with place.open("wb") as file, closing(_fetched(url, options.allowed_media_domains, param, stop)) as chunks:
        for chunk in chunks:
            size += len(chunk)
            if size > options.max_upload_bytes:
                raise ApiError(413, f"the recording is larger than {options.max_upload_bytes} bytes", param)
            file.write(chunk)


def _data(url: str, param: str) -> bytes:
    found = _DATA.match(url)
    if found is None:
        raise bad("the data URL has no comma behind its type: write data:audio/wav;base64,...", param)
    body = url[found.end() :]
    return _decoded(body, param) if found[0].lower().endswith(";base64,") else unquote_to_bytes(body)


def _decoded(text: str, param: str) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as fault:
        raise bad(f"the recording is no base64 ({str(fault)[:60]}): encode its bytes", param) from None
    if not content:
        raise bad("the recording is empty: encode its bytes", param)
    return content


def _fetched(url: str, domains: tuple[str, ...], param: str, stop: Stop) -> Generator[bytes]:
    """The body of a URL in chunks."""
    refused = bad("audio_url may not be fetched: send a data URL, or one of a domain that this server allows", param,
                  "media_not_allowed")  # fmt: skip
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").lower().rstrip(".")
    except ValueError:
        raise refused from None
    if parts.scheme not in ("http", "https") or host not in domains or parts.username is not None:
        raise refused
    try:
        connection = _dialled(parts.scheme, host, port)
        end = time.monotonic() + FETCH_SECONDS
        late = threading.Timer(FETCH_SECONDS, partial(_hang_up, connection.sock))  # whatever it waits for, headers too
        late.start()
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Accept": "audio/*", "Connection": "close"})
            with connection.getresponse() as response:
                if response.status != 200:
                    raise refused
                while chunk := response.read1(CHUNK):
                    stop.check()
                    yield chunk
                if time.monotonic() >= end:  # only then may the timer have hung up, which reads like the end
                    raise bad(f"the recording of audio_url did not arrive within {FETCH_SECONDS:g} s", param)
        finally:
            late.cancel()
            connection.close()
    except (OSError, http.client.HTTPException, UnicodeError, ValueError):
        raise refused from None


def _dialled(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    """A connection to an address that was checked, by the name that was allowed.

    Raises:
        OSError: one of its addresses is not public, or none answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not addresses or not all(map(is_public, addresses)):
        raise OSError("an address that is not public")
    connection = http.client.HTTPConnection(host, port, timeout=FETCH_SECONDS)
    dialled = socket.create_connection((addresses[0], port), timeout=FETCH_SECONDS)
    secure = ssl.create_default_context() if scheme == "https" else None
    connection.sock = dialled if secure is None else secure.wrap_socket(dialled, server_hostname=host)
    return connection


def _hang_up(sock: socket.socket) -> None:
    """End a connection in the middle of whatever a thread reads from it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, also where it is written as one of IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None and not inner.is_global:
            return False
    return found.is_global and not found.is_multicast
