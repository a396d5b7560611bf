"""Service: all that the routes of one server share, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from osum.errors import AudioError
from osum.server.access import Access, KeyPlaces
from osum.server.desk import Desk, Stop
from osum.server.faults import ApiError
from osum.server.metrics import Metrics
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.server.reading import TOO_LONG, DecodedSound, Readers
from osum.server.realtime_desk import RealtimeDesk
from osum.server.spoken import SpokenReplies
from osum.server.voices import Voices


@dataclass(eq=False)
class Service:
    """What the routes of a server work with."""

    options: ServerOptions
    models: Models
    desk: Desk
    access: Access
    key_places: KeyPlaces
    metrics: Metrics
    readers: Readers
    voices: Voices
    spoken: SpokenReplies = field(default_factory=SpokenReplies)
    realtime: RealtimeDesk = field(default_factory=RealtimeDesk)

    def read(self, place: Path, stop: Stop) -> DecodedSound:
        """What is in a file that a client sent.

        Raises:
            ApiError: 413 for a recording that is too long.
            AudioError: it cannot be decoded.
        """
        try:
            return self.readers.read(place, stop)
        except AudioError as fault:
            if fault.kind == TOO_LONG:
                raise ApiError(413, str(fault), "file", "audio_too_long") from fault
            raise


def service_of(connection: HTTPConnection) -> Service:
    """The service of the app that a request or a WebSocket came to."""
    found: Service = connection.app.state.service
    return found


Used = Annotated[Service, Depends(service_of)]
"""Annotation of a route's parameter: the service."""
