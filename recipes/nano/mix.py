"""Clips of `nano` in addition to the recordings: strings of real words, voices with a laugh or a sigh, silence.

All parts of a clip come from one split, so a speaker stays on one side.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.corpus.vocal_events import Read, excerpt, labels_with_event
from osum.corpus.waveform import loud_part, overlay
from osum.text import close_cjk
from osum.utterance import Utterance, Word

EVENTS = ("laugh", "sigh", "cry", "sneeze", "cough")
_MAX_EVENT = 3.0  # seconds

Clip = tuple[Utterance, Float32]


@dataclass(frozen=True, slots=True)
class MixAmounts:
    """How many clips of each kind one split gets."""

    digits: int
    words: int
    events: int  # of each event
    silence: int


AMOUNTS = {
    "train": MixAmounts(1500, 800, 400, 300),
    "valid": MixAmounts(0, 60, 10, 20),
    "test": MixAmounts(150, 150, 40, 60),
}


def mixtures(split: str, rows: Sequence[Utterance], read: Read, rng: np.random.Generator) -> Iterator[Clip]:
    """All made clips of one split; `rows` are its recordings and synthetic speech."""
    amounts = AMOUNTS[split]
    digits = [row for row in rows if row.source == "fsdd"]
    words = [row for row in rows if row.source == "dspspeech20"]
    made = itertools.chain(
        _strings(digits, amounts.digits, range(2, 6), read, rng),
        _strings(words, amounts.words, range(2, 4), read, rng),
        _events(rows, amounts.events, read, rng),
        _silence(amounts.silence, rng),
    )
    for index, (row, samples) in enumerate(made):
        yield row.with_(id=f"mix/{split}_{index:05d}", duration=samples.size / SAMPLE_RATE), samples


def one_word_time(row: Utterance, samples: Float32) -> Utterance:
    """A recording of a single clean word gets the word's time, by loudness; others are left as they are."""
    single = row.source == "fsdd" or (row.source == "dspspeech20" and row.language == "en")
    single = single or (row.source == "audio-cmn-words" and len(row.text or "") == 1)
    if not single or not row.text:
        return row
    part = loud_part(samples)
    word = Word(row.text, part.start / SAMPLE_RATE, part.stop / SAMPLE_RATE)
    return row.with_(words=(word,), extra={**row.extra, "times": "loudness"})


def _strings(
    rows: Sequence[Utterance], count: int, lengths: range, read: Read, rng: np.random.Generator
) -> Iterator[Clip]:
    """Words of one speaker and language one after the other."""
    groups: dict[Any, list[Utterance]] = defaultdict(list)
    for row in rows:
        groups[row.speaker, row.language].append(row)
    if not groups:
        return
    keys = sorted(groups)
    for _ in range(count):
        group = groups[keys[rng.integers(len(keys))]]
        yield _string([group[i] for i in rng.integers(len(group), size=rng.choice(lengths))], read, rng)


def _string(rows: Sequence[Utterance], read: Read, rng: np.random.Generator) -> Clip:
    parts: list[Float32] = []
    words: list[Word] = []
    now = 0
    for row in rows:
        samples = read(row)
        part = samples[loud_part(samples)]
        gap = np.zeros(int(rng.uniform(0.02, 0.25) * SAMPLE_RATE), np.float32)
        words.append(Word(row.text or "", now / SAMPLE_RATE, (now + part.size) / SAMPLE_RATE))
        parts += [part / max(float(np.abs(part).max()), 1e-3) * np.float32(0.5), gap]
        now += part.size + gap.size
    first = rows[0]
    timed = all(row.words for row in rows)
    extra = {"evidence": "real", "kind": "string", "parts": [row.id for row in rows]}
    row = first.with_(
        text=close_cjk(" ".join(row.text or "" for row in rows)),
        words=tuple(words) if timed else (),
        extra={**extra, "times": "loudness"} if timed else extra,
    )
    return row, np.concatenate(parts).astype(np.float32)


def _events(rows: Sequence[Utterance], count: int, read: Read, rng: np.random.Generator) -> Iterator[Clip]:
    """Speech with a vocal event before, after or over it; half of the speech is real where there is any."""
    spoken = [row for row in rows if row.text and row.duration and 0.4 < row.duration < 7]
    real = [row for row in spoken if row.extra["evidence"] == "real" and row.source != "fsdd"]
    synthetic = [row for row in spoken if row.extra["evidence"] == "synthetic" and row.extra.get("kind") != "word"]
    for event in EVENTS:
        sounds = [row for row in rows if row.labels.get("event") == event]
        for _ in range(count if sounds and (real or synthetic) else 0):
            pool = real if (rng.random() < 0.5 and real) or not synthetic else synthetic
            yield _with_event(pool[rng.integers(len(pool))], sounds[rng.integers(len(sounds))], read, rng)


def _with_event(row: Utterance, sound: Utterance, read: Read, rng: np.random.Generator) -> Clip:
    speech, label = read(row), sound.labels["event"]
    event = excerpt(read(sound), label, (1.2, _MAX_EVENT), rng)
    event = event * (_level(speech) / _level(event) * 10 ** (rng.uniform(-3, 6) / 20))
    place = ("before", "after", "over")[rng.integers(3)]
    gap = int(rng.uniform(0, 0.3) * SAMPLE_RATE)
    over = int(rng.integers(speech.size // 2))
    start = {"before": -(event.size + gap), "after": speech.size + gap, "over": over}[place]
    mixed, words = overlay(speech, row.words, event, start)
    mixed_row = row.with_(
        words=words,
        labels=labels_with_event(row.labels, label),
        reply=None,
        extra={
            **{name: row.extra[name] for name in ("evidence", "times", "split_note") if name in row.extra},
            "kind": "event mixture", "place": place, "parts": [row.id, sound.id], "event_speaker": sound.speaker,
            "weak": [name for name in ("style",) if name in row.extra.get("weak", ())]
            + [name for name in ("event",) if name in sound.extra.get("weak", ())],
        },
    )  # fmt: skip
    return mixed_row, mixed


def _level(samples: Float32) -> float:
    return max(float(np.sqrt((samples**2).mean())), 1e-4)


def _silence(count: int, rng: np.random.Generator) -> Iterator[Clip]:
    """White to brown noise from full silence to a clear hiss: no speech, no event."""
    for _ in range(count):
        size = int(rng.uniform(0.3, 6.0) * SAMPLE_RATE)
        spectrum = np.fft.rfft(rng.standard_normal(size))
        spectrum /= np.maximum(np.arange(spectrum.size), 1) ** rng.uniform(0, 1)
        noise = np.fft.irfft(spectrum, size)
        loudness = 0.0 if rng.random() < 0.1 else 10 ** (rng.uniform(-70, -20) / 20)
        samples = (noise / max(float(noise.std()), 1e-9) * loudness).astype(np.float32)
        labels, extra = {"event": "none"}, {"evidence": "synthetic", "kind": "silence"}
        yield Utterance(id="", path="", text="", labels=labels, source="noise", extra=extra), samples
