"""Windows that share seconds: words that repeat are kept to the last, whether word times are asked for or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from types import MethodType
from typing import Any

import numpy as np
import pytest
from engine.tiny_checkpoint import checkpoint_of
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise

from osum.engine.options import LabelOptions
from osum.listening.align import Spoken
from osum.listening.asked import Asked
from osum.listening.recognizer import Recognizer
from osum.listening.transcripts import Transcript, TranscriptWindow
from osum.scoring.normalize import mixed_units
from osum.utterance import Utterance, Word

RATE = 16_000
PATTERNS = (["no"], ["one", "two", "three"], ["新"], ["对", "对", "的"], ["ha", "ha", "no"])
SEEDS = st.integers(0, 10**9)


class PerfectListener:
    """Knows what is said in any window and, as an aligner, when. No word has a pause behind it, so that cuts share."""

    name, able, by_letters = "perfect", True, True

    def __init__(self, texts: Sequence[str], seed: int | None = None) -> None:
        random, at = Random(seed), 0.0
        self.words: list[Word] = []
        for text in texts:
            end = at + (0.3 if seed is None else random.uniform(0.15, 0.6))
            self.words.append(Word(text, at, end))
            at = end
        self.seconds = at
        self._windows: deque[TranscriptWindow] = deque()

    def describe(self) -> Mapping[str, Any]:
        return {}

    def _inside(self, window: TranscriptWindow) -> list[Word]:
        return [word for word in self.words if window.start <= (word.start + word.end) / 2 < window.end]

    def __call__(self, given: Sequence[Any]) -> list[Any]:
        return self._times(given) if isinstance(given[0], Spoken) else self._texts(given)

    def _texts(self, windows: Sequence[TranscriptWindow]) -> list[Transcript]:
        self._windows.extend(windows)
        return [Transcript(" ".join(word.text for word in self._inside(window))) for window in windows]

    def _times(self, clips: Sequence[Spoken]) -> list[tuple[Word, ...]]:
        """All windows share seconds, so that they come in the order in which they were recognised."""
        windows = [self._windows.popleft() for _ in clips]
        assert [len(self._inside(window)) for window in windows] == [len(clip.units) for clip in clips]
        return [
            tuple(
                Word(word.text, max(word.start - window.start, 0.0), min(word.end, window.end) - window.start)
                for word in self._inside(window)
            )
            for window in windows
        ]


def row_of(listener: PerfectListener, recognizer: Recognizer, **options: Any) -> Utterance:
    """What is left of the words of a long recording."""
    recognizer._max_samples = 15 * RATE
    recognizer._aligner = MethodType(lambda *_: listener, recognizer)  # type: ignore[method-assign]
    sound = noise(round(listener.seconds * RATE))
    clips: Iterator[tuple[Utterance, np.ndarray]] = iter([(Utterance("a", "a.wav"), sound)])
    asked = LabelOptions(tasks="ASR", withhold=False, **options)
    (row,) = recognizer._run(clips, Asked.of(recognizer.tasks, asked, listener))
    assert row.error is None and len(row.segments) > 1
    return row


@pytest.mark.parametrize("pattern", [["no"] * 120, ["one", "two", "three"] * 40, ["新"] * 120], ids=["no", "123", "zh"])
@pytest.mark.parametrize("timed", [False, True])
def test_a_word_that_repeats_comes_out_as_often_as_it_is_said(
    recognizer: Recognizer, pattern: list[str], timed: bool
) -> None:
    row = row_of(PerfectListener(pattern), recognizer, word_times=timed)
    assert mixed_units(row.text or "") == pattern
    assert [word.text for word in row.words] == (pattern if timed else [])


@settings(max_examples=15)
@given(st.sampled_from(PATTERNS), SEEDS, st.booleans(), st.integers(1, 4))
def test_words_that_repeat_at_any_pace_are_kept_to_the_last(
    recognizer_once: Recognizer, pattern: list[str], seed: int, timed: bool, batch_size: int
) -> None:
    texts = [pattern[at % len(pattern)] for at in range(120)]
    row = row_of(PerfectListener(texts, seed), recognizer_once, word_times=timed, batch_size=batch_size)
    assert mixed_units(row.text or "") == texts


@pytest.fixture(scope="module")
def recognizer_once() -> Recognizer:
    return Recognizer(checkpoint_of("speech_first"))
