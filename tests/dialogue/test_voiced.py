"""Text that is spoken as it is written, with a time for each word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from osum.dialogue.talker import AudioPiece, Reply, TextPiece, ThoughtPiece
from osum.dialogue.voiced import EspeakVoice, Voiced
from osum.errors import OsumError
from osum.utterance import Word

PIECES = ["Good morning to", " you, my friend. ", "How are", " you?"]


class Writes:
    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Any]:
        yield ThoughtPiece("they sound tired")
        yield from map(TextPiece, PIECES)
        yield Reply("".join(PIECES))


class Beeps:
    """Ten samples a word."""

    sampling_rate = 100

    def speak(self, text: str) -> tuple[Any, tuple[Word, ...]]:
        words = text.split()
        times = tuple(Word(word, at / 10, (at + 1) / 10) for at, word in enumerate(words))
        return np.ones(10 * len(words), np.float32), times


def test_a_clause_is_spoken_as_soon_as_it_is_written() -> None:
    pieces = list(Voiced(Writes(), Beeps()).stream_reply([]))
    kinds = [type(piece).__name__ for piece in pieces]
    assert kinds == [
        "ThoughtPiece",
        "TextPiece",
        "TextPiece",
        "AudioPiece",
        "TextPiece",
        "TextPiece",
        "AudioPiece",
        "Reply",
    ]


def test_a_plain_cascade_speaks_when_all_is_written() -> None:
    kinds = [type(piece).__name__ for piece in Voiced(Writes(), Beeps(), whole=True).stream_reply([])]
    assert kinds == ["ThoughtPiece", *["TextPiece"] * 4, "AudioPiece", "Reply"]


def test_words_have_the_times_of_the_whole_reply() -> None:
    pieces = list(Voiced(Writes(), Beeps()).stream_reply([]))
    words = [word for piece in pieces if isinstance(piece, AudioPiece) for word in piece.words]
    assert [word.text for word in words] == "".join(PIECES).split()
    assert [word.start for word in words] == pytest.approx([at / 10 for at in range(9)])
    reply = pieces[-1]
    assert isinstance(reply, Reply) and reply.audio is not None and len(reply.audio) == 90


@pytest.mark.parametrize("text", ["good morning, how are you today?", "你好世界"])
def test_espeak_gives_every_word_its_time(text: str) -> None:
    try:
        samples, words = EspeakVoice().speak(text)
    except OsumError as missing:
        pytest.skip(str(missing))
    assert len(words) == len(text.split()) if text.isascii() else len(words) == 4
    assert all(one.end <= other.start + 1e-6 for one, other in pairwise(words))
    assert words[-1].end <= len(samples) / EspeakVoice.sampling_rate + 1e-6
