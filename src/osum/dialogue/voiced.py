"""Voiced: a generator that writes and a synthesizer that speaks text, as one that does both.

The text is spoken clause by clause as it is written, so that the first sound does not wait for the last word; each
word's time comes with the sound, so that a reply can be cut where it was interrupted. `Talker` with speech codes needs
none of this. Shapes: S samples.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.synthesis import SynthesisVoice, espeak
from osum.dialogue.conversation import Messages
from osum.dialogue.live import Generator
from osum.dialogue.talker import AudioPiece, Piece, Reply, Samples, TextPiece
from osum.errors import CheckpointError, MissingExtraError
from osum.scoring.normalize import mixed_units
from osum.speech.reader import Reader
from osum.speech.synthesizer import Token2Wav
from osum.speech.voice import Voice
from osum.text import CJK
from osum.utterance import Word

_CLAUSE = re.compile(r"[,;:.!?](?=\s)|[，。；：！？、]")
SHORTEST = 12
"""Characters of a clause that is spoken alone; a shorter one waits for the next."""


class Synthesizer(Protocol):
    """Speaks text."""

    sampling_rate: int
    """Hz."""

    def speak(self, text: str) -> tuple[Samples, tuple[Word, ...]]:
        """The samples (S,) of a text, and its words with their times, as far as they are known.

        Raises:
            OsumError: a text that it cannot speak.
        """


@dataclass(frozen=True)
class Voiced:
    """Replies of a generator that writes, spoken by a synthesizer."""

    writer: Generator
    voice: Synthesizer
    whole: bool = False
    """Wait for the whole text before the first sound, as a plain cascade does."""

    def stream_reply(self, conversation: Messages, options: Any = None, /) -> Iterator[Piece]:
        """As `Generator.stream_reply`."""
        waiting, sound, last = "", _Sound(self.voice), None
        for piece in self.writer.stream_reply(conversation, options):
            if isinstance(piece, Reply):
                last = piece
                break
            if isinstance(piece, AudioPiece):
                continue
            yield piece
            if isinstance(piece, TextPiece):
                ready, waiting = ("", waiting + piece.text) if self.whole else _clauses(waiting + piece.text)
                yield from sound.of(ready)
        yield from sound.of(waiting)
        assert last is not None
        yield replace(last, audio=sound.all, sampling_rate=self.voice.sampling_rate)


class _Sound:
    """What was spoken of one reply."""

    def __init__(self, voice: Synthesizer) -> None:
        self.voice = voice
        self.pieces: list[Samples] = []

    @property
    def all(self) -> Samples | None:
        return np.concatenate(self.pieces) if self.pieces else None

    def of(self, text: str) -> Iterator[AudioPiece]:
        if not text.strip():
            return
        samples, words = self.voice.speak(text)
        offset = sum(map(len, self.pieces)) / self.voice.sampling_rate
        self.pieces.append(samples)
        times = tuple(replace(word, start=word.start + offset, end=word.end + offset) for word in words)
        yield AudioPiece(samples, self.voice.sampling_rate, times)


def _clauses(text: str) -> tuple[str, str]:
    """Whole clauses, and what is left."""
    ends = [match.end() for match in _CLAUSE.finditer(text) if match.end() >= SHORTEST]
    at = ends[-1] if ends else 0
    return text[:at], text[at:]


class ReadAloud:
    """Texts by the speech head of a small voice. Who wrote them does not change by it."""

    def __init__(self, reader: Reader, speech: Token2Wav[Any], voice: Voice) -> None:
        """Join what reads, what speaks, and in whose voice.

        Raises:
            CheckpointError: the voice is of another model, or reads other codes than are spoken.
        """
        if reader.config.num_codes != speech.num_codes:
            raise CheckpointError(
                f"the speech head says {reader.config.num_codes} codes, {speech.name} speaks {speech.num_codes}: "
                "take both from one folder"
            )
        speech.start(voice)
        self._reader, self._speech, self._voice = reader, speech, voice
        self.sampling_rate = speech.sampling_rate

    def speak(self, text: str) -> tuple[Samples, tuple[Word, ...]]:
        """As `Synthesizer.speak`; English, and without times of words."""
        codes = self._reader.codes_of(text, self._voice.embedding)
        return self._speech.synthesize(codes, self._voice).cpu().numpy(), ()


class EspeakVoice:
    """espeak-ng: a plain voice that is quick everywhere, with exact word times. English, and Mandarin with pypinyin."""

    sampling_rate = SAMPLE_RATE

    def __init__(self, variant: str = "f3", rate: int = 170) -> None:
        """Open the library.

        Raises:
            OsumError: espeak-ng is not installed.
        """
        self._library = espeak()
        self._variant, self._rate = variant, rate

    def speak(self, text: str) -> tuple[Samples, tuple[Word, ...]]:
        """As `Synthesizer.speak`.

        Raises:
            MissingExtraError: Mandarin without pypinyin.
        """
        units = mixed_units(text)
        chinese = any(re.fullmatch(f"[{CJK}]", unit) for unit in units)
        accent, spoken = ("cmn-latn-pinyin", _pinyin(units)) if chinese else ("en-us", units)
        with _ONE_AT_A_TIME:
            found = self._library.speak(spoken, SynthesisVoice(accent, self._variant, self._rate))
        words = found.words if len(found.words) == len(units) else ()
        named = (replace(word, text=unit) for word, unit in zip(words, units, strict=False))
        return found.samples, tuple(named)


_ONE_AT_A_TIME = threading.Lock()
"""The library's state is one per process."""


def _pinyin(units: list[str]) -> list[str]:
    """Toned syllables, one a character; what is no Chinese character stays."""
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError as missing:
        raise MissingExtraError("pypinyin", "train") from missing
    return [
        lazy_pinyin(unit, style=Style.TONE3, neutral_tone_with_five=True)[0] if re.fullmatch(f"[{CJK}]", unit) else unit
        for unit in units
    ]
