"""Text as it is compared: case, width and punctuation do not count.

1. NFKC (full-width letters become plain ones), lower case.
2. Every character that is no letter, digit or mark becomes a space; an apostrophe inside a word stays (`don't`).
3. No space around Chinese characters, single spaces elsewhere.

Numbers are not spelled out and fillers are not removed.
"""

from __future__ import annotations

import re
import unicodedata

from osum.tasks.text import CJK, close_cjk

_APOSTROPHES = str.maketrans("’‘ʼ", "'''")
_PUNCTUATION = re.compile(r"[^\w\s'\u0300-\u036f]|_|(?<![^\W_])'|'(?![^\W_])")
_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


def normalize(text: str) -> str:
    """The form in which texts are compared."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    return close_cjk(" ".join(_PUNCTUATION.sub(" ", text).split()))


def mixed_units(text: str) -> list[str]:
    """Every Chinese character and every other word, as WeNet's `compute-wer.py --char=1` counts them."""
    return _UNIT.findall(text)
