"""A server of `/v1/audio/speech` on 127.0.0.1 that speaks tones, and fails like real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from stub_server import Says, Server, serving

from osum.corpus.sound_file import wav

RATE = 24_000


def tone(text: str) -> bytes:
    """As many seconds of a tone as there are tenths of letters."""
    samples = 0.2 * np.sin(2 * np.pi * (200 + len(text)) * np.arange(RATE * max(len(text), 3) // 20) / RATE)
    return wav(samples, RATE)


@contextmanager
def speaking() -> Iterator[Server]:
    """A server that speaks every text."""
    with serving(Server("/v1/audio/speech", lambda asked: Says(tone(asked["input"])))) as server:
        yield server


def refusal(status: int, body: bytes = b"") -> Says:
    """A response that the client need not wait after."""
    return Says(body, status, {"retry-after": "0"})
