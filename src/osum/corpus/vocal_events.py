"""Vocal events mixed into speech, in voices of their own: the paper's way to clips with both (2.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.corpus.voice_shift import shift_voice
from osum.corpus.waveform import QUIET, level, loud_part, overlay
from osum.utterance import Utterance

Read = Callable[[Utterance], Float32]
Factor = Annotated[float, Meta(ge=0.5, le=2)]
Decibels = Annotated[float, Meta(ge=-100, le=100)]
Seconds = Annotated[float, Meta(ge=0, le=30)]
Length = Annotated[float, Meta(ge=0.1, le=30)]

_FADE = SAMPLE_RATE // 100


@dataclass(frozen=True, slots=True)
class EventMixing:
    """How often, how loud and how long, and how far the event's voice is shifted."""

    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of the clips with speech and without an event that get a vocal event mixed in."""
    level: tuple[Decibels, Decibels] = (-6.0, 3.0)
    """dB of the event against the speech (RMS)."""
    seconds: tuple[Length, Length] = (1.2, 3.0)
    """How much of the event is taken at most."""
    overhang: Seconds = 0.6
    """Seconds that the event may begin before the speech or end behind it."""
    pitch: tuple[Factor, Factor] = (0.8, 1.25)
    """Factor on the pitch of the event's voice."""
    formants: tuple[Factor, Factor] = (0.85, 1.2)
    """Factor on the formants of the event's voice."""


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


MIXING = EventMixing()


class EventMixer:
    """Mixes vocal events, their voices shifted, into speech without one; the label becomes the event's.

    Args:
        rows: training rows; those without words and with an event are the events, each event as likely
            as the others. `other` is left out, since it names a noise as well as a voice.
        read: row to waveform (S,), 16 kHz.
        options: how often, how loud, how long, and how far the voice is shifted.
    """

    def __init__(self, rows: Iterable[Utterance], read: Read, options: EventMixing = MIXING) -> None:
        self.read = read
        self.options = options
        self.events: dict[str, list[Utterance]] = defaultdict(list)
        for row in rows:
            if row.text == "" and (label := row.labels.get("event", "none")) not in ("none", "other"):
                self.events[label].append(row)

    def __call__(self, samples: Float32, utterance: Utterance, rng: np.random.Generator) -> tuple[Float32, Utterance]:
        """A clip (S,) with an event somewhere and its utterance, or both as they were."""
        fits = utterance.text and utterance.labels.get("event") == "none" and samples.size and self.events
        if not fits or rng.random() >= self.options.probability:
            return samples, utterance
        label = sorted(self.events)[rng.integers(len(self.events))]
        sounds = self.events[label]
        event = self._event(sounds[rng.integers(len(sounds))], label, samples.size, rng)
        if event.size == 0 or level(event) < QUIET:
            return samples, utterance
        gain = max(level(samples), QUIET) / level(event) * 10 ** (rng.uniform(*self.options.level) / 20)
        overhang = round(self.options.overhang * SAMPLE_RATE)
        start = int(rng.integers(-min(overhang, event.size), samples.size - event.size + overhang + 1))
        mixed, words = overlay(samples, utterance.words, event * np.float32(gain), start)
        labels = labels_with_event(utterance.labels, label)
        return mixed, utterance.with_(words=words, labels=labels, reply=None)

    def _event(self, sound: Utterance, label: str, size: int, rng: np.random.Generator) -> Float32:
        """A part of the event, not much longer than a clip of `size` samples, in another voice, its ends faded."""
        shortest, longest = (min(s, size / SAMPLE_RATE + self.options.overhang) for s in self.options.seconds)
        event = excerpt(self.read(sound), label, (shortest, longest), rng)
        event = shift_voice(event, rng.uniform(*self.options.pitch), rng.uniform(*self.options.formants))
        fade = np.minimum(np.arange(event.size) / _FADE, 1)
        return (event * fade * fade[::-1]).astype(np.float32)
