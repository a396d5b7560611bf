"""Watch: what a caller may learn of a call while it runs, and how it ends the call. Knows nothing of wire formats."""

from __future__ import annotations

from collections.abc import Mapping

from osum.engine.request import EngineReply, Event
from osum.utterance import Segment


class Watch:
    """Sees one call of a `Recognizer`, in the thread that calls; a subclass says what to do with what it sees."""

    def stopped(self) -> bool:
        """Whether nobody wants the answer any more: the call then ends with `CancelledError` behind the next pass."""
        return False

    def news(self, event: Event) -> None:
        """More of the answers about a window; with a batch size of 1, window after window."""

    def answered(self, segment: Segment, replies: Mapping[str, EngineReply]) -> None:
        """A window is answered; task to what was decoded for it. Windows come in order of time."""

    def failed(self, fault: Exception) -> None:
        """A fault of the model, where it is no refusal in words of osum's own; what this raises ends the call."""


UNWATCHED = Watch()
