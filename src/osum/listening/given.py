"""Given: rows whose text is known, with the times of its words. Recordings of any length, one after the other.

1. A row that was labelled has segments with a text each; they are aligned one by one, and keep their labels.
2. Any other row is cut into windows. One window holds the whole text.
3. Several windows are transcribed. Where transcript and given text agree says which
   words each window holds; words between two such places are dealt out in proportion.
4. Where both hardly agree, all words are spread over the sound, and the row says so: a model that does not recognise
   the text knows no times of it either, and a few words that agree by chance would send the others anywhere.

Example, `a b c d e` over two windows that were recognised as `a x` and `d e`: a, d and e are found at the places 0, 2
and 3, so b and c are at 2/3 and 4/3. Places below 2 are of the first window: it holds `a b c`, the second `d e`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import accumulate, count, islice
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.engine.engine import Engine
from osum.engine.options import LabelOptions
from osum.engine.request import Ask, Request
from osum.listening.align import Aligner, Spoken
from osum.listening.cutting import Failure, SoundSource
from osum.listening.feeding import Piece, read
from osum.listening.merge import in_sequence
from osum.listening.sound_time import SoundTime
from osum.listening.word_times import TextUnit, guessed, in_file, placed, units_of
from osum.scoring.normalize import mixed_units
from osum.tasks import Task
from osum.text import join_units
from osum.utterance import Segment, Utterance, Word

Clip = tuple[Utterance, Any]
"""A row, and what `SoundSource` reads of it."""


AGREEMENT = 0.4
"""Least share of the given words that must be recognised, or they are spread over the sound."""
HARDLY_AGREES = (
    "the text hardly agrees with what is recognised, so its words are spread over the sound: "
    "check that it is the text of this recording"
)


@dataclass(eq=False)
class _Window:
    """What is said in a window, and when."""

    piece: Piece
    start: float
    """Seconds of the file."""
    units: Sequence[TextUnit] = ()
    words: tuple[Word, ...] = ()

    @property
    def seconds(self) -> float:
        return self.piece.num_samples / SAMPLE_RATE


@dataclass(eq=False)
class _Stretch:
    """A row, or a segment of one, on its way."""

    text: str
    start: float
    """Seconds of the file before it."""
    windows: list[_Window] = field(default_factory=list)
    read: bool = False
    agrees: bool = True
    """Whether enough of its text is recognised to say which window holds which words."""


@dataclass(eq=False)
class _Row:
    item: Utterance
    stretches: list[_Stretch] = field(default_factory=list)
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What is suspicious about its sound."""

    @property
    def windows(self) -> list[_Window]:
        return [] if self.error else [window for stretch in self.stretches for window in stretch.windows]


@dataclass(frozen=True, eq=False)
class GivenText:
    """Aligns rows by one checkpoint."""

    engine: Engine
    aligner: Aligner
    transcript: Task | None
    """The task of the transcript, which shows what each window of a long recording contains."""
    prompt: str
    """In which it is asked."""
    max_samples: int
    """Longest window."""

    def rows(self, clips: Iterable[Clip], options: LabelOptions) -> Iterator[Utterance]:
        """Each row with `words`, and with segments that hold them; with `error` where that cannot be."""
        source = self._read(clips, options)
        while batch := list(islice(source, options.batch_size)):
            for row in batch:
                for stretch in row.stretches if row.error is None else ():
                    self._deal(stretch, options)
            spoken = [
                window
                for row in batch
                for window in row.windows
                if window.piece.features is not None and not window.words
            ]
            for first in range(0, len(spoken), options.batch_size):
                some = spoken[first : first + options.batch_size]
                asked = [Spoken(each.piece.features, each.seconds, each.units) for each in some]  # type: ignore[arg-type]
                for window, words in zip(some, self.aligner(asked), strict=True):
                    window.words = in_file(words, window.start)
            yield from map(_result, batch)

    def _read(self, clips: Iterable[Clip], options: LabelOptions) -> Iterator[_Row]:
        """The rows in order, each once all of it is read."""
        waiting: deque[_Row] = deque()
        started: dict[int, tuple[_Row, _Stretch]] = {}
        numbers = count()

        def opened() -> Iterator[SoundSource]:
            for item, audio in clips:
                row = _Row(item, [_Stretch(*each[:2]) for each in _stretches(item)])
                row.error = _unfit(item)
                waiting.append(row)
                for stretch, (_, start, end) in zip(row.stretches, _stretches(item), strict=True):
                    started[next(numbers)] = row, stretch
                    channel: Any = "mix" if item.channel is None else item.channel
                    place = audio.with_(start=start or None, end=end) if isinstance(audio, Utterance) else audio
                    yield SoundSource(place, channel, start or None, end)

        processor, limit = self.engine.processor, self.max_samples
        for number, found in read(opened(), processor, limit, options.num_workers, options.read_timeout, options.vad):
            row, stretch = started[number]
            if isinstance(found, Failure):
                row.error = found.message
            else:
                row.notes += found.notes
                stretch.windows.append(_Window(found, stretch.start + found.start / SAMPLE_RATE))
            stretch.read = isinstance(found, Failure) or found.last
            if stretch.read:
                del started[number]
            while waiting and all(each.read for each in waiting[0].stretches):
                yield waiting.popleft()
        yield from waiting

    def _deal(self, stretch: _Stretch, options: LabelOptions) -> None:
        """Give each window of a stretch the words that are said in it."""
        units = units_of(stretch.text)
        sounding = [window for window in stretch.windows if window.piece.features is not None]
        if not sounding:  # in silence nothing can be measured
            first = stretch.windows[0]
            first.units = units
            first.words = in_file(
                placed([unit.text for unit in units], [None] * len(units), first.seconds), first.start
            )
            return
        spoken = [unit.spoken for unit in units]
        if len(sounding) == 1:
            sounding[0].units = units
            return
        transcripts = self._transcripts(sounding, options)
        stretch.agrees = agreement(spoken, transcripts) >= AGREEMENT
        if not stretch.agrees:
            _deal_by_time(units, sounding)
            return
        places = dealt(spoken, transcripts)
        for number, window in enumerate(sounding):
            window.units = [unit for unit, place in zip(units, places, strict=True) if place == number]

    def _transcripts(self, windows: Sequence[_Window], options: LabelOptions) -> list[list[str]]:
        """The words that the model recognises in each window, those that two windows share in one of them alone."""
        if self.transcript is None:
            return [[] for _ in windows]
        text, task, limit = self.engine.processor.request(self.prompt), self.transcript, self.engine.token_limit
        requests = (
            Request(
                number,
                (window.piece.features,),  # type: ignore[arg-type]
                (Ask(text, limit(task, window.seconds, options.generation), task),),
            )
            for number, window in enumerate(windows)
        )
        raws = [result.replies[0].text if result.replies else "" for result in self.engine.run(requests)]
        segments = in_sequence(
            Segment(window.start, window.start + window.seconds, task.parse(raw).text)
            for window, raw in zip(windows, raws, strict=True)
        )
        return [mixed_units(segment.text) for segment in segments]


def _stretches(item: Utterance) -> list[tuple[str, float, float | None]]:
    """Text, begin and end of what is aligned: the segments that have a text, else the whole row."""
    if item.segments:
        return [(each.text, each.start, each.end) for each in item.segments if each.text]
    return [] if item.text is None else [(item.text, item.start or 0.0, item.end)]


def _unfit(item: Utterance) -> str | None:
    """Why the text of a row cannot be aligned, if it cannot."""
    stretches = _stretches(item)
    if not stretches:
        return f"{item.path}: this row has no text to align: give it one"
    tagged = any("<" in text or ">" in text for text, *_ in stretches)
    return f"{item.path}: the text holds < or >, which mark tags: remove them" if tagged else None


def agreement(given: Sequence[str], recognised: Sequence[Sequence[str]]) -> float:
    """The share of the given words that are recognised, in their order."""
    said = [word for words in recognised for word in words]
    blocks = SequenceMatcher(None, given, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(given), 1)


def _deal_by_time(units: Sequence[TextUnit], windows: Sequence[_Window]) -> None:
    """Spread words over the sound of windows, each within the window that holds its middle."""
    clips = [(window.piece.features, window.seconds) for window in windows if window.piece.features is not None]
    sound, seconds = SoundTime(clips), sum(length for _, length in clips)
    words = placed([unit.text for unit in units], [None] * len(units), seconds, sound)
    ends = list(accumulate(window.seconds for window in windows))
    places = [bisect_right(ends[:-1], (word.start + word.end) / 2) for word in words]
    for number, (window, end) in enumerate(zip(windows, ends, strict=True)):
        begin = end - window.seconds
        window.units = [unit for unit, place in zip(units, places, strict=True) if place == number]
        own = [word for word, place in zip(words, places, strict=True) if place == number]
        inside = [
            replace(word, start=max(word.start - begin, 0.0), end=min(word.end - begin, window.seconds)) for word in own
        ]
        window.words = in_file(inside, window.start)


def dealt(given: Sequence[str], recognised: Sequence[Sequence[str]]) -> list[int]:
    """The window of each given word, from what was recognised in each window; see the steps above."""
    said = [word for words in recognised for word in words]
    if not said:
        return [number * len(recognised) // len(given) for number in range(len(given))]
    blocks = SequenceMatcher(None, given, said, autojunk=False).get_matching_blocks()
    pairs = [(block.a + at, block.b + at) for block in blocks for at in range(block.size)]
    known = [(-1, -1), *pairs, (len(given), len(said))]
    places = np.interp(range(len(given)), [one for one, _ in known], [float(other) for _, other in known])
    ends = np.cumsum([len(words) for words in recognised])
    found = np.searchsorted(ends, np.clip(places, 0, len(said) - 1), side="right")
    return [int(number) for number in found]


def _result(row: _Row) -> Utterance:
    """The row with what was found of it."""
    item = row.item
    if row.error is not None:
        return item.with_(error=row.error)
    words = tuple(word for window in row.windows for word in window.words)
    found = iter(row.stretches)
    segments = (
        tuple(replace(each, words=_words(next(found)) if each.text else ()) for each in item.segments)
        if item.segments
        else tuple(
            Segment(
                round(window.start, 4),
                round(window.start + window.seconds, 4),
                row.stretches[0].text if len(row.windows) == 1 else join_units(unit.text for unit in window.units),
                words=window.words,
                no_speech=not window.units,
            )
            for window in row.windows
        )
    )
    doubts = () if all(stretch.agrees for stretch in row.stretches) else (HARDLY_AGREES,)
    warnings = (*item.warnings, *row.notes, *doubts, *guessed(words))
    end = max(window.start + window.seconds for window in row.windows)
    seconds = round(end - (item.start or 0.0), 4) if item.duration is None else item.duration
    return item.with_(words=words, segments=segments, warnings=warnings, error=None, duration=seconds)


def _words(stretch: _Stretch) -> tuple[Word, ...]:
    return tuple(word for window in stretch.windows for word in window.words)
