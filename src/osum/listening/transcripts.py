"""Transcripts that are given: the text behind which labels are scored, window by window, and who wrote it.

Knows neither the model nor how anybody recognises speech: a `Transcriber` is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from osum.text import join_units, normalise_target
from osum.utterance import Utterance, Word

GIVEN = "given"
"""Who wrote a text that came with its row."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TranscriptWindow:
    """A stretch of a recording, of at most what the model takes at once."""

    row: Utterance
    start: float
    """Seconds of the file."""
    end: float
    whole: bool
    """Whether it is all of the row."""

    @property
    def clip(self) -> Utterance:
        """The row of the stretch alone."""
        return self.row if self.whole else self.row.with_(start=self.start, end=self.end)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in a window, or why nobody knows."""

    text: str = ""
    error: str | None = None


class Transcriber(Protocol):
    """Who knows what is said."""

    name: str
    """As rows name it, in `text_from`."""

    def describe(self) -> Mapping[str, Any]:
        """What decides its texts, as JSON values: a run continues with a file only where it is the same."""
        ...

    def __call__(self, windows: Sequence[TranscriptWindow]) -> Sequence[Transcript]:
        """The transcript of each window, in order; one that fails costs the others nothing."""
        ...


class OwnText:
    """The text that a row came with. In a row of several windows its words must have times, which say where it is."""

    name = GIVEN

    def describe(self) -> Mapping[str, Any]:
        """See `Transcriber`; the rows themselves are no part of it."""
        return {}

    def __call__(self, windows: Sequence[TranscriptWindow]) -> list[Transcript]:
        """See `Transcriber`."""
        return [_own(window) for window in windows]


def _own(window: TranscriptWindow) -> Transcript:
    row = window.row
    if row.text is None:
        return Transcript(error=f"{row.path}: row {row.id!r} has no text: give it one, or leave --transcript out")
    if "<" in row.text or ">" in row.text:
        return Transcript(error=f"{row.path}: the text of {row.id!r} holds < or >, which mark tags: remove them")
    if window.whole:
        return Transcript(normalise_target(row.text))
    if not row.words:
        return Transcript(
            error=f"{row.path}: the text of {row.id!r} is of several windows, and its words have no times: align it "
            "first, or cut the row"
        )
    return Transcript(join_units(word.text for word in row.words if _inside(word, window)))


def _inside(word: Word, window: TranscriptWindow) -> bool:
    return window.start <= (word.start + word.end) / 2 < window.end


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """At most so many items at a time."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
