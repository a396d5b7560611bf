"""The vocal events of a recording, one by one: a laugh in one of forty segments does not show in the summary."""

from __future__ import annotations

from collections.abc import Iterable

from osum.listening.answers import EVENT, NO_EVENT, UNKNOWN
from osum.results.view import labels_of
from osum.utterance import Segment, Utterance, VocalEvent


def events_of(segments: Iterable[Segment]) -> tuple[VocalEvent, ...]:
    """An event for each segment in which a task detected one; a label that is in doubt is none."""
    answers = ((segment, labels_of(segment).get(EVENT)) for segment in segments)
    return tuple(
        VocalEvent(segment.start, segment.end, answer.label, answer.probability)
        for segment, answer in answers
        if answer is not None and answer.label not in (None, NO_EVENT, UNKNOWN)
    )


def events_in(row: Utterance) -> tuple[VocalEvent, ...]:
    """The events of a labelled row; one that was written before rows had `events` has them in its segments."""
    return row.events or events_of(row.segments)
