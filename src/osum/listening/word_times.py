"""Word times that make sense: in order, apart, none of no length, whatever was measured. Pure values.

1. Keep the longest chain of words whose measured starts and ends both rise; drop the other measurements.
2. Where two kept words overlap, cut between them; what is outside the clip is cut off.
3. A word without a measurement shares the room between its neighbours with those next to it, by their lengths; where
   there is no room, the neighbours give up their measurements too. Such words are marked `estimated`.

Example, `a b c d e` in a clip of 2 s: measured are a 0.1-0.4, b 1.9-1.9, c 0.6-0.8, d 0.7-1.0 and of e nothing. b has
no length; c and d overlap. Result: a 0.1-0.4, b 0.4-0.6 (estimated), c 0.6-0.75, d 0.75-1.0, e 1.0-2.0 (estimated).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from osum.listening.sound_time import SoundTime
from osum.scoring.normalize import mixed_units, normalize
from osum.utterance import Word

ROOM = 0.02
"""Least seconds of a word without a measurement."""
HASTE = 0.1
"""Seconds a word below which words are too close for pauses between them."""
LEAST = 0.0099
"""Seconds of which a measured word has more; times are written to 0.01 s."""
ROUNDED = 0.001
"""Seconds from which on a word survives that its times are rounded."""

Span = tuple[float, float]
"""Start and end in seconds of the clip."""


@dataclass(frozen=True, slots=True)
class TextUnit:
    """A word or Chinese character of a text."""

    text: str
    """As it is written, with the punctuation that stands at it."""
    spoken: str
    """As a model writes it; empty where nothing of it is said."""


def units_of(text: str) -> list[TextUnit]:
    """The words and characters of a text; punctuation that stands alone goes to the word before it, or else behind it.

    Where it has no punctuation that stands alone, they are its `mixed_units`.
    """
    found: list[TextUnit] = []
    ahead = ""
    for unit in mixed_units(text):
        spoken = normalize(unit)
        if spoken or not re.fullmatch(r"\W+", unit):
            found.append(TextUnit(ahead + unit, spoken))
            ahead = ""
        elif found:
            found[-1] = TextUnit(found[-1].text + unit, found[-1].spoken)
        else:
            ahead += unit
    return found or ([TextUnit(ahead, "")] if ahead else [])


def placed(
    texts: Sequence[str], measured: Sequence[Span | None], seconds: float, sound: SoundTime | None = None
) -> tuple[Word, ...]:
    """The words of a clip of `seconds`, each with a start and an end; see the steps above.

    What was not measured is spread over `sound`, where that is known.
    """
    spans = _with_room(_chain([_inside(span, seconds) for span in measured]), seconds)
    for at, (one, other) in enumerate(pairwise(spans)):
        if one and other and other[0] < one[1]:
            middle = (one[1] + other[0]) / 2
            spans[at : at + 2] = [(spans[at][0], middle), (middle, other[1])]  # type: ignore[index]
    words: list[Word] = []
    for first, last, start, end in _gaps(spans, seconds):
        measured_before = zip(texts[len(words) : first], spans[len(words) : first], strict=True)
        words += [Word(text, *span) for text, span in measured_before if span]
        words += _spread(texts[first:last], start, end, sound) if last > first else []
    return tuple(words)


def spans_of(words: Iterable[Word], units: Sequence[TextUnit]) -> list[Span | None]:
    """What timed words say of the units of a text, which they spell in order; None where they leave one out."""
    spans: list[Span | None] = [None] * len(units)
    at = 0
    for word in words:
        spoken = normalize(word.text)
        parts = [spoken] if any(unit.spoken == spoken for unit in units[at:]) else mixed_units(spoken)
        for number, part in enumerate(parts):
            found = next((place for place in range(at, len(units)) if units[place].spoken == part), None)
            if found is not None:
                share = (word.end - word.start) / len(parts)
                spans[found] = (word.start + number * share, word.start + (number + 1) * share)
                at = found + 1
    return spans


def in_file(words: Iterable[Word], offset: float, confidences: Sequence[float | None] = ()) -> tuple[Word, ...]:
    """Words of a clip in seconds of the file, with the confidence of each where it is known."""
    words = list(words)
    sure = confidences if len(confidences) == len(words) else [None] * len(words)
    digits = 4 if all(word.end - word.start > ROUNDED for word in words) else 9
    return tuple(
        replace(word, start=round(offset + word.start, digits), end=round(offset + word.end, digits), confidence=value)
        for word, value in zip(words, sure, strict=True)
    )


def guessed(words: Iterable[Word]) -> list[str]:
    """The warning of a row in which times were not measured, if there are any."""
    each = [word.estimated for word in words]
    return [f"the times of {sum(each)} of {len(each)} words are estimated"] if any(each) else []


def _inside(span: Span | None, seconds: float) -> Span | None:
    """What of a measurement is inside the clip; None where too little is."""
    if span is None:
        return None
    start, end = max(span[0], 0.0), min(span[1], seconds)
    return (start, end) if end - start > LEAST else None


def _chain(spans: Sequence[Span | None]) -> list[Span | None]:
    """The longest chain of spans that rise in start and end; None for all others."""
    best: list[tuple[int, int]] = []  # of the chain that ends at each span: its length, and the span before
    for at, span in enumerate(spans):
        before = (
            (best[other][0], other)
            for other, left in enumerate(spans[:at])
            if left and span and span[0] - left[0] > LEAST and span[1] - left[1] > LEAST
        )
        length, other = max(before, key=lambda pair: pair[0], default=(0, -1))
        best.append((length + 1 if span else 0, other))
    kept: list[Span | None] = [None] * len(spans)
    at = max(range(len(spans)), key=lambda each: best[each][0], default=-1)
    while at >= 0:
        kept[at], at = spans[at], best[at][1]
    return kept


def _gaps(spans: Sequence[Span | None], seconds: float) -> list[tuple[int, int, float, float]]:
    """Each run of words without a measurement, [first, last) and its room; the last is an empty one at the end."""
    found = []
    at = 0
    while at < len(spans):
        stop = next((other for other in range(at, len(spans)) if spans[other]), len(spans))
        if stop > at:
            before, behind = spans[at - 1] if at else None, spans[stop] if stop < len(spans) else None
            found.append((at, stop, before[1] if before else 0.0, behind[0] if behind else seconds))
        at = stop + 1
    return [*found, (len(spans), len(spans), seconds, seconds)]


def _with_room(spans: list[Span | None], seconds: float) -> list[Span | None]:
    """Without the measurements next to words that have no room between them."""
    while True:
        tight = [gap for gap in _gaps(spans, seconds) if gap[3] - gap[2] < ROOM * (gap[1] - gap[0])]
        neighbours = {at for first, last, *_ in tight for at in (first - 1, last) if 0 <= at < len(spans)}
        if not any(spans[at] for at in neighbours):
            return spans
        spans = [None if at in neighbours else span for at, span in enumerate(spans)]


def shares_of(texts: Sequence[str]) -> list[float]:
    """How much of some time each word takes: half of it in equal shares, half by their lengths."""
    letters = max(sum(map(len, texts)), 1)
    return [(1 / len(texts) + len(text) / letters) / 2 for text in texts]


def _spread(texts: Sequence[str], start: float, end: float, sound: SoundTime | None) -> list[Word]:
    """Words one behind the other in a stretch of time."""
    shares = list(accumulate(shares_of(texts)[:-1]))
    if sound is None or end - start < HASTE * len(texts):
        inner = [start + (end - start) * share for share in shares]
    else:
        inner = sound.moments(start, end, shares)
    marks = [start, *inner, end]
    return [Word(text, *span, estimated=True) for text, span in zip(texts, pairwise(marks), strict=True)]
