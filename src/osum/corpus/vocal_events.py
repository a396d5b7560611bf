"""Vocal events for speech to have: how much of a sound is taken, and what is known of speech that has one (2.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.corpus.waveform import loud_part
from osum.utterance import Utterance

Read = Callable[[Utterance], Float32]


def excerpt(event: Float32, label: str, seconds: tuple[float, float], rng: np.random.Generator) -> Float32:
    """The loud part of an event, at most a length between `seconds`: its beginning, or any part of a cry."""
    event = event[loud_part(event)]
    longest = int(rng.uniform(*seconds) * SAMPLE_RATE)
    first = int(rng.integers(max(event.size - longest, 0) + 1)) if label == "cry" else 0
    return event[first : first + longest]


def labels_with_event(labels: Mapping[str, str], event: str) -> dict[str, str]:
    """The labels of speech in which an event was mixed: how the speaker feels is not known any more."""
    changed = {name: label for name, label in labels.items() if name not in ("emotion", "event")}
    if event == "cry":
        changed.pop("age", None)  # two ages are audible
    return {**changed, "event": event}
