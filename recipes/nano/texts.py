"""What Kokoro speaks for `nano`: an endless list of jobs, each a text, a language and a voice, mixed by kind.

The list depends on the texts and the seed only, and its first N jobs are always the same: a cache of it can grow.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from osum.corpus.manifest import unit_hash
from osum.corpus.transcript import transcript
from osum.text import CJK
from recipes.nano.recordings import read_rows, simplified
from recipes.nano.synthetic import chinese_number, english_number

LISTS: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "texts.yaml").read_text(encoding="utf-8"))
FRACTIONS = {"valid": 0.03, "test": 0.06}
"""Shares of the sentences that are spoken in held-out voices alone."""
MAX_REPLY = 60  # characters
LONGEST = {"en": 140, "zh": 45}
"""Characters of one sentence."""
KINDS = {"sentence": 16.0, "digits": 1.4, "number": 1.0, "date": 1.0, "name": 1.6, "word": 1.0, "vocabulary": 0.8}
"""How often each kind of text is spoken, relative to the others."""
TALK_EVERY = 4
"""After so many jobs comes one of `TALK_KINDS`."""
TALK_KINDS = {"chat": 6.0, "cut": 4.0, "wait": 1.0, "backchannel": 1.0}
TURN_OF_KIND = {"chat": "complete", "cut": "incomplete", "wait": "wait", "backchannel": "backchannel"}
"""Kind of a text to the state of the turn that it is."""
HELD_OUT_SHARE = {"train": 0.94, "valid": 0.02, "test": 0.04}
_STOPS = "，。？！、；：,.?!;:"
_CHINESE = re.compile(rf"[{CJK}{_STOPS}]*[{CJK}][{CJK}{_STOPS}]*")
_ENGLISH = re.compile(r"[A-Za-z ,.?!;:'’\"-]*[A-Za-z][A-Za-z ,.?!;:'’\"-]*")


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to be spoken."""

    text: str
    language: str
    kind: str
    split: str
    timbre: str
    """Kokoro voice that gives the first half of the style row: who speaks."""
    prosody: str
    """Kokoro voice that gives the second half: how."""
    speed: float

    @property
    def name(self) -> str:
        """The clip's name in the cache: the same text in the same voice has the same name."""
        from hashlib import sha256

        spoken = "|".join((self.text, self.language, self.timbre, self.prosody, f"{self.speed:.2f}"))
        return sha256(spoken.encode()).hexdigest()[:20]


def jobs(texts: Path, seed: int = 1) -> Iterator[Job]:
    """Jobs without end.

    Args:
        texts: folder with `tatoeba_en_zh.jsonl`, `chat_*.jsonl` and `hsk2012_words.txt`.
        seed: decides texts, voices and their order.
    """
    rng, other = random.Random(seed), random.Random(f"{seed}/talk")
    for number in itertools.count(1):
        if number % TALK_EVERY == 0:  # drawn apart, so that what a cache holds already stays on the list
            yield _talk(texts, other)
        split = rng.choices(list(HELD_OUT_SHARE), list(HELD_OUT_SHARE.values()))[0]
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        language = "zh" if kind == "vocabulary" else rng.choice(("en", "zh"))
        timbre, prosody = _voice(language, split, rng)
        text = _MAKERS[kind](texts, language, split, rng)
        yield Job(text, language, kind, split, timbre, prosody, round(rng.uniform(0.85, 1.2), 2))


def _talk(texts: Path, rng: random.Random) -> Job:
    """A turn of a dialogue with a known reply, one that is broken off, a call to wait, or a backchannel."""
    split = rng.choices(list(HELD_OUT_SHARE), list(HELD_OUT_SHARE.values()))[0]
    kind = rng.choices(list(TALK_KINDS), list(TALK_KINDS.values()))[0]
    language = rng.choice(("en", "zh"))
    timbre, prosody = _voice(language, split, rng)
    text = _MAKERS[kind](texts, language, split, rng)
    return Job(text, language, kind, split, timbre, prosody, round(rng.uniform(0.85, 1.2), 2))


def gender(timbre: str) -> str:
    """The gender that a voice's name gives: `af_sky` is female."""
    return "female" if timbre[1] == "f" else "male"


def _voice(language: str, split: str, rng: random.Random) -> tuple[str, str]:
    """Timbre of any voice of the split, prosody of one that speaks the language; both of one gender."""
    chosen = rng.choice(("female", "male"))
    held_out = {name for names in LISTS["held_out"].values() for name in names}
    of_gender = {spoken: voices[chosen] for spoken, voices in LISTS["voices"].items()}
    every = [*of_gender["en"], *of_gender["zh"]]
    known = of_gender[language] if rng.random() < 0.5 else every
    if split != "train":
        return rng.choice([name for name in every if name in LISTS["held_out"][split]]), rng.choice(of_gender[language])
    free = [[name for name in names if name not in held_out] for names in (known, of_gender[language])]
    return rng.choice(free[0]), rng.choice(free[1])


@cache
def sentences(texts: Path, language: str, split: str) -> Sequence[str]:
    """Every sentence of a split without digits and other scripts, simplified, in the order of the files."""
    return tuple(text for text in _all_sentences(texts, language) if split_of(text) == split)


def split_of(sentence: str) -> str:
    """The split that a sentence is dealt to, whatever the seed."""
    place = unit_hash(sentence, 0)
    if place < FRACTIONS["valid"]:
        return "valid"
    return "test" if place < sum(FRACTIONS.values()) else "train"


@cache
def _all_sentences(texts: Path, language: str) -> Sequence[str]:
    written = [row[language] for row in read_rows(texts / "tatoeba_en_zh.jsonl")]
    for path in sorted(texts.glob("chat_*.jsonl")):
        written += [turn for row in read_rows(path) if row["lang"] == language for turn in turns(row)]
    found = (simplified(text).strip() if language == "zh" else text.strip() for text in written)
    fits = {"en": _ENGLISH, "zh": _CHINESE}[language].fullmatch
    return tuple(dict.fromkeys(text for text in found if len(text) <= LONGEST[language] and fits(text)))


def transcript_of(text: str) -> str:
    """A written text as a transcript: lower case, no stops, simplified characters."""
    return transcript(simplified(text))


def turns(row: Mapping[str, Any]) -> list[str]:
    """The texts of a dialogue's turns."""
    return [turn if isinstance(turn, str) else turn["text"] for turn in row["turns"]]


def _sentence(texts: Path, language: str, split: str, rng: random.Random) -> str:
    """One to three sentences, since recordings are longer than what is written here."""
    pool = sentences(texts, language, split)
    count = rng.choices((1, 2, 3), (5, 3, 2))[0]
    return ("" if language == "zh" else " ").join(rng.choice(pool) for _ in range(count))


def _digits(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    digits = [rng.choice(LISTS["digits"][language]) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6)))]
    return (", " if rng.random() < 0.5 else " ").join(digits) if language == "en" else "".join(digits)


def _number(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    number = rng.randint(10, 9999)
    return english_number(number) if language == "en" else chinese_number(number)


def _date(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    month, day, hour = rng.randint(1, 12), rng.randint(1, 28), rng.randint(1, 12)
    if language == "zh":
        time = f"{rng.choice(LISTS['times'])}{chinese_number(hour)}点"
        return f"{chinese_number(month)}月{chinese_number(day)}号{time}。"
    name, ordinal = LISTS["months"][month - 1], LISTS["ordinals"][day % 12]
    if rng.random() < 0.5:
        return f"It was in {name}, {english_number(rng.choice((18, 19)))} {english_number(10 + day * 3)}."
    return f"{rng.choice(LISTS['weekdays'])}, the {ordinal} of {name}, at {english_number(hour)} o'clock."


def _name(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    return str(rng.choice(LISTS["named"][language]).format(*rng.sample(LISTS["names"][language], 2)))


def _word(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    return str(rng.choice(LISTS["words"][language]))


def _vocabulary(texts: Path, _language: str, _split: str, rng: random.Random) -> str:
    return rng.choice(_hsk(texts))


@cache
def _hsk(texts: Path) -> Sequence[str]:
    words = (texts / "hsk2012_words.txt").read_text(encoding="utf-8").split()
    return tuple(word for word in words if _CHINESE.fullmatch(word))


def _chat(texts: Path, language: str, split: str, rng: random.Random) -> str:
    return rng.choice(_answered(texts, language, split))


@cache
def _answered(texts: Path, language: str, split: str) -> Sequence[str]:
    """The user's turns that have a short reply; any sentence where a language has none."""
    known = set(replies(texts))
    pool = sentences(texts, language, split)
    return tuple(text for text in pool if text in known) or pool


def _cut(texts: Path, language: str, split: str, rng: random.Random) -> str:
    """The beginning of a sentence, cut at any place, without its stop."""
    text = rng.choice(sentences(texts, language, split)).rstrip(_STOPS)
    parts = text.split() if language == "en" else list(text)
    kept = parts[: rng.randint(1, max(1, len(parts) - 1))]
    return ((" " if language == "en" else "").join(kept)).rstrip(_STOPS) or text


def _wait(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    return str(rng.choice(LISTS["wait"][language]))


def _backchannel(_texts: Path, language: str, _split: str, rng: random.Random) -> str:
    return str(rng.choice(LISTS["backchannel"][language]))


@cache
def replies(texts: Path) -> dict[str, str]:
    """Turn of a dialogue to a short answer to it; in files with roles only the user's turns."""
    found: dict[str, str] = {}
    for path in sorted(texts.glob("chat_*.jsonl")):
        for row in read_rows(path):
            for (asked, answer), turn in zip(itertools.pairwise(turns(row)), row["turns"], strict=False):
                user = isinstance(turn, str) or turn["role"] == "user"
                reply = transcript_of(answer)
                if user and 0 < len(reply) <= MAX_REPLY and not any(c.isdigit() for c in reply):
                    found.setdefault(asked.strip(), reply)
    return found


_MAKERS: Mapping[str, Callable[[Path, str, str, random.Random], str]] = {
    "sentence": _sentence,
    "digits": _digits,
    "number": _number,
    "date": _date,
    "name": _name,
    "word": _word,
    "vocabulary": _vocabulary,
    "chat": _chat,
    "cut": _cut,
    "wait": _wait,
    "backchannel": _backchannel,
}
