"""Vocal events over a recording: none is lost among the segments in which there is none."""

from __future__ import annotations

import pytest

from osum.listening.answers import doubted, summary_of
from osum.listening.events import events_in, events_of
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance, VocalEvent


def segment(at: int, label: str | None, probability: float = 0.9, task: str = "VED") -> Segment:
    """The stretch of 15 s at a place, in which a task says one label."""
    distribution = {"none": 1 - probability, "laugh": 1 - probability} | ({label: probability} if label else {})
    return Segment(15.0 * at, 15.0 * at + 15.0, labels={task: Answer(label, probability, distribution)})


def test_a_laugh_in_one_of_forty_segments_is_an_event_though_the_summary_says_none() -> None:
    segments = [segment(at, "laugh" if at == 17 else "none", 0.93) for at in range(40)]
    assert summary_of(segments, [OSUM["VED"]])["VED"].label == "none"
    assert events_of(segments) == (VocalEvent(255.0, 270.0, "laugh", 0.93),)


@pytest.mark.parametrize("label", [None, "none", "unknown"])
def test_what_is_no_event_is_not_listed(label: str | None) -> None:
    assert events_of([segment(0, label)]) == ()


def test_a_doubtful_event_is_not_listed() -> None:
    labels = doubted(segment(0, "cough", 0.4).labels, 0.5)
    assert events_of([Segment(0.0, 15.0, labels=labels)]) == ()


@pytest.mark.parametrize("task", ["VED", "VED-only", "SER+VED/event"])
def test_any_task_that_detects_events_counts_and_no_other(task: str) -> None:
    assert [event.event for event in events_of([segment(0, "sigh", task=task)])] == ["sigh"]
    assert events_of([segment(0, "sad", task="SER")]) == ()


def test_two_segments_with_one_event_are_two() -> None:
    assert [event.start for event in events_of([segment(at, "laugh") for at in range(2)])] == [0.0, 15.0]


def test_a_row_from_before_events_has_them_in_its_segments() -> None:
    row = Utterance("a", "a.wav", segments=(segment(1, "cry"),))
    assert events_in(row) == events_in(row.with_(events=events_of(row.segments))) != ()
