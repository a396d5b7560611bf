"""How sure a transcript is of each word: the product of the probabilities of the tokens that spell it.

The product is the probability that the model gives the word after what stands before it. A token that spells parts
of two words counts for both. Pure values: knows neither the model nor tasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

_TAG = re.compile(r"<[^<>]*>?")
_PARTIAL = "\ufffd"
"""What stands for a character of which only some bytes are there."""


def confidences(
    raw: str,
    units: Sequence[str],
    ids: Sequence[int],
    log_probs: Sequence[float],
    decode: Callable[[Sequence[int]], str],
) -> list[float | None]:
    """The probability of each unit of an answer, in order; None where it does not stand in the raw text.

    Args:
        raw: the answer as the model wrote it.
        units: words and characters, as they follow one another in it.
        ids: tokens of the answer.
        log_probs: log-probability of each.
        decode: ids to text.
    """
    spans = _spans(ids, decode)
    found: list[float | None] = []
    # A word stands outside the tags: the digits of a time are no number that was said.
    written = "".join(_lower(letter) for letter in _TAG.sub(lambda tag: "\0" * len(tag[0]), raw))
    at = 0
    for unit in units:
        first = written.find("".join(map(_lower, unit)), at)
        if first < 0 or not log_probs:
            found.append(None)
            continue
        at = first + len(unit)
        inside = [value for (start, end), value in zip(spans, log_probs, strict=True) if start < at and end > first]
        found.append(math.exp(sum(inside)))
    return found


def _lower(letter: str) -> str:
    """In lower case where that is one letter as well, so that places stay."""
    return low if len(low := letter.lower()) == 1 else letter


def _spans(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[tuple[int, int]]:
    """Where each token stands in the text; one that ends inside a character counts for the whole of it."""
    spans, start = [], 0
    for number in range(1, len(ids) + 1):
        text = decode(ids[:number])
        spans.append((start, max(len(text), start + 1)))
        start = len(text.rstrip(_PARTIAL))
    return spans
