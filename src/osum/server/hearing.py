"""Hearing: a call to a recognizer that ends when its client has left, and whose faults are the server's."""

from __future__ import annotations

from osum.listening.watch import Watch
from osum.server.desk import Stop


class RouteHearing(Watch):
    """What every route gives to a recognizer."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def stopped(self) -> bool:
        """See `Watch`."""
        return self._stop()

    def failed(self, fault: Exception) -> None:
        """See `Watch`: a fault of the model is no fault of the client."""
        raise fault
