"""Forced: word times for a text that is known. The words of a timed answer are fixed, the digits are decoded.

1. The answer is `<` time `>word<` time `><` time `>word<` time `>`: what stands between two times is known.
2. Inside a time only a digit, the point, or the first id of what follows may come next; the likeliest of them is
   taken. A time has at most four digits before the point and two behind it.
3. What is known to follow is guessed, so that one pass reads it: the text up to the next time, and of that time what
   it likely begins with.

Example, `good morning`: behind `<0.12>good<` a digit is decoded, behind `<0.12>good<0.4` a digit or `><`; if it is
`><`, the next start is guessed to be `0.40`, behind it `>morning<`, and behind that `0.`.

Pure values: knows neither the model nor what the ids mean beyond text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from osum.errors import LayoutError

_SIGNS = "0123456789."
_WHOLE, _DECIMALS = 4, 2
"""Most digits before the point and behind it."""
_TIME_IDS = _WHOLE + 1 + _DECIMALS
"""Most ids of a time."""


class Forced:
    """Picks the ids of a timed answer whose words are given; each call gives the id behind the last one.

    Args:
        words: without white space at their ends, `<` or `>`.
        text_ids: text to ids.
        end: the id that ends an answer.

    Raises:
        LayoutError: a tokenizer that writes a digit with more than one id, so that times cannot be forced.
    """

    draws = False

    def __init__(self, words: Sequence[str], text_ids: Callable[[str], list[int]], end: int) -> None:
        spelled = {sign: text_ids(sign) for sign in _SIGNS}
        if wrong := [sign for sign, ids in spelled.items() if len(ids) != 1]:
            raise LayoutError(f"{wrong[0]!r} has {len(spelled[wrong[0]])} ids: word times need one id a digit")
        self._ids = {sign: ids[0] for sign, ids in spelled.items()}
        self._signs = {token: sign for sign, token in self._ids.items()}
        between = [text for word in words for text in (f">{word}<", "><")][:-1]
        self._chunks = [text_ids(text) for text in ("<", *between, ">")]
        self._chunks[-1] = [*self._chunks[-1], end]
        self._slot = 0
        """Times before the one that comes next, or that is being written; starts are even."""
        self._known = list(self._chunks[0])
        """Ids that come before it."""
        self._time = ""
        self._before = "0."
        """The time before it."""

    @property
    def longest(self) -> int:
        """Most ids of the whole answer, its end included."""
        return sum(map(len, self._chunks)) + _TIME_IDS * (len(self._chunks) - 1)

    def __call__(self, ids: Sequence[int], logits: Tensor) -> int:  # noqa: ARG002 - as a sampler is called
        """The next id, from logits (V,)."""
        if self._known:
            return self._known.pop(0)
        allowed = self._allowed()
        token = allowed[int(logits[allowed].argmax())]
        if token in self._signs:
            self._time += self._signs[token]
            return token
        self._slot += 1
        self._before, self._time = self._time, ""
        self._known = self._chunks[self._slot][1:]
        return token

    def guess(self) -> list[int]:
        """Ids that likely come next."""
        found = list(self._known)
        if self._time or self._slot == len(self._chunks) - 1:
            return found
        whole, _, decimals = self._before.partition(".")
        if self._slot % 2 == 0 and self._slot:  # a word mostly starts where the one before it ended
            found += self._spell(f"{whole}.{decimals:0<2}") + self._chunks[self._slot + 1]
        return found + self._spell(f"{whole}.")

    def _spell(self, time: str) -> list[int]:
        return [self._ids[sign] for sign in time]

    def _allowed(self) -> list[int]:
        """The ids that may follow within a time, or end it."""
        whole, point, decimals = self._time.partition(".")
        digits = [self._ids[sign] for sign in _SIGNS[:10]]
        if not whole:
            return digits
        if not point:
            return [self._ids["."], *(digits if whole != "0" and len(whole) < _WHOLE else ())]
        leave = [self._chunks[self._slot + 1][0]]
        return [*(digits if len(decimals) < _DECIMALS else ()), *(leave if decimals else ())]
