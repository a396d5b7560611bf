"""Text rules that tasks share: target normalising, joining of units, nearest spelling, repetition loops.

Knows nothing of tasks or labels.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CJK = "一-鿿"
"""The Chinese characters as the release counts them (OSUM spec 3.1), for use inside a regex class."""
HAN = f"{CJK}\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0003ffff"
"""Those and the rare ones, which take a whole square on a screen just as well; for use inside a regex class."""

_AROUND_CJK = re.compile(rf"\s+(?=[{CJK}])|(?<=[{CJK}])\s+")
_AROUND_BRACKETS = re.compile(r"\s*([<>])\s*")
_MARK = re.compile(r"[,.?!;:](?![0-9A-Za-z])|[，。？！；：、…]")
_MAX_SPELLED = 40  # characters; a longer text is no misspelt name

_LOOP_MAX_UNIT = 60  # characters
_LOOP_MIN_REPEATS = 5
_LOOP_MIN_LENGTH = 30  # characters: people do say "ha ha ha ha ha"


_UNSAFE_IN_JSON = re.compile("[\u0085\u2028\u2029\ud800-\udfff]")
"""Line ends to some readers, and halves of characters that stand for undecodable bytes in file names."""


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that people can read, in which a line is a line and which any file can hold as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_chinese(character: str) -> bool:
    """Whether the release counts a character as Chinese."""
    return "一" <= character <= "鿿"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], num_text: int | None = None) -> str:
    """A table of Markdown, whose cells are Markdown; columns from `num_text` on are set flush right."""
    rules = ["---" if num_text is None or number < num_text else "---:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rules, *rows))


def close_cjk(text: str) -> str:
    """Delete the white space around every Chinese character."""
    return text if text.isascii() else _AROUND_CJK.sub("", text)


def normalise_target(text: str) -> str:
    """The form of every text a model learns to write (OSUM spec 3.1); the ends are stripped as well.

    No space around Chinese characters, lower case, no space around `<` and `>`; punctuation stays.
    """
    return _AROUND_BRACKETS.sub(r"\1", close_cjk(text).lower()).strip()


def has_punctuation(text: str) -> bool:
    """Whether a text has a mark of a sentence: `don't`, `3.5` and `10:30` have none."""
    return _MARK.search(text) is not None


def join_units(units: Iterable[str]) -> str:
    """Chinese characters and English words to one line: `["新", "年", "new", "year"]` to `新年new year`."""
    return close_cjk(" ".join(units))


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """The least number of inserted, deleted and changed characters, or words (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def closest(text: str, choices: Iterable[str]) -> str | None:
    """The one choice that `text` most likely misspells, or None.

    At most half of the choice's characters may be wrong, and two equally near choices give None.
    """
    near = _near(text, choices)
    return near[0][1] if near and (len(near) == 1 or near[0][0] < near[1][0]) else None


def did_you_mean(name: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """`did you mean 'json'? ` with a space after it, or nothing where no name is near.

    `shown` maps names to how they are written. Of equally near ones, a hint names one of the same length.
    """
    near = _near(name, known) or _near(name.lower(), known)
    if not near:
        return ""
    best = min(near, key=lambda pair: (pair[0], abs(len(pair[1]) - len(name))))[1]
    return f"did you mean {(shown or {}).get(best, best)!r}? "


def _near(text: str, choices: Iterable[str]) -> list[tuple[int, str]]:
    """Choices of which at most half the characters differ, nearest first."""
    if not text or len(text) > _MAX_SPELLED:
        return []
    near = ((edit_distance(text, choice), choice) for choice in set(choices))
    return sorted(pair for pair in near if pair[0] <= max(1, len(pair[1]) // 2))


def is_broken(character: str) -> bool:
    """Whether nobody can say a character: U+FFFD, of which only some bytes were there, or a control character."""
    return character == "\ufffd" or (unicodedata.category(character) in ("Cc", "Cs") and not character.isspace())


def repetition(text: str) -> tuple[str, int] | None:
    """The shortest unit that fills the end of `text` in a loop, and how often; None for ordinary text."""
    text = text.rstrip()
    for size in range(1, min(_LOOP_MAX_UNIT, len(text) // _LOOP_MIN_REPEATS) + 1):
        unit = text[-size:]
        count, position = 1, len(text) - size
        while position >= size and text.startswith(unit, position - size):
            count, position = count + 1, position - size
        if count >= _LOOP_MIN_REPEATS and (count * size >= _LOOP_MIN_LENGTH or all(map(is_broken, unit))):
            return unit, count
    return None
