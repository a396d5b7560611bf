"""What comes twice: fingerprints of sound, duplicates, splits, and what leaks from one split into another.

A fingerprint is that of Haitsma and Kalker (ISMIR 2002), reduced by MinHash (Broder 1997), so that nothing is searched:
1. Energies of 17 bands from 300 to 3000 Hz, every 32 ms. A bit says whether the difference of two neighbouring bands
   grows from one frame to the next; the 16 bits of a frame are a word. A gain changes none, a codec some.
2. Of 32 hash functions each gives its smallest value over all words. The share of the 32 that two recordings have in
   common estimates the share of words that they have in common, whatever is cut off at an end.
3. Two that follow one another are a key, so there are 16. Recordings with a key in common are compared by all 32.

Example: words 5 9 9 2, and 5 9 7 2 of a copy. A function that is smallest at 5, 9 or 2 gives both the same value, one
that is smallest at 7 does not: on average 3 of 4 agree, since 3 of the 4 different words are in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import deal, unit_hash
from osum.corpus.packed import Float32
from osum.corpus.transcript import transcript
from osum.errors import InputError
from osum.pipeline.row import DropError, Row
from osum.pipeline.step import Outcome, Rows, step
from osum.results.on_disk import DiskCounter, DiskDict

FINGERPRINT, SPLIT = "fingerprint", "split"
FUNCTIONS = 32
"""Hash functions of a fingerprint."""
_FACTORS = np.random.default_rng(0).integers(1, 1 << 63, FUNCTIONS, dtype=np.uint64) | np.uint64(1)
_OFFSETS = np.random.default_rng(1).integers(0, 1 << 63, FUNCTIONS, dtype=np.uint64)
_BANDS, _LOWEST, _HIGHEST = 17, 300.0, 3000.0  # Hz
_WINDOW, _HOP = 4096, 512  # samples

Share = Annotated[float, Meta(gt=0, le=1)]


@step("fingerprint", version=1)
def fingerprint(row: Row) -> Row:
    """Note what a recording is known by, at another level or in another codec too."""
    return row.noting(**{FINGERPRINT: sketch(row.samples)})


def sketch(samples: Float32) -> list[int]:
    """The smallest value of each hash function over the words of a clip (S,): 32 numbers of 32 bits."""
    words = np.unique(_words(samples)).astype(np.uint64)
    hashes = (words[None] + np.uint64(1)) * _FACTORS[:, None] + _OFFSETS[:, None]  # (32, N), modulo 2^64
    hashes ^= hashes >> np.uint64(29)
    return [int(value) for value in ((hashes * _FACTORS[::-1, None]) >> np.uint64(32)).min(axis=1)]


def _words(samples: Float32) -> npt.NDArray[np.int64]:
    """A word of 16 bits for each pair of frames that follow one another: (N,)."""
    padded = np.pad(samples, (0, max(0, _WINDOW + _HOP - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)  # (N + 1, W)
    power = np.abs(np.fft.rfft(frames)) ** 2  # (N + 1, W / 2 + 1)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    edges = np.searchsorted(hertz, _LOWEST * (_HIGHEST / _LOWEST) ** (np.arange(_BANDS + 1) / _BANDS))
    energies = np.log(np.add.reduceat(power, edges, axis=1)[:, :_BANDS] + 1e-10)  # (N + 1, 17)
    grows = np.diff(np.diff(energies, axis=1), axis=0) > 0  # (N, 16)
    return grows @ (1 << np.arange(_BANDS - 1))


def likeness(one: Sequence[int], other: Sequence[int]) -> float:
    """Estimated share of words that two recordings have in common."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / FUNCTIONS


class _Known:
    """Fingerprints of recordings, on disk."""

    def __init__(self) -> None:
        self._first, self._rows = DiskDict[bytes](), DiskDict[bytes]()

    def add(self, name: str, found: Sequence[int]) -> None:
        """One more; a key that is there keeps its first recording."""
        row = _bytes(name)
        self._rows[row] = np.array(found, ">u4").tobytes()
        for key in _keys(found):
            if self._first.get(key) is None:
                self._first[key] = row

    def like(self, found: Sequence[int], alike: float) -> str | None:
        """A recording that has so many words in common; None where there is none."""
        for row in dict.fromkeys(filter(None, map(self._first.get, _keys(found)))):
            if likeness(found, np.frombuffer(self._rows.get(row) or b"", ">u4").tolist()) >= alike:
                return row.decode("utf-8", "surrogateescape")
        return None


def _keys(found: Sequence[int]) -> list[bytes]:
    values = np.array(found, ">u4")
    return [bytes([at]) + values[at : at + 2].tobytes() for at in range(0, FUNCTIONS, 2)]


@dataclass(frozen=True)
class DuplicatesOptions:
    """Of `duplicates`."""

    alike: Share = 0.15
    """Share of the fingerprint that two rows have in common from which they are one recording."""
    most_per_text: Annotated[int, Meta(ge=0)] = 0
    """Rows of one text that are kept; 0 keeps all."""


@step("duplicates", version=1, across=True)
def duplicates(rows: Rows, options: DuplicatesOptions) -> Iterator[Outcome]:
    """Keep the first of rows with one sound (by `fingerprint`), and so many rows of one text."""
    known, texts = _Known(), DiskCounter()
    for row in rows():
        found, said = _fingerprint(row, "duplicates"), transcript(row.utterance.text or "")
        if (other := known.like(found, options.alike)) is not None:
            yield DropError("duplicate sound", f"of {other}")
        elif options.most_per_text and said and texts.count(said.encode()) >= options.most_per_text:
            yield DropError("duplicate text", said[:60])
        else:
            known.add(row.id, found)
            yield row


def _fingerprint(row: Row, asker: str) -> Sequence[int]:
    found: Any = row.extra.get(FINGERPRINT)
    if found is None:
        raise InputError(
            f"{asker} needs the fingerprint of {row.id!r}, which it lacks: put the step fingerprint before"
        )
    return found


@dataclass(frozen=True)
class SplitOptions:
    """Of `split`."""

    shares: dict[str, Share] = field(default_factory=lambda: {"train": 0.9, "valid": 0.05, "test": 0.05})
    """Part to its share of the speakers."""
    seed: int = 0

    def __post_init__(self) -> None:
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise InputError(f"shares sum to {sum(self.shares.values()):g}: they must sum to 1")


@step("split", version=1)
def split(row: Row, options: SplitOptions) -> Row:
    """Deal rows to splits by the hash of their speaker, or of their id where none is named."""
    name = row.utterance.speaker or str(row.extra.get("cut_from", row.id))
    return row.noting(**{SPLIT: deal(unit_hash(name, options.seed), options.shares)})


@dataclass(frozen=True)
class LeakageOptions:
    """Of `leakage`."""

    train: str = "train"
    """The split from which rows go; those of the others stay."""
    alike: Share = 0.15
    text: bool = False
    """Whether a text of another split may not be in this one, whoever says it."""


@step("leakage", version=1, across=True)
def leakage(rows: Rows, options: LeakageOptions) -> Iterator[Outcome]:
    """Leave out of the training split whose speaker, sound or text is in another split."""
    speakers, texts, sounds = DiskCounter(), DiskCounter(), _Known()
    for row in rows():
        if row.extra.get(SPLIT) != options.train:
            speakers.count(_bytes(row.utterance.speaker))
            texts.count(_bytes(transcript(row.utterance.text or "")))
            sounds.add(row.id, _fingerprint(row, "leakage"))
    for row in rows():
        speaker, said = row.utterance.speaker, transcript(row.utterance.text or "")
        if row.extra.get(SPLIT) != options.train:
            yield row
        elif speaker and speakers.get(_bytes(speaker)) is not None:
            yield DropError("speaker of another split", speaker)
        elif options.text and said and texts.get(_bytes(said)) is not None:
            yield DropError("text of another split", said[:60])
        elif (other := sounds.like(_fingerprint(row, "leakage"), options.alike)) is not None:
            yield DropError("sound of another split", f"of {other}")
        else:
            yield row


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogateescape")
