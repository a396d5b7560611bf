"""Clips on their way to a model: read one after the other, answered a batch at a time, errors in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.errors import OsumError
from osum.peers.recogniser import Recognition
from osum.utterance import Utterance, Word

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no truth value
class LoadedClip:
    """A clip that was read, or why it was not."""

    clip: Utterance
    samples: Samples
    """(S,) at 16 kHz, mono, the stretch of the clip alone; empty where there is an error."""
    error: str | None = None

    @property
    def start(self) -> float:
        """Seconds of the file before the clip."""
        return self.clip.start or 0.0

    def placed(self, words: Iterable[Word]) -> tuple[Word, ...]:
        """Words timed from the beginning of the clip, in times of the file."""
        return placed(words, self.start)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / SAMPLE_RATE


def placed(words: Iterable[Word], start: float) -> tuple[Word, ...]:
    """Words moved to `start`, in seconds."""
    return tuple(replace(word, start=round(word.start + start, 4), end=round(word.end + start, 4)) for word in words)


def load_clips(clips: Iterable[Utterance]) -> Iterator[LoadedClip]:
    """Each clip with its samples: files and their stretches, rows of tar shards and of packed files."""
    audio = ClipAudio()
    for clip in clips:
        try:
            yield LoadedClip(clip, audio.read(clip))
        except OsumError as fault:
            yield LoadedClip(clip, np.zeros(0, np.float32), str(fault))


def in_batches(
    clips: Iterable[Utterance], size: int, answer: Callable[[Sequence[LoadedClip]], Sequence[Recognition]]
) -> Iterator[Recognition]:
    """Each clip's answer in order; `answer` is given at most `size` clips, those that could be read."""
    loaded = load_clips(clips)
    while batch := list(islice(loaded, size)):
        good = [item for item in batch if item.error is None]
        answers = iter(answer(good) if good else ())
        yield from (next(answers) if item.error is None else Recognition(error=item.error) for item in batch)
