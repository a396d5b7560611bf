"""Spoken: what replies aloud said, kept for a while."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict

from osum.server.faults import bad

KEPT_SECONDS, KEPT = 3600, 1024
"""How long, and how many, transcripts of replies aloud are kept for the turns that refer to them."""


class SpokenReplies:
    """What replies aloud said, for the turns that refer to them by id."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, text: str, name: str | None = None) -> tuple[str, int]:
        """The id of a reply, a new one or one that was given, and the second of the clock until which it is known."""
        name, until = name or f"audio_{uuid.uuid4().hex}", time.time() + KEPT_SECONDS
        with self._lock:
            self._texts[name] = (text, until)
            while len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        return name, int(until)

    def text(self, name: object, param: str) -> str:
        """What a reply said.

        Raises:
            ApiError: 400 for an id that is unknown, or no longer known.
        """
        text, until = self._texts.get(str(name), ("", 0.0))
        if time.time() >= until:
            raise bad("no reply of that id is known any more: send its text instead", param, "audio_expired")
        return text
