"""Prediction: one clip's truth and what one model answered, a line of JSON. All that a score is counted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from osum.corpus.clips import PLACE_FIELDS
from osum.peers.recogniser import Recognition
from osum.utterance import Utterance, Word


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right; which field counts is the benchmark's to say."""

    text: str | None = None
    label: str | None = None
    words: tuple[Word, ...] = ()
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One clip of one benchmark, answered by one model under one prompt."""

    id: str
    benchmark: str
    model: str
    truth: Truth
    answer: Recognition
    path: str
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    speaker: str | None = None
    seconds: float | None = None
    """Of the machine for this clip, its share of the batch; left out when files are compared."""
    prompt_index: int | None = None
    """Which of the published prompts; None is the fixed one."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Where the clip is in its file, as in a manifest's row, and what a judge is given with it."""

    def as_utterance(self) -> Utterance:
        """The clip, where its sound is."""
        place = {name: self.extra[name] for name in PLACE_FIELDS if name in self.extra}
        return Utterance(
            self.id, self.path, channel=self.extra.get("channel"), start=self.start, end=self.end, extra=place
        )
