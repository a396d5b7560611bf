"""URLs of recordings: what may be fetched, and from where."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from stub_server import serving

from osum.server import media
from osum.server.desk import Stop
from osum.server.faults import ApiError
from osum.server.options import ServerOptions


class Site(BaseHTTPRequestHandler):
    """A page, a redirect, and an answer that never ends."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1/secret")
            self.end_headers()
            return
        if self.path in ("/heads", "/bytes"):
            self.trickle(b"x: y\r\n" if self.path == "/heads" else b"\r\n")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"host {self.headers['Host']}".encode())
        while self.path == "/endless":
            try:
                self.wfile.write(bytes(4096))
            except OSError:
                break

    def trickle(self, content: bytes) -> None:
        """Send a status and some of it ever again, so that no read waits for long, until nobody reads any more."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            try:
                self.wfile.write(content)
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Site)) as server:
        yield server.server_port


def fetch(url: str, place: Path, *domains: str) -> bytes:
    options = ServerOptions(allowed_media_domains=domains, max_upload_bytes=100_000)
    media.save_url(url, place / "a", "audio_url", options, Stop())
    return (place / "a").read_bytes()


def refusal(url: str, place: Path, *domains: str) -> str | None:
    with pytest.raises(ApiError) as caught:
        fetch(url, place, *domains)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value.code


def test_an_allowed_domain_is_dialled_by_its_checked_address(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "is_public", lambda _: True)
    assert fetch(f"http://localhost:{port}/a.wav", tmp_path, "localhost") == f"host localhost:{port}".encode()


def test_an_allowed_domain_that_leads_inside_is_refused(port: int, tmp_path: Path) -> None:
    assert refusal(f"http://localhost:{port}/a.wav", tmp_path, "localhost") == "media_not_allowed"


def test_one_private_address_among_public_ones_refuses_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert refusal("http://example.org/a.wav", tmp_path, "example.org") == "media_not_allowed"


def test_a_redirect_is_not_followed(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "is_public", lambda _: True)
    assert refusal(f"http://localhost:{port}/moved", tmp_path, "localhost") == "media_not_allowed"


def test_an_answer_that_never_ends_is_cut_at_the_limit(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "is_public", lambda _: True)
    with pytest.raises(ApiError) as caught:
        fetch(f"http://localhost:{port}/endless", tmp_path, "localhost")
    assert caught.value.status == 413


@pytest.mark.parametrize("page", ["heads", "bytes"])
def test_an_answer_that_trickles_is_given_up(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(media, "is_public", lambda _: True)
    monkeypatch.setattr(media, "FETCH_SECONDS", 0.3)
    with pytest.raises(ApiError) as caught:
        fetch(f"http://localhost:{port}/{page}", tmp_path, "localhost")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "url",
    [
        "https://other.org/a", "http://example.org.evil.com/a", "http://user@example.org/a", "file://example.org/etc/passwd",
        "gopher://example.org", "http://[::1", "http://example.org:99999/", "//example.org/a", "",
    ],
)  # fmt: skip
def test_anything_but_an_allowed_domain_is_refused_alike(tmp_path: Path, url: str) -> None:
    assert refusal(url, tmp_path, "example.org") == "media_not_allowed"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("169.254.169.254", False), ("192.168.0.1", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("fd00::1", False),
        ("::ffff:127.0.0.1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_an_address_is_public_or_not_in_either_writing(address: str, public: bool) -> None:
    assert media.is_public(address) is public


def test_a_data_url_is_decoded_with_or_without_base64(tmp_path: Path) -> None:
    assert fetch("data:audio/wav;base64,aGk=", tmp_path) == b"hi"
    assert fetch("data:,h%69", tmp_path) == b"hi"
