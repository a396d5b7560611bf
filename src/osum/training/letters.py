"""Letters of a transcript: the targets of the auxiliary CTC loss.

English by its letters, Mandarin by its pinyin without tones, each in letters of its own. Some fifty
units align within a few thousand steps, where thousands of text tokens would not.
"""

from __future__ import annotations

import re

from osum.errors import MissingExtraError

ENGLISH = "abcdefghijklmnopqrstuvwxyz'"
MANDARIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS = ENGLISH + MANDARIN
BLANK = len(LETTERS)
NUM_UNITS = BLANK + 1
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")


def letters(text: str) -> list[int]:
    """Indices into LETTERS of a normalised transcript; what has no letter is left out.

    Raises:
        MissingExtraError: Chinese text without pypinyin.
    """
    try:
        from pypinyin import lazy_pinyin
    except ImportError as fault:
        raise MissingExtraError("pypinyin", "train") from fault

    spelled = _CHINESE.sub(lambda run: "".join(lazy_pinyin(run.group())).upper(), text)
    return [LETTERS.index(letter) for letter in spelled if letter in LETTERS]
