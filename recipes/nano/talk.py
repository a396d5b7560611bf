"""What people say to a machine that talks: turns that are over or not, and turns with a reply.

Two parts of the data. `jobs`: English turns of dialogues with a reply, calls to wait and backchannels, for espeak-ng;
Kokoro speaks the same kinds in both languages (`texts.py`). `turns`: clips of the other parts, whole or cut, each with
a pause behind it, since the end of a clip must not say whether its speaker is done.

1. A clip with word times is cut after any of its words but the last, and has the words before: `incomplete`.
2. One without is cut where it is quiet between a fifth and three quarters of its speech, and has no transcript.
3. Whole sentences are `complete`; single recorded words that mean so are `wait` and `backchannel`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.corpus.vocal_events import Read
from osum.corpus.waveform import loud_part
from osum.utterance import Utterance
from recipes.nano import synthetic
from recipes.nano.mix import Clip
from recipes.nano.texts import LISTS, replies, split_of, transcript_of

STATES = ("complete", "incomplete", "wait", "backchannel")
AMOUNTS = {"train": 900, "valid": 40, "test": 100}
"""Clips of each state that are made of the other parts, where there are enough."""
REPLIES = {"train": 800, "valid": 30, "test": 80}
SHORT = {"train": 240, "valid": 20, "test": 40}
"""Of espeak-ng's clips: turns with a reply; calls to wait, and backchannels."""
MOST_COPIES = 8
"""Of one short recording, each with another pause behind it."""
_PAUSE = (0.2, 1.0)  # seconds
_SENTENCE = {"en": 4, "zh": 5}
"""Words or characters that a sentence has at least."""


def jobs(kit: Path, seed: int) -> list[synthetic.Job]:
    """What espeak-ng speaks, in a fixed order; a turn that is dealt to another split is in no other."""
    rng = random.Random(f"{seed}/talk")
    answered = answers(kit / "text")
    made: list[synthetic.Job] = []
    for split, count in REPLIES.items():
        asked = [text for text in answered if split_of(text) == split and text.isascii() and len(text.split()) < 25]
        said = [("chat", text) for text in rng.sample(asked, min(count, len(asked)))]
        for kind in ("wait", "backchannel"):
            said += [(kind, transcript_of(rng.choice(LISTS[kind]["en"]))) for _ in range(SHORT[split])]
        made += [
            synthetic.job_of(f"talk_{split}_{number:05d}", split, kind, text, rng)
            for number, (kind, text) in enumerate(said)
        ]
    return made


def answers(texts: Path) -> dict[str, str]:
    """Transcript of a user's turn to a short reply."""
    return {transcript_of(asked): reply for asked, reply in replies(texts).items()}


def turns(split: str, rows: Sequence[Utterance], read: Read, rng: np.random.Generator) -> Iterator[Clip]:
    """The clips of one split that are made of its other clips, as many of each state as there is material for."""
    pools = {"complete": [row for row in rows if is_sentence(row)], "wait": [], "backchannel": []}
    for row in rows:
        if (state := short_turn(row)) is not None:
            pools[state] += [row] * MOST_COPIES
    pools["incomplete"] = pools["complete"]
    number = 0
    for state in STATES:
        pool = pools[state]
        for place in rng.permutation(len(pool))[: AMOUNTS[split]]:
            row, samples = pool[place], read(pool[place])
            if state == "incomplete":
                row, samples = cut_off(row, samples, rng)
            extra = {"evidence": row.extra["evidence"], "kind": "turn", "parts": [pool[place].id]}
            extra |= {"times": row.extra["times"]} if row.words and "times" in row.extra else {}
            labels = {name: label for name, label in row.labels.items() if name in ("language", "gender", "event")}
            named = row.with_(id=f"turn/{split}_{number:05d}", labels=labels | {"turn": state}, reply=None, extra=extra)
            yield named, paused(samples, rng)
            number += 1


def is_sentence(row: Utterance) -> bool:
    """Whether a clip is a whole sentence of a person, or of Kokoro."""
    if not row.text or row.language not in _SENTENCE or row.extra.get("kind", "sentence") != "sentence":
        return False
    long_enough = len(row.text.split() if row.language == "en" else row.text) >= _SENTENCE[row.language]
    return long_enough and row.start is None and row.labels.get("event", "none") == "none" and "#" not in row.id


def short_turn(row: Utterance) -> str | None:
    """`wait` or `backchannel` for a recording of nothing but that."""
    if row.extra.get("kind") is not None or row.language not in _SENTENCE or row.labels.get("event", "none") != "none":
        return None
    said = (kind for kind in ("wait", "backchannel") if row.text in _short(kind, row.language))
    return next(said, None)


def _short(kind: str, language: str) -> set[str]:
    return {transcript_of(text) for text in LISTS[kind][language]}


def cut_off(row: Utterance, samples: Float32, rng: np.random.Generator) -> Clip:
    """The beginning of a sentence (S,), and its row with the words that are in it, or without a transcript."""
    if len(row.words) > 1:
        count = int(rng.integers(1, len(row.words)))
        end = (row.words[count - 1].end + row.words[count].start) / 2
        words = row.words[:count]
        kept = row.with_(text=" ".join(word.text for word in words), words=words)
        return kept, samples[: round(end * SAMPLE_RATE)]
    part = loud_part(samples)
    first, last = (part.start + round(share * (part.stop - part.start)) for share in (0.2, 0.75))
    return row.with_(text=None, words=()), samples[: quietest(samples, first, last)]


def quietest(samples: Float32, first: int, last: int) -> int:
    """The middle of the 30 ms with the least power between two samples of a clip (S,)."""
    size = round(0.03 * SAMPLE_RATE)
    power = np.convolve(samples[first : max(last, first + size)] ** 2, np.ones(size), "valid")
    return first + int(power.argmin()) + size // 2


def paused(samples: Float32, rng: np.random.Generator) -> Float32:
    """A clip (S,) with a pause behind it, as quiet as its quietest tenth and of any length."""
    size = round(rng.uniform(*_PAUSE) * SAMPLE_RATE)
    frames = samples[: samples.size // 160 * 160].reshape(-1, 160)
    level = float(np.quantile(np.sqrt((frames**2).mean(1)), 0.1)) if len(frames) else 0.0
    pause = rng.standard_normal(size).astype(np.float32) * np.float32(level)
    return np.concatenate([samples, pause]).astype(np.float32)
