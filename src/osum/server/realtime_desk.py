"""RealtimeDesk: what the live talks of one server share: their number, their voice, and keys that last for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from osum.dialogue.voiced import EspeakVoice, Synthesizer
from osum.errors import OsumError
from osum.server.turn_policies import TurnPolicies
from osum.server.webrtc import CallLine

LOG = logging.getLogger("osum.server")


class RealtimeDesk:
    """One for each server."""

    def __init__(self, turns: TurnPolicies | None = None) -> None:
        self.turns = turns or TurnPolicies()
        """Who decides about turns."""
        self.talks = 0
        """Talks that are open."""
        self._calls: dict[str, tuple[CallLine, asyncio.Task[None]]] = {}
        self._made: dict[str, tuple[float, dict[str, Any]]] = {}

    def remember(self, key: str, until: float, session: dict[str, Any]) -> None:
        """A key was made for a session; it ends when `time.monotonic()` is `until`."""
        now = time.monotonic()
        self._made = {known: made for known, made in self._made.items() if made[0] > now}
        self._made[key] = (until, session)

    def made_for(self, keys: list[str]) -> tuple[float, dict[str, Any]]:
        """When the key of a request ends, and the session that it was made for."""
        return next((self._made[key] for key in keys if key in self._made), (float("inf"), {}))

    def begin_call(self, name: str, line: CallLine, talk: Coroutine[Any, Any, None]) -> None:
        """Lead a call of WebRTC until it ends."""
        task = asyncio.get_running_loop().create_task(talk, name=name)
        self._calls[name] = line, task
        task.add_done_callback(partial(self._end_call, name))

    def _end_call(self, name: str, task: asyncio.Task[None]) -> None:
        del self._calls[name]
        if not task.cancelled() and (fault := task.exception()):
            LOG.error("call %s failed", name, exc_info=fault)

    def hang_up(self, name: str) -> bool:
        """End a call; whether there is one of that name."""
        line, _ = self._calls.get(name, (None, None))
        if line is not None:
            line.hang_up()
        return line is not None

    async def close(self) -> None:
        """End all calls."""
        tasks = [task for _, task in self._calls.values()]
        for name in list(self._calls):
            self.hang_up(name)
        if tasks:
            await asyncio.wait(tasks, timeout=5)

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
