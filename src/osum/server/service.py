"""Service: all that the routes of one server share, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from osum.server.access import Access
from osum.server.desk import Desk
from osum.server.metrics import Metrics
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.server.reading import Readers
from osum.server.realtime_desk import RealtimeDesk


@dataclass(eq=False)
class Service:
    """What the routes of a server work with."""

    options: ServerOptions
    models: Models
    desk: Desk
    access: Access
    metrics: Metrics
    readers: Readers
    realtime: RealtimeDesk = field(default_factory=RealtimeDesk)


def service_of(connection: HTTPConnection) -> Service:
    """The service of the app that a request or a WebSocket came to."""
    found: Service = connection.app.state.service
    return found


Used = Annotated[Service, Depends(service_of)]
"""Annotation of a route's parameter: the service."""
