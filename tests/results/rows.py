"""Rows that the tests of several formats share."""

from __future__ import annotations

import io

from osum.results.formats import FORMATS
from osum.utterance import Answer, Segment, Utterance, Word

ODD = 'say "hi"\tto\n\n<b>&me --> you'
WORDS = (Word("hello", 0.5, 0.9, 0.87654), Word("world", 0.9, 1.4))
LABELS = {
    "SER": Answer("happy", 0.912345, {"happy": 0.912345, "sad": 0.087655}, "<happy>", evidence="real"),
    "SSR": Answer("日常口语", 0.4, evidence="synthetic"),
    "PITCH": Answer("high"),
}
CLIP = Utterance(
    "set/a b",
    "a b.wav",
    duration=3.0000004,
    language="en",
    segments=(
        Segment(0.5, 1.4, "hello world", words=WORDS, labels=LABELS, confidences=(0.98765, None)),
        Segment(1.5, 3.0, "bye", reply="see you"),
    ),
    extra={"start_note": 0.123456789},
)
SILENT = Utterance("s", "s.wav", segments=(Segment(0, 1, no_speech=True, no_speech_probability=0.98),))
FAILED = Utterance("f", "f.wav", error="f.wav: is empty, 0 bytes")


def render(name: str, utterance: Utterance = CLIP) -> str:
    return FORMATS[name].render(utterance)


def write(name: str, *utterances: Utterance) -> str:
    stream = io.StringIO()
    FORMATS[name].write(utterances, stream)
    return stream.getvalue()


def clip_of(text: str, words: tuple[Word, ...] = (), duration: float | None = None) -> Utterance:
    return Utterance("x", "x.wav", duration=duration, segments=(Segment(0.0, 2.0, text, words=words),))
