"""Playback: how much of a reply its listener has been played, and which of its words.

1. What is given out is queued behind what was given out before, and plays from the moment that it arrives.
2. The position is the clock since then, never more than what was queued. A client that knows better reports it.
3. A word counts as played when its end has been. What comes behind the last such word is cut off.

Worked example: 1 s is queued at 10.0 s and 1 s more at 10.5 s. At 11.2 s, 1.2 s have been played. The words are
`good` 0-0.4, `morning` 0.4-1.1, `sir` 1.1-1.6: `good morning` stays, `sir` goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from osum.listening.word_times import placed, spans_of, units_of
from osum.utterance import Word

USUAL_RATE = 14.0
"""Characters a second of spoken English; stands in for the end of a reply that is not yet known."""


@dataclass(frozen=True)
class Playback:
    """What was given out of one reply, and when."""

    queued: float = 0.0
    """Seconds of sound that were given out."""
    played: float = 0.0
    """Seconds that had been played at `at`."""
    at: float = 0.0
    """Time of the clock."""
    paused: bool = False

    def position(self, now: float) -> float:
        """Seconds that have been played."""
        return self.played if self.paused else min(self.queued, self.played + max(0.0, now - self.at))

    def plays(self, now: float) -> bool:
        """Whether something is still to be played."""
        return self.position(now) < self.queued - 1e-9

    def add(self, seconds: float, now: float) -> Playback:
        """More sound, from now on; it waits for what is queued."""
        return replace(self._at(now), queued=self.queued + seconds)

    def reported(self, seconds: float, now: float) -> Playback:
        """The client says how far it is."""
        return replace(self, played=min(max(seconds, 0.0), self.queued), at=now)

    def pause(self, now: float) -> Playback:
        """Nothing plays until `resume`."""
        return replace(self._at(now), paused=True)

    def resume(self, now: float) -> Playback:
        """Play from where it was paused."""
        return replace(self, at=now, paused=False)

    def _at(self, now: float) -> Playback:
        return replace(self, played=self.position(now), at=now)


def played_text(text: str, words: Iterable[Word], position: float, seconds: float | None) -> str:
    """What of a text has been said once `position` seconds have been played, cut behind a word.

    Args:
        text: as far as it is written.
        words: those whose times the synthesizer has given; the others share the rest of the time.
        position: seconds.
        seconds: of the whole; None where more is to come.
    """
    units = units_of(text)
    timed = list(words)
    known = seconds or max(position, timed[-1].end if timed else 0.0, len(text) / USUAL_RATE)
    times = placed([unit.text for unit in units], spans_of(timed, units), known)
    said = sum(word.end <= position + 1e-6 for word in times)
    return text[: _end_of(text, [unit.text for unit in units[:said]])]


def _end_of(text: str, units: Iterable[str]) -> int:
    """Where the last of the units ends in the text, which has them in order, perhaps with spaces between."""
    at = 0
    for unit in units:
        for character in unit:
            at = text.index(character, at) + 1
    return at
