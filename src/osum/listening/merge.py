"""Two segments whose windows overlap, to two that follow one another: no word lost, none twice.

Both windows contain the same seconds, so the words at the end of one are those at the beginning of the other,
but for words that either recognised wrongly at its edge. The seam is in words that both have. Pure values.

1. Where words have times, each word is paired with the same word of the other window that is nearest in time; the seam
   follows the pair nearest to the middle of the shared time.
2. Without times, the two texts are laid over each other where most units agree, at a length that the shared seconds
   allow; the seam is in the middle of the longest run of equal units.
3. Left of the seam the first window's words stay, right of it the second's.

Example without times, `a b c d` and `x c d e`: the longest run is `c d`, so the seam is between `c` and `d`, and the
result is `a b c` and `d e`. `x`, wrong at its edge, is left of the seam and is dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

from osum.scoring.normalize import mixed_units
from osum.text import edit_distance, join_units
from osum.utterance import Segment, Word

SHARED = 0.01
"""Seconds from which on two segments overlap; less is rounding."""
SAME_MOMENT = 0.5
"""Seconds by which two windows may differ about one word in time."""
UNITS_PER_SECOND = 12
"""Words, or Chinese characters, of the fastest speech."""
FASTER = 2.0
"""Times the rate of both windows at which the seconds that they share may be spoken."""
ALIKE = 1 / 3
"""Share of units that two windows of the same seconds have in common at least."""
MATCH, DIFFER = 3, -1
"""Points of a unit that both have, and of one that only one has or that the other has otherwise."""


@dataclass(frozen=True, slots=True)
class Seam:
    """Where to go over: `left[:left]` and then `right[right:]`."""

    left: int
    right: int


def num_shared(segments: Iterable[Segment]) -> int:
    """How many neighbours overlap, because nobody paused between them."""
    return sum(
        left.end - right.start > SHARED for left, right in pairwise(sorted(segments, key=lambda each: each.start))
    )


def in_sequence(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments in order of time, those that overlap merged."""
    found: list[Segment] = []
    for segment in sorted(segments, key=lambda each: each.start):
        if found and found[-1].end - segment.start > SHARED:
            found[-1:] = merge(found[-1], segment)
        else:
            found.append(segment)
    return tuple(found)


def merge(left: Segment, right: Segment) -> tuple[Segment, Segment]:
    """Both segments without what they share; words and text of the shared time stay in one of them.

    `right` begins before `left` ends, and later than it begins. Times stay in order across the seam. Labels
    and replies stay as they are: they are about the whole of each window.
    """
    middle = (right.start + left.end) / 2
    ours, theirs = mixed_units(left.text), mixed_units(right.text)
    of_words = _seam_of_words(left, right, middle)
    kept, rest, middle = _cut(left.words[: of_words.left], right.words[of_words.right :], middle)
    one_text = len(left.words) == len(ours) and len(right.words) == len(theirs)
    seam = of_words if one_text else _seam_in_text(left, right, ours, theirs)
    return (
        replace(
            left,
            end=middle,
            text=join_units(ours[: seam.left]),
            confidences=left.confidences[: seam.left],
            words=kept,
        ),
        replace(
            right,
            start=middle,
            text=join_units(theirs[seam.right :]),
            confidences=right.confidences[seam.right :],
            words=rest,
        ),
    )


def _seam_of_words(left: Segment, right: Segment, middle: float) -> Seam:
    """By the times of words; those that were not measured prove nothing."""
    texts = [word.text for word in left.words], [word.text for word in right.words]
    bounds = _shared_units(left, right, *map(len, texts))
    if not all(word.estimated for word in (*left.words, *right.words)):  # times that are off all the same bound it
        late = sum(_centre(word) >= right.start for word in left.words)
        early = sum(_centre(word) <= left.end for word in right.words)
        bounds = (late + early) / 2, max(late, early) if late + early > 2 else 0
    return (
        _seam_in_time(left.words, right.words, middle)
        or _bounded(*texts, *bounds)
        or _seam_without_words([_centre(word) for word in left.words], [_centre(word) for word in right.words], middle)
    )


def _cut(kept: Sequence[Word], rest: Sequence[Word], middle: float) -> tuple[tuple[Word, ...], tuple[Word, ...], float]:
    """The words of either side of the seam, and the time between them."""
    low, high = sorted((kept[-1].end if kept else -math.inf, rest[0].start if rest else math.inf))
    middle = min(max(middle, low), high)
    return (
        tuple(replace(word, start=min(word.start, middle), end=min(word.end, middle)) for word in kept),
        tuple(replace(word, start=max(word.start, middle), end=max(word.end, middle)) for word in rest),
        middle,
    )


def _seam_in_text(left: Segment, right: Segment, ours: Sequence[str], theirs: Sequence[str]) -> Seam:
    seam = _bounded(ours, theirs, *_shared_units(left, right, len(ours), len(theirs)))
    if seam is not None:
        return seam
    centres = _spread(left, len(ours)), _spread(right, len(theirs))
    return _seam_without_words(*centres, (right.start + left.end) / 2)


def _shared_units(left: Segment, right: Segment, ours: int, theirs: int) -> tuple[float, int]:
    """How many units are likely said in the time that both share, by the rate of both, and how many at most."""
    shared = left.end - right.start
    likely = shared * (ours + theirs) / (left.end - left.start + right.end - right.start)
    return likely, 1 + round(min(UNITS_PER_SECOND * shared, FASTER * likely + 1))


def _bounded(left: Sequence[str], right: Sequence[str], likely: float, most: int) -> Seam | None:
    """The seam where an end of `left` is laid over a beginning of `right` that is as long as what they share may be.

    1. Each length up to `most` units is tried. What counts is the share of units that are the same, not their number:
       where words repeat, the longest overlay has the most of them. One more that differs is added, since few may be
       the same by chance.
    2. A length other than `likely` costs, so that of overlays that fit alike the likeliest is taken.
    3. The seam is in the middle of the longest run of equal units at equal places; where words are missing from one
       side there may be none worth the name, and `seam_of` finds the way around them.

    Example: `no no no no` and `no no no` share 2 s of 4 s each, so some 1.75 units. Lengths 1, 2 and 3 fit alike; 2 is
    nearest, so that `no no no | no no` remains after one of two, five words in all.
    """
    fits = {
        size: (size - edits) / (size + 1) - abs(size - likely) / max(size, likely)
        for size in range(1, min(most, len(left), len(right)) + 1)
        if 1 - (edits := edit_distance(left[-size:], right[:size])) / size > ALIKE
    }
    if not fits:
        return None
    best = max(fits, key=lambda size: fits[size])
    ours, theirs, before = left[-best:], right[:best], len(left) - best
    start, size = _longest_run(ours, theirs)
    other = seam_of(ours, theirs)
    if other is not None and 2 * size < _longest_match(ours, theirs):
        return Seam(before + other.left, other.right)
    return Seam(before + start + (size + 1) // 2, start + (size + 1) // 2) if size else None


def _longest_run(left: Sequence[str], right: Sequence[str]) -> tuple[int, int]:
    """Place and length of the longest run of equal units at equal places."""
    best, begin = (0, 0), 0
    for at, (one, other) in enumerate(zip(left, right, strict=True)):
        if one != other:
            begin = at + 1
        elif at + 1 - begin > best[1]:
            best = (begin, at + 1 - begin)
    return best


def _longest_match(left: Sequence[str], right: Sequence[str]) -> int:
    return SequenceMatcher(None, left, right, autojunk=False).find_longest_match().size


def _seam_in_time(left: Sequence[Word], right: Sequence[Word], middle: float) -> Seam | None:
    """Behind the word that both have at the same moment, nearest to the middle of the time they share."""
    often = Counter(word.text for word in left) | Counter(word.text for word in right)
    pairs = []
    for i, word in enumerate(left):
        j = _nearest(word, right, often[word.text] > 1)
        if j is not None and _nearest(right[j], left, often[word.text] > 1) == i:
            pairs.append((abs((_centre(word) + _centre(right[j])) / 2 - middle), i, j))
    return Seam(min(pairs)[1] + 1, min(pairs)[2] + 1) if pairs else None


def _nearest(word: Word, others: Sequence[Word], repeats: bool) -> int | None:
    """The same word nearest in time; one that is repeated must overlap in time."""
    found = [
        (abs(_centre(other) - _centre(word)), at)
        for at, other in enumerate(others)
        if other.text == word.text
        and not (word.estimated or other.estimated)
        and (not repeats or max(word.start, other.start) < min(word.end, other.end))
    ]
    return min(found)[1] if found and min(found)[0] <= SAME_MOMENT else None


def seam_of(left: Sequence[str], right: Sequence[str]) -> Seam | None:
    """The middle of the longest common run where the end of `left` is laid over the beginning of `right`.

    1. Score every way to lay an end of `left` over a beginning of `right`, as in an edit distance whose
       first units of `left` and last units of `right` are free.
    2. Follow the best way back. None if it has no more in common than apart.
    3. The seam is in the middle of its longest run of common units.
    """
    scores = [[DIFFER * j for j in range(len(right) + 1)]]
    for ours in left:
        above = scores[-1]
        row = [0]
        for j, theirs in enumerate(right):
            step = MATCH if ours == theirs else DIFFER
            row.append(max(above[j] + step, above[j + 1] + DIFFER, row[j] + DIFFER))
        scores.append(row)
    end = max(range(len(right) + 1), key=lambda j: scores[-1][j])
    if scores[-1][end] <= 0:
        return None
    runs = _common_runs(left, right, scores, end)
    i, j, size = max(runs, key=lambda run: run[2])
    return Seam(i + (size + 1) // 2, j + (size + 1) // 2)


def _common_runs(
    left: Sequence[str], right: Sequence[str], scores: list[list[int]], end: int
) -> list[tuple[int, int, int]]:
    """The runs of common units on the best way that ends at `end`: (first in left, first in right, length)."""
    runs: list[tuple[int, int, int]] = []
    i, j = len(left), end
    while i and j:
        same = left[i - 1] == right[j - 1]
        if scores[i][j] == scores[i - 1][j - 1] + (MATCH if same else DIFFER):
            i, j = i - 1, j - 1
            if same and runs and runs[-1][:2] == (i + 1, j + 1):
                runs[-1] = (i, j, runs[-1][2] + 1)
            elif same:
                runs.append((i, j, 1))
        elif scores[i][j] == scores[i - 1][j] + DIFFER:
            i -= 1
        else:
            j -= 1
    return runs


def _seam_without_words(left: Sequence[float], right: Sequence[float], middle: float) -> Seam:
    """By time alone, where both recognised something in the shared time; else neither gives up anything."""
    early = sum(centre < middle for centre in right)
    late = sum(centre >= middle for centre in left)
    if not early or not late:
        return Seam(len(left), 0)
    return Seam(len(left) - late, early)


def _centre(word: Word) -> float:
    return (word.start + word.end) / 2


def _spread(segment: Segment, count: int) -> list[float]:
    """Where `count` units would lie if they were all of one length, in seconds."""
    return [segment.start + (segment.end - segment.start) * (at + 0.5) / count for at in range(count)]
