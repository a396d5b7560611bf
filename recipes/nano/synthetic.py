"""What espeak-ng speaks for `nano`: single English words, digits and numbers, with exact word times.

Makes a list of jobs and speaks them; the list depends on the kit and the seed only. Voices of valid and test are not
in training. Mandarin and sentences are spoken by Kokoro (`speak.py`), which sounds like people.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from osum.corpus.synthesis import FEMALE, HELD_OUT, MALE, OTHER, Speech, SynthesisVoice, espeak
from recipes.nano.recordings import read_rows

ENGLISH = ("en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
COMMANDS = ("speech", "speaker", "signal", "process", "open", "close", "project", "print", "alexa", "computer")
COMMANDS += ("jarvis", "smart mirror", "snowboy", "view glass")
"""English words of DSPSpeech-20, and the keywords of Picovoice's benchmark."""
EN_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZH_DIGITS = "零一二三四五六七八九"


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to be spoken."""

    id: str
    split: str
    text: str
    kind: str
    voice: SynthesisVoice
    gender: str | None


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many clips of each kind training gets."""

    digits: int = 600
    numbers: int = 300
    commands: int = 20  # of each command and digit
    vocabulary: int = 4000  # most frequent words of the kit's English texts, once each
    held_out: tuple[tuple[str, int], ...] = (("valid", 10), ("test", 40))
    """Clips of each kind in the other splits."""


def jobs(kit: Path, amounts: Amounts, seed: int) -> list[Job]:
    """All clips to be spoken, in a fixed order."""
    rng = random.Random(seed)
    words = vocabulary(kit / "text", amounts.vocabulary)
    made: list[Job] = []
    for split, count in (("train", None), *amounts.held_out):
        texts = [
            *(("digits", _digits(rng)) for _ in range(amounts.digits if count is None else count)),
            *(("number", _number(rng)) for _ in range(amounts.numbers if count is None else count)),
            *(("word", word) for word in (words if count is None else rng.sample(words, min(count, len(words))))),
        ]
        if count is None:
            texts += [("word", word) for word in (*COMMANDS, *EN_DIGITS)] * amounts.commands
        made += [job_of(f"{split}_{index:05d}", split, kind, text, rng) for index, (kind, text) in enumerate(texts)]
    return made


def vocabulary(texts: Path, count: int) -> list[str]:
    """The most frequent words of the English sentences, names left out where they are always written large."""
    counts: Counter[str] = Counter()
    for row in read_rows(texts / "tatoeba_en_zh.jsonl"):
        counts.update(re.findall(r"\b[a-z]+(?:'[a-z]+)?\b", row["en"]))
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]]


def job_of(name: str, split: str, kind: str, text: str, rng: random.Random) -> Job:
    """A job in a voice of the split."""
    gender = rng.choice(("male", "female")) if split != "train" or rng.random() > 0.04 else None
    named = {"male": MALE, "female": FEMALE, None: OTHER}[gender]
    out = {variant for variants in HELD_OUT.values() for variant in variants}
    voice = SynthesisVoice(
        accent=rng.choice(ENGLISH),
        variant=rng.choice([v for v in named if (v in HELD_OUT[split] if split != "train" else v not in out)]),
        rate=rng.randint(120, 210),
        pitch=rng.randint(25, 65) if gender == "male" else rng.randint(40, 75),
        pitch_range=rng.randint(30, 80),
    )
    return Job(f"espeak/{name}", split, text, kind, voice, gender)


def _digits(rng: random.Random) -> str:
    return " ".join(rng.choice(EN_DIGITS) for _ in range(rng.choice((1, 2, 3, 4, 5, 6, 8))))


def _number(rng: random.Random) -> str:
    return english_number(rng.randint(10, 9999))


_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def english_number(number: int) -> str:
    """Below 10000 in words: `two hundred and five`."""
    if number < 10:
        return EN_DIGITS[number]
    if number < 20:
        return _TEENS[number - 10]
    if number < 100:
        tens, rest = _TENS[number // 10 - 2], number % 10
        return f"{tens} {EN_DIGITS[rest]}" if rest else tens
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    head, rest = f"{english_number(number // size)} {name}", number % size
    if not rest:
        return head
    return f"{head} {'and ' if rest < 100 else ''}{english_number(rest)}"


def chinese_number(number: int) -> str:
    """Below 10000 in characters: `二百零五`."""
    if number < 10:
        return ZH_DIGITS[number]
    size, name = next((size, name) for size, name in ((1000, "千"), (100, "百"), (10, "十")) if number >= size)
    head = ("" if size == 10 and number < 20 else ZH_DIGITS[number // size]) + name
    rest = number % size
    if not rest:
        return head
    zero, one = "零" if rest < size // 10 else "", "一" if 10 <= rest < 20 else ""
    return head + zero + one + chinese_number(rest)


def speech(job: Job) -> Speech:
    """The job's clip and its word times."""
    return espeak().speak(job.text.split(), job.voice)
