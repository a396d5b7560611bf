"""What is spoken by espeak-ng for `nano`: which texts, in which voices, with which labels.

Makes a list of jobs and speaks them; the list depends on the kit and the seed only. Texts and voices of
valid and test are not heard in training.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from osum.corpus.manifest import unit_hash
from osum.corpus.transcript import chinese_units, english_units, pinyin_units, transcript, units_text
from osum.data.synthesis import FEMALE, HELD_OUT, MALE, OTHER, Speech, Voice, espeak
from osum.utterance import Word
from recipes.nano.recordings import read_rows

ENGLISH = ("en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
MANDARIN = ("cmn-latn-pinyin",)

DSP_WORDS = {
    "en": ["speech", "speaker", "signal", "process", "open", "close", "project", "print"],
    "zh": ["数字", "语音", "语言", "识别", "中国", "总工", "北京", "背景", "上海", "商行", "复旦", "饭店"],
}
KEYWORDS = ("alexa", "computer", "jarvis", "smart mirror", "snowboy", "view glass")
EN_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZH_DIGITS = "零一二三四五六七八九"
MIN_CHARACTER_COUNT = 5
"""A Mandarin sentence with a character that is rarer in the kit's texts is left out."""
MAX_UNITS = 40
MAX_REPLY = 60  # characters


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be spoken: units with their stops (see transcript.py), and what is known of it."""

    units: tuple[str, ...]
    language: str
    kind: str
    style: str | None = None
    reply: str | None = None

    @property
    def text(self) -> str:
        return units_text(list(self.units))


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to be spoken."""

    id: str
    split: str
    spoken: Text
    voice: Voice
    gender: str | None


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many clips of each kind training gets; valid and test get a share of distinct ones."""

    tatoeba: int = 12000  # per language
    chat: int = 3000  # question and answer pairs of each dialogue file, at most
    digits: int = 3000  # per language
    numbers: int = 1200  # per language
    words: int = 150  # of each DSPSpeech word and keyword
    vocabulary: int = 5000  # HSK words
    held_out: dict[str, int] = field(default_factory=lambda: {"valid": 60, "test": 150})
    """Clips of each kind and language in valid and test."""


def jobs(kit: Path, amounts: Amounts, seed: int) -> list[Job]:
    """All clips to be spoken, in a fixed order."""
    rng = random.Random(seed)
    made: list[Job] = []
    for name, texts, limit in _pools(kit / "text", amounts, rng):
        dealt = _deal(texts, amounts, seed)
        for split in ("valid", "test", "train"):
            part = dealt[split][: limit if split == "train" else None]
            made += [_job(f"{name}_{split}", i, split, text, rng) for i, text in enumerate(part)]
    held_out = {job.spoken.text for job in made if job.split != "train" and job.spoken.kind in ("sentence", "chat")}
    kept = [job for job in made if job.split != "train" or job.spoken.text not in held_out]
    return kept + _repeated_words(amounts, rng)


def _deal(texts: list[Text], amounts: Amounts, seed: int) -> dict[str, list[Text]]:
    """Distinct texts in the order of their hashes: the first to valid and test, one clip each, the rest to train."""
    unique = sorted({(text.text, text.reply): text for text in texts}.values(), key=lambda t: unit_hash(t.text, seed))
    order = list(dict.fromkeys(text.text for text in unique))
    split_of: dict[str, str] = {}
    for split, count in amounts.held_out.items():
        first = len(split_of)
        split_of.update(dict.fromkeys(order[first : first + min(count, len(order) // 10)], split))
    dealt: dict[str, list[Text]] = {"train": [], "valid": [], "test": []}
    for text in unique:
        dealt[split_of.get(text.text, "train")].append(text)
    return dealt


def _pools(folder: Path, amounts: Amounts, rng: random.Random) -> Iterator[tuple[str, list[Text], int]]:
    """(name, texts, most clips in training)"""
    common = _common_characters(folder)
    tatoeba = read_rows(folder / "tatoeba_en_zh.jsonl")
    spoken = "日常口语"
    yield "tatoeba_en", _texts("en", "sentence", (row["en"] for row in tatoeba), spoken), amounts.tatoeba
    chinese = _texts("zh", "sentence", (row["zh"] for row in tatoeba), spoken)
    yield "tatoeba_zh", [text for text in chinese if common.issuperset(text.text)], amounts.tatoeba
    for name, style in (("chatterbot", spoken), ("taskmaster4", "客服"), ("kdconv", spoken), ("crosswoz", "客服")):
        yield name, _dialogue(folder / f"chat_{name}.jsonl", style, common), amounts.chat
    yield "digits_en", [_digits("en", rng) for _ in range(2 * amounts.digits)], amounts.digits
    yield "digits_zh", [_digits("zh", rng) for _ in range(2 * amounts.digits)], amounts.digits
    numbers = range(10, 10000)
    yield "numbers_en", [_number("en", n) for n in rng.sample(numbers, 2 * amounts.numbers)], amounts.numbers
    yield "numbers_zh", [_number("zh", n) for n in rng.sample(numbers, 2 * amounts.numbers)], amounts.numbers
    hsk = (folder / "hsk2012_words.txt").read_text(encoding="utf-8").split()
    yield "hsk", _texts("zh", "word", hsk), amounts.vocabulary


def _repeated_words(amounts: Amounts, rng: random.Random) -> list[Job]:
    """The DSPSpeech words and keywords, each often and in many voices, in training only."""
    words = [("en", word) for word in (*DSP_WORDS["en"], *KEYWORDS)] + [("zh", word) for word in DSP_WORDS["zh"]]
    words += [("en", digit) for digit in EN_DIGITS] + [("zh", digit) for digit in ZH_DIGITS]
    texts = [text for language, word in words for text in _texts(language, "word", [word]) * amounts.words]
    return [_job("word_train", i, "train", text, rng) for i, text in enumerate(texts)]


def _job(name: str, index: int, split: str, spoken: Text, rng: random.Random) -> Job:
    gender = rng.choice(("male", "female")) if split != "train" or rng.random() > 0.04 else None
    named = {"male": MALE, "female": FEMALE, None: OTHER}[gender]
    out = {variant for variants in HELD_OUT.values() for variant in variants}
    allowed = [v for v in named if (v in HELD_OUT[split] if split != "train" else v not in out)]
    voice = Voice(
        accent=rng.choice(ENGLISH if spoken.language == "en" else MANDARIN),
        variant=rng.choice(allowed),
        rate=rng.randint(120, 210),
        pitch=rng.randint(25, 65) if gender == "male" else rng.randint(40, 75),
        pitch_range=rng.randint(30, 80),
    )
    return Job(f"synthetic/{name}_{index:05d}", split, spoken, voice, gender)


def _units(text: str, language: str) -> list[str] | None:
    if language == "en":
        return english_units(text)
    return chinese_units(simplified(text))


def _texts(language: str, kind: str, written: Iterable[str], style: str | None = "其他") -> list[Text]:
    """The speakable ones among written texts."""
    found = []
    for text in written:
        units = _units(text, language)
        if units and len(units) <= MAX_UNITS:
            found.append(Text(tuple(units), language, kind, style))
    return found


def _dialogue(path: Path, style: str, common: frozenset[str]) -> list[Text]:
    """Each turn with the answer to it; in files with roles only the user's turns."""
    found = []
    for row in read_rows(path):
        turns = [(turn, "user") if isinstance(turn, str) else (turn["text"], turn["role"]) for turn in row["turns"]]
        for (said, role), (answered, _) in itertools.pairwise(turns):
            units = _units(said, row["lang"]) if role == "user" else None
            if units and len(units) <= MAX_UNITS and (row["lang"] == "en" or common.issuperset(units_text(units))):
                found.append(Text(tuple(units), row["lang"], "chat", style, _reply(answered, row["lang"], common)))
    return found


def _reply(written: str, language: str, common: frozenset[str]) -> str | None:
    """The normalised answer; None where it is long, holds digits or another script."""
    units = _units(written, language)
    reply = transcript(units_text(units)) if units else ""
    usable = 0 < len(reply) <= MAX_REPLY and (language == "en" or common.issuperset(reply))
    return reply if usable else None


def _digits(language: str, rng: random.Random) -> Text:
    digits = [
        rng.choice(EN_DIGITS if language == "en" else ZH_DIGITS) for _ in range(rng.choice((1, 2, 3, 4, 5, 6, 8)))
    ]
    return Text(tuple(digits), language, "digits", "其他")


def _number(language: str, number: int) -> Text:
    text = english_number(number) if language == "en" else chinese_number(number)
    return Text(tuple(text.split() if language == "en" else text), language, "number", "其他")


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


@cache
def _common_characters(folder: Path) -> frozenset[str]:
    """Characters that occur often enough in the kit's texts to be learned."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.jsonl")):
        counts.update(simplified(path.read_text(encoding="utf-8")))
    return frozenset(character for character, count in counts.items() if count >= MIN_CHARACTER_COUNT)


def simplified(text: str) -> str:
    """Traditional characters to simplified ones."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def speak(job: Job) -> Speech:
    """The job's clip; the words are those of its transcript."""
    units = list(job.spoken.units)
    speech = espeak().speak(units if job.spoken.language == "en" else pinyin_units(units), job.voice)
    words = tuple(
        Word(unit.rstrip(",.?"), word.start, word.end) for unit, word in zip(units, speech.words, strict=False)
    )
    return Speech(speech.samples, words)
