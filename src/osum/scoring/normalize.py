"""Text as it is compared: case, width and punctuation do not count.

1. NFKC (full-width letters become plain ones), lower case.
2. Every character that is no letter, digit or mark becomes a space; an apostrophe inside a word stays (`don't`).
3. No space around Chinese characters, single spaces elsewhere.

Numbers are not spelled out and fillers are not removed; other normalisers of the field, which do, are in `NORMALISERS`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from osum.errors import MissingExtraError
from osum.text import CJK, close_cjk

RULES = 1
"""Version of `normalize`: raised when a text comes out otherwise than before."""
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")
_PUNCTUATION = re.compile(r"[^\w\s'\u0300-\u036f]|_|(?<![^\W_])'|'(?![^\W_])")
_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


def normalize(text: str) -> str:
    """The form in which texts are compared."""
    if text.isascii() and text.replace(" ", "").isalnum():  # most of what is scored: no rule but case and spaces
        return " ".join(text.lower().split())
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    return close_cjk(" ".join(_PUNCTUATION.sub(" ", text).split()))


def mixed_units(text: str) -> list[str]:
    """Every Chinese character and every other word, as WeNet's `compute-wer.py --char=1` counts them."""
    return _UNIT.findall(text)


@dataclass(frozen=True)
class Normaliser:
    """A way to write texts before they are compared, opened at the first text."""

    name: str
    open: Callable[[], Callable[[str], str]]
    rules: str = ""
    """Version of what is not in a package's own version."""
    package: str | None = None
    """Of the index, whose version decides how texts come out."""

    def __call__(self, text: str) -> str:
        """The text as it is compared.

        Raises:
            MissingExtraError: its package is not installed.
        """
        return self._opened(text)

    @property
    def version(self) -> str:
        """What a report names next to a figure: `whisper-en (transformers 5.23.0, ...)`."""
        parts = [self.rules] if self.rules else []
        if self.package:
            try:
                parts.insert(0, f"{self.package} {version(self.package)}")
            except PackageNotFoundError:
                parts.insert(0, f"{self.package} not installed")
        return f"{self.name} ({', '.join(parts)})" if parts else self.name

    @cached_property
    def _opened(self) -> Callable[[str], str]:
        return self.open()


def _whisper_english() -> Callable[[str], str]:
    """Whisper's English normaliser: contractions, numbers, fillers and British spelling (paper, appendix C)."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    spelling = json.loads(files(__package__).joinpath("spelling.json").read_text(encoding="utf-8"))
    return _stripped(EnglishTextNormalizer(spelling))


def _whisper_basic() -> Callable[[str], str]:
    """Whisper's normaliser of every other language: brackets, symbols and punctuation go."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return _stripped(BasicTextNormalizer())


def _wetext_chinese() -> Callable[[str], str]:
    """WeNet's Chinese text normalisation (numbers spelled out, simplified characters), then ours."""
    try:
        from wetext import Normalizer
    except ImportError as missing:
        raise MissingExtraError("wetext", "eval") from missing
    spelled = Normalizer(lang="zh", operator="tn", traditional_to_simple=True)
    return lambda text: normalize(spelled.normalize(text))


def _stripped(normalizer: Any) -> Callable[[str], str]:
    """Whisper's leave a space where punctuation stood at an end, which jiwer strips and `cer` would count."""
    return lambda text: normalizer(text).strip()


_SPELLING = "spelling of openai-whisper 20250625"
NORMALISERS: Mapping[str, Normaliser] = {
    normaliser.name: normaliser
    for normaliser in (
        Normaliser("osum", lambda: normalize, f"rules {RULES}"),
        Normaliser("whisper-en", _whisper_english, _SPELLING, "transformers"),
        Normaliser("whisper-basic", _whisper_basic, package="transformers"),
        Normaliser("wetext-zh", _wetext_chinese, f"then osum rules {RULES}", "wetext"),
        Normaliser("none", lambda: str),
    )
}
"""Every normaliser by the name that a `Benchmark` gives."""
