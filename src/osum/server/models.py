"""Models: the checkpoints of one server by the names that clients use; loaded at first use, unloaded when idle."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from osum.listening.recognizer import Recognizer
from osum.server.faults import NO_RETRY, ApiError

LOG = logging.getLogger("osum.server")
Open = Callable[[str], Recognizer]
"""From the place of a checkpoint to what answers with it."""


@dataclass(eq=False)
class _Slot:
    """One checkpoint, whatever the number of its names."""

    place: str
    model: Recognizer | None = None
    users: int = 0
    """Requests that hold it now."""
    used: float = field(default_factory=time.monotonic)
    """When the last request let it go."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is loaded."""


class Models:
    """The models of a server.

    Example:
        >>> models = Models({"nano": "nano", "whisper-1": "nano"}, osum.load)
        >>> with models.lease("whisper-1") as model:
        ...     model.transcribe("clip.wav")
    """

    def __init__(self, places: Mapping[str, str], open_model: Open) -> None:
        slots = {place: _Slot(place) for place in places.values()}
        self._slots = {name: slots[place] for name, place in places.items()}
        self._open = open_model
        self._lock = threading.Lock()
        self.created = int(time.time())

    @classmethod
    def holding(cls, models: Mapping[str, Recognizer]) -> Models:
        """Models that are open already."""
        return cls({name: name for name in models}, models.__getitem__)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they were given; the first is the default."""
        return tuple(self._slots)

    def is_loaded(self, name: str) -> bool:
        """Whether a model is in memory."""
        return self._slots[name].model is not None

    def check(self, name: object) -> str:
        """The name, if there is such a model.

        Raises:
            ApiError: 400 for no name, 404 for an unknown one.
        """
        if not isinstance(name, str) or not name:
            known = ", ".join(self._slots)
            raise ApiError(
                400, f"no model is named: give 'model', one of {known}", "model", "missing_required_parameter"
            )
        if name not in self._slots:
            shown, known = repr(name[:80]), ", ".join(self._slots)
            raise ApiError(
                404, f"the model {shown} does not exist here: use one of {known}", "model", "model_not_found"
            )
        return name

    @contextmanager
    def lease(self, name: str) -> Iterator[Recognizer]:
        """A model that stays in memory while the block runs; waits for it to be loaded."""
        slot = self._slots[self.check(name)]
        with self._lock:
            slot.users += 1
        try:
            with slot.lock:
                if slot.model is None:
                    slot.model = self._opened(name, slot.place)
                model = slot.model
            yield model
        finally:
            with self._lock:
                slot.users -= 1
                slot.used = time.monotonic()

    def _opened(self, name: str, place: str) -> Recognizer:
        """Open a checkpoint; that it cannot be opened is no fault of the client, and no news for it."""
        try:
            return self._open(place)
        except Exception as fault:
            LOG.error("model %s cannot be loaded: %s", name, fault)
            raise ApiError(
                500, f"the model {name!r} cannot be loaded; the server's log says why", headers=NO_RETRY
            ) from fault

    def load(self, name: str) -> None:
        """Load a model that requests will ask for."""
        with self.lease(name):
            pass

    def unload(self, idle: float) -> list[str]:
        """Drop what no request has used for so many seconds; the places of what was dropped."""
        now, dropped = time.monotonic(), []
        with self._lock:
            for slot in set(self._slots.values()):
                if slot.model is not None and not slot.users and now - slot.used >= idle:
                    slot.model = None
                    dropped.append(slot.place)
        if dropped:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return dropped
