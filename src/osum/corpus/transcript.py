"""The spoken form of a written text: lower case, no punctuation, one unit per English word or Chinese character."""

from __future__ import annotations

import re
import unicodedata

from osum.text import CJK, close_cjk, is_chinese

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_EN_WRITTEN = re.compile(r"[a-z' ,.?!;:\-\"()]+")
_ZH_WRITTEN = re.compile(rf"[{CJK} ,.?!;:、。“”‘’《》()\"…]+")
_STOPS = {",": ",", ";": ",", ":": ",", "、": ",", ".": ".", "。": ".", "!": ".", "?": "?", "…": "."}


def clean(text: str) -> str:
    """Width-folded, lower-case, plain apostrophes, single spaces, no invisible characters."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("‘", "'")
    return " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())


def transcript(text: str) -> str:
    """Punctuation dropped (apostrophes inside words stay), spaces around Chinese characters closed."""
    spaced = re.sub(rf"[^a-z0-9'{CJK}]+", " ", clean(text))
    return close_cjk(" ".join(re.sub(r"(?<![a-z])'|'(?![a-z])", " ", spaced).split()))


def english_units(text: str) -> list[str] | None:
    """Words with the comma, stop or question mark behind them; None for a text with digits or other scripts."""
    text = clean(text)
    if not _EN_WRITTEN.fullmatch(text):
        return None
    units: list[str] = []
    for match in re.finditer(rf"({_WORD.pattern})|([,.?!;:])", text):
        if match[1]:
            units.append(match[1])
        elif units and units[-1][-1] not in ",.?":
            units[-1] += _STOPS[match[2]]
    return units or None


def chinese_units(text: str) -> list[str] | None:
    """Characters with the comma, stop or question mark behind them; None for a text with digits or Latin."""
    text = clean(text)
    if not _ZH_WRITTEN.fullmatch(text):
        return None
    units: list[str] = []
    for character in text:
        if is_chinese(character):
            units.append(character)
        elif units and character in _STOPS and units[-1][-1] not in ",.?":
            units[-1] += _STOPS[character]
    return units or None


def units_text(units: list[str]) -> str:
    """The transcript of units."""
    return close_cjk(" ".join(unit.rstrip(",.?") for unit in units))


def pinyin_units(units: list[str]) -> list[str]:
    """Toned pinyin of Chinese units, their stops kept: `["你", "好?"]` to `["ni3", "hao3?"]`."""
    from pypinyin import Style, lazy_pinyin

    bare = [unit.rstrip(",.?") for unit in units]
    spoken = lazy_pinyin("".join(bare), style=Style.TONE3, neutral_tone_with_five=True, tone_sandhi=True)
    if len(spoken) != len(units):
        spoken = [lazy_pinyin(unit, style=Style.TONE3, neutral_tone_with_five=True)[0] for unit in bare]
    return [sound + unit[len(character) :] for sound, unit, character in zip(spoken, units, bare, strict=True)]
