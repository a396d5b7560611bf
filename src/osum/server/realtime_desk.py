"""RealtimeDesk: what the live talks of one server share: their number, their voice, and keys that last for a while."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import cached_property
from typing import Any

from osum.dialogue.voiced import EspeakVoice, Synthesizer
from osum.errors import OsumError
from osum.server.turn_policies import TurnPolicies

LOG = logging.getLogger("osum.server")


class RealtimeDesk:
    """One for each server."""

    def __init__(self, turns: TurnPolicies | None = None) -> None:
        self.turns = turns or TurnPolicies()
        """Who decides about turns."""
        self.talks = 0
        """Talks that are open."""
        self._made: dict[str, tuple[float, dict[str, Any]]] = {}

    def remember(self, key: str, until: float, session: dict[str, Any]) -> None:
        """A key was made for a session; it ends when `time.monotonic()` is `until`."""
        now = time.monotonic()
        self._made = {known: made for known, made in self._made.items() if made[0] > now}
        self._made[key] = (until, session)

    def made_for(self, keys: list[str]) -> tuple[float, dict[str, Any]]:
        """When the key of a request ends, and the session that it was made for."""
        return next((self._made[key] for key in keys if key in self._made), (float("inf"), {}))

    @cached_property
    def synthesizer(self) -> Synthesizer | None:
        """What speaks replies of models that only write; None where nothing is installed."""
        try:
            return EspeakVoice()
        except OsumError as missing:
            LOG.info("replies of live talks are text alone: %s", missing)
            return None

    def warm(self) -> None:
        """Open what the first words of a talk would wait for: the voice, and its dictionary of Mandarin."""
        if self.synthesizer is not None:
            with suppress(OsumError):  # Mandarin needs pypinyin, which may not be there
                self.synthesizer.speak("ok")
                self.synthesizer.speak("好")

    @property
    def voice(self) -> str | None:
        """Name of the voice."""
        return None if self.synthesizer is None else "espeak"
