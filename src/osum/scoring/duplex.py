"""Full duplex: how well turns are taken, by the formulas of Full-Duplex-Bench 1.0 and 1.5 and of HumDial.

Speech is spans in seconds of one clock. What a reply means is judged elsewhere; a judgement is one of `BEHAVIOURS`.
Sources: serving.md 5 and echat.md 6.3 of the specification; Full-Duplex-Bench, arXiv 2503.04721 and 2507.23159.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osum.errors import InputError

Span = tuple[float, float]
"""Start and end in seconds."""

BEHAVIOURS = ("respond", "resume", "uncertain", "unknown")
"""What a system does about an overlap, as the judge of Full-Duplex-Bench 1.5 names it."""
USER_GAP, MODEL_GAP = 0.6, 0.5
"""Seconds of the pauses that are part of one stretch of speech (1.5)."""
LONG_REPLY, MANY_WORDS = 1.0, 3
"""A reply that lasts so many seconds, or has more words, takes the turn (1.0)."""
LONG_BACKCHANNEL = 3.0
"""Seconds from which on a stretch of speech is no backchannel (1.0)."""
BIN = 0.2
"""Seconds of a bin of backchannels (1.0)."""


def merged(spans: Iterable[Span], gap: float) -> list[Span]:
    """Stretches of speech, pauses of at most `gap` seconds closed."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start - found[-1][1] <= gap:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def overlaps(user: Iterable[Span], model: Iterable[Span]) -> list[Span]:
    """Where both speak."""
    mine = list(model)
    shared = ((max(a, c), min(b, d)) for a, b in user for c, d in mine)
    return sorted((start, end) for start, end in shared if end > start)


def stop_latencies(user: Iterable[Span], model: Iterable[Span]) -> list[float]:
    """Seconds for which the model speaks on, of each overlap (1.5)."""
    return [end - start for start, end in overlaps(merged(user, USER_GAP), merged(model, MODEL_GAP))]


def response_latencies(user: Iterable[Span], model: Iterable[Span]) -> list[float]:
    """Seconds from the end of each stretch of the user's to the model's next start, if there is one (1.5)."""
    starts = [start for start, _ in merged(model, MODEL_GAP)]
    behind = (min((start - end for start in starts if start >= end), default=None) for _, end in merged(user, USER_GAP))
    return [latency for latency in behind if latency is not None]


def takes_turn(reply: Iterable[Span], num_words: int) -> bool:
    """Whether a reply takes the turn (TOR of 1.0): one that lasts a second, or has more than three words."""
    spans = list(reply)
    seconds = max((end for _, end in spans), default=0.0) - min((start for start, _ in spans), default=0.0)
    return seconds >= LONG_REPLY or num_words > MANY_WORDS


def turn_latency(user_end: float, first_word: float) -> float:
    """Seconds from the end of the user's turn to the first word of the reply; an early one counts as 0 (1.0)."""
    return max(0.0, first_word - user_end)


@dataclass(frozen=True)
class Backchannels:
    """How a model accompanies its user (1.0)."""

    take_over: float
    """Share of clips in which a stretch of speech was no backchannel."""
    frequency: float
    """Backchannels a second."""
    distance: float
    """Jensen-Shannon distance of their places to those of people, 0 to 1; 1 where there are none."""


def backchannels(
    clips: Sequence[tuple[Sequence[Span], Sequence[int], float]], people: Sequence[Sequence[Span]]
) -> Backchannels:
    """Score clips, each with its stretches of the model's speech, their numbers of words, and its seconds.

    Args:
        clips: of the model.
        people: the backchannels of people in the same clips.

    Raises:
        InputError: no clips, or not as many of people.
    """
    if not clips or len(clips) != len(people):
        raise InputError(f"{len(clips)} clips and backchannels of people in {len(people)}: give both for each clip")
    taken, count, distances = 0, 0, []
    for (spans, words, seconds), known in zip(clips, people, strict=True):
        long = [
            end - start > LONG_BACKCHANNEL or num > MANY_WORDS for (start, end), num in zip(spans, words, strict=True)
        ]
        taken += any(long)
        short = [] if any(long) else list(spans)
        count += len(short)
        distances.append(_distance(_bins(short, seconds), _bins(known, seconds)))
    length = sum(seconds for _, _, seconds in clips)
    return Backchannels(taken / len(clips), count / length, float(np.mean(distances)))


def _bins(spans: Sequence[Span], seconds: float) -> NDArray[np.float64]:
    """How much of each bin is spoken in."""
    edges = np.arange(max(1, math.ceil(seconds / BIN - 1e-9))) * BIN
    found = np.zeros(len(edges))
    for start, end in spans:
        found += np.clip(np.minimum(end, edges + BIN) - np.maximum(start, edges), 0, None)
    return found


def _distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance to the base 2."""
    if not left.sum() or not right.sum():
        return 0.0 if left.sum() == right.sum() else 1.0
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(each > 0, each * np.log2(each / middle), 0.0).sum() for each in (p, q)]
    return float(np.sqrt(max(0.0, sum(terms) / 2)))


# HumDial, track 2

INTERRUPTIONS = ("follow-up", "negation", "repetition", "topic switch", "termination")
REJECTIONS = ("backchannel", "pause", "third-party", "speech to others")
"""The nine scenarios: those in which the system must react, and those in which it must not."""


@dataclass(frozen=True)
class HumDial:
    """The totals of HumDial's table, 0 to 100 and seconds."""

    interruption: float
    rejection: float
    delay: float


def humdial(responds: float, rejects: Sequence[float], stop: float, response: float, first: float) -> HumDial:
    """The totals of one system (echat 6.3).

    Args:
        responds: share of interruptions that were judged `respond`.
        rejects: shares of `REJECTIONS` that were rejected (backchannel and speech to others: `resume`).
        stop, response, first: seconds of stopping, of responding to an interruption, and of the first response.

    Raises:
        InputError: not one share for each of the four.
    """
    if len(rejects) != len(REJECTIONS):
        raise InputError(f"{len(rejects)} shares of rejection: give one for each of {', '.join(REJECTIONS)}")
    return HumDial(100 * responds, 100 * float(np.mean(rejects)), float(np.mean([stop, response, first])))


def latency_score(seconds: float, best: float, baseline: float) -> float:
    """`100 - 50 ln(t / best) / ln(baseline / best)`: 100 for the best system, 50 for the baseline, 0 to 100 for all.

    Raises:
        InputError: times that are not above 0, or a baseline that is not above the best.
    """
    if not (seconds > 0 and 0 < best < baseline):
        raise InputError(
            f"latencies {seconds}, best {best}, baseline {baseline}: they must be above 0, best < baseline"
        )
    return float(np.clip(100 - 50 * math.log(seconds / best) / math.log(baseline / best), 0, 100))


def humdial_score(totals: HumDial, best: float, baseline: float) -> float:
    """The score that systems are ranked by: 0.4 interruption, 0.4 rejection, 0.2 latency."""
    return 0.4 * totals.interruption + 0.4 * totals.rejection + 0.2 * latency_score(totals.delay, best, baseline)


def shares(judged: Sequence[str]) -> dict[str, float]:
    """Share of each of `BEHAVIOURS` among the judgements of clips.

    Raises:
        InputError: no judgement, or one that is none of them.
    """
    unknown = next((each for each in judged if each not in BEHAVIOURS), None)
    if unknown is not None or not judged:
        raise InputError(f"behaviour {unknown!r} of {len(judged)}: use one of {', '.join(BEHAVIOURS)}, at least once")
    return {name: judged.count(name) / len(judged) for name in BEHAVIOURS}
