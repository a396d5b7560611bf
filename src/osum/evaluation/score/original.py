"""The original's own scores, from its `ref` and `hyp` files, so that its published figures can be counted again.

1. Error rate: WeNet's `compute-wer.py --char=1`, which the original runs whatever the task. Chinese by character,
   other runs up to a blank whole, upper case. A `<...>` without blank or Chinese is dropped, so that a reply counts as
   part of the transcript; of others, such as `<throat clearing>` and `<日常口语>`, what is left over counts as text.
   Some punctuation is dropped where it does not stand in a run. An utterance that one of the files lacks is left out.
2. Accuracy: its `compute-acc.py`. The first `<...>` of each line, upper case, and none equals none. An utterance of
   `hyp` that `ref` does not have is wrong.

Lines are a key and a text; of a key that stands twice the last line counts (in `ref` of the error rate, each).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osum.errors import InputError
from osum.scoring.word_times import levenshtein

_DROPPED = frozenset("!,?、。！，；？：「」︰『』《》")
_BLANKS = frozenset(" \t\r\n")


@dataclass(frozen=True, slots=True)
class OriginalScore:
    """What its two scripts print."""

    error_rate: float
    """In percent, to any number of digits; its script prints two."""
    errors: int
    units: int
    """Of the references."""
    utterances: int
    """In both files."""
    accuracy: float | None
    """In percent; None for a task without a label."""
    right: int
    asked: int
    """Utterances of `hyp`."""


def score_original(ref: Path, hyp: Path, labelled: bool) -> OriginalScore:
    """Score two files of `key text` lines.

    Args:
        ref: what is right.
        hyp: what the original answered, tags and all.
        labelled: whether the task asks for a label.

    Raises:
        InputError: a file cannot be read, or they have no key in common.
    """
    errors, units, utterances = _errors(_lines(ref), _lines(hyp))
    if not utterances:
        raise InputError(f"{ref} and {hyp} have no key in common: give lines of 'key text' of the same utterances")
    right, asked = _tags(_lines(ref), _lines(hyp))
    return OriginalScore(
        error_rate=100 * errors / units if units else 0.0,
        errors=errors,
        units=units,
        utterances=utterances,
        accuracy=100 * right / asked if labelled else None,
        right=right,
        asked=asked,
    )


def units_of(line: str) -> list[str]:
    """The units of a line, its key first, as `characterize` of `compute-wer.py` cuts them."""
    return list(_units(line))


def _units(line: str) -> Iterator[str]:
    at = 0
    while at < len(line):
        sign = line[at]
        kind = unicodedata.category(sign)
        end = at + 1
        if sign not in _DROPPED and sign not in _BLANKS and kind not in ("Zs", "Cn"):
            if kind != "Lo":
                end = _end_of_run(line, at)
            yield line[at:end]
        at = end


def _end_of_run(line: str, start: int) -> int:
    """A run ends before a blank or anything beyond ASCII; one that begins as a tag also behind the first `>`."""
    end = start + 1
    while end < len(line) and ord(line[end]) < 128 and line[end] not in _BLANKS:
        end += 1
        if line[start] == "<" and line[end - 1] == ">":
            break
    return end


def _compared(units: list[str]) -> list[str]:
    """Upper case, without tags; a `<` that nothing closes takes the rest of its unit away."""
    bare = (re.sub(r"<[^>]*(?:>|$)", "", unit.upper()) for unit in units)
    return [unit for unit in bare if unit]


def _errors(ref: list[str], hyp: list[str]) -> tuple[int, int, int]:
    """Errors, units of the references, utterances."""
    distance = levenshtein().distance
    cut = (units_of(line) for line in hyp)
    answers = {units[0]: _compared(units[1:]) for units in cut if units}
    errors = total = utterances = 0
    for units in map(units_of, ref):
        if units and units[0] in answers:
            truth = _compared(units[1:])
            errors += distance(truth, answers[units[0]])
            total += len(truth)
            utterances += 1
    return errors, total, utterances


def _tags(ref: list[str], hyp: list[str]) -> tuple[int, int]:
    """Utterances of `hyp` whose first tag is that of `ref`, and all of them."""
    truth, answers = _by_key(ref), _by_key(hyp)
    right = sum(key in truth and _first_tag(text) == _first_tag(truth[key]) for key, text in answers.items())
    return right, len(answers)


def _by_key(lines: list[str]) -> dict[str, str]:
    words = (line.split() for line in lines)
    return {key: " ".join(rest) for key, *rest in filter(None, words)}


def _first_tag(text: str) -> str | None:
    found = re.search(r"<.*?>", text)
    return found[0].upper() if found else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf8").split("\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path} cannot be read ({fault}): give a UTF-8 file of 'key text' lines") from fault
