"""What steps work on: a row of a manifest with its sound, read when it is asked for.

New sound is 16 bit from the moment it is made, so that a step that reads it from a shard gets the same samples as
the next step of the same process. Knows nothing of plans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from osum.corpus.clips import ClipAudio, as_clip, without_place
from osum.corpus.packed import FULL_SCALE, Float32, Int16, to_int16
from osum.errors import OsumError
from osum.records import to_row
from osum.utterance import Utterance, Word

NO_SOUND = "-"
"""The path of a row that is text alone."""
PROVENANCE, VOTES = "provenance", "votes"
"""Fields of a row's `extra`."""


class DropError(OsumError):
    """A row that a step leaves out, with a reason that can be counted.

    Args:
        reason: a few words, the same for every row left out for it.
        detail: of this row, such as the value that was too low.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a label comes from."""

    step: str = ""
    """Written by the runner, as is `version`."""
    version: int = 0
    model: str | None = None
    """Name and hash of the model that gave it."""
    score: float | None = None
    """How sure that is: a probability, or the share of votes that agree."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one model says of a field of a row."""

    by: str
    value: Any
    model: str | None = None
    score: float | None = None


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class Row:
    """A row and its sound."""

    utterance: Utterance
    sound: Int16 | None = None
    """New sound (S,) at 16 kHz that no file holds yet."""

    @property
    def id(self) -> str:
        """Its name."""
        return self.utterance.id

    @property
    def extra(self) -> Mapping[str, Any]:
        """What osum has no field for."""
        return self.utterance.extra

    @cached_property
    def samples(self) -> Float32:
        """The sound (S,) at 16 kHz, float32 with full scale 1.0.

        Raises:
            AudioError: it cannot be read.
            DropError: the row is text alone.
        """
        if self.sound is not None:
            return self.sound.astype(np.float32) / np.float32(FULL_SCALE)
        if self.utterance.path == NO_SOUND:
            raise DropError("no sound", "the row is text alone: let a step speak it first")
        return ClipAudio().read(self.utterance)

    @property
    def sound_hash(self) -> str:
        """SHA-256 of the sound as 16 bit samples."""
        return hashlib.sha256(to_int16(self.samples).tobytes()).hexdigest()

    def with_(self, **changes: Any) -> Row:
        """With other fields of the utterance; the sound stays."""
        return replace(self, utterance=self.utterance.with_(**changes))

    def noting(self, **extra: Any) -> Row:
        """With more in `extra`; None takes a field away."""
        kept = {**self.extra, **extra}
        return self.with_(extra={name: value for name, value in kept.items() if value is not None})

    def heard_as(self, samples: Float32) -> Row:
        """With new sound (S,), which is the whole clip; times then count from its beginning."""
        moved = without_place(as_clip(self.utterance, len(samples)))
        return Row(moved, to_int16(samples))

    # Labels

    def labelled(self, field: str, value: Any, model: str | None = None, score: float | None = None) -> Row:
        """With a label, and where it comes from.

        Args:
            field: `text`, `language`, `reply`, `words`, or the name of a label set.
            value: the label.
            model: which model gave it.
            score: how sure it is.
        """
        made = {**self.extra.get(PROVENANCE, {}), field: to_row(Provenance(model=model, score=_rounded(score)))}
        row = self.noting(**{PROVENANCE: made})
        if field in ("text", "language", "reply", "words"):
            return row.with_(**{field: value})
        return row.with_(labels={**row.utterance.labels, field: value})

    def value(self, field: str) -> Any:
        """A field as `labelled` names it; None where it is not known."""
        if field in ("text", "language", "reply"):
            return getattr(self.utterance, field)
        return (self.utterance.words or None) if field == "words" else self.utterance.labels.get(field)

    def voted(self, field: str, vote: Vote) -> Row:
        """With one more vote on a field; a voter that votes again takes its first vote back."""
        votes = self.extra.get(VOTES, {})
        others = [given for given in votes.get(field, ()) if given["by"] != vote.by]
        given = to_row(replace(vote, score=_rounded(vote.score)))
        return self.noting(**{VOTES: {**votes, field: [*others, given]}})

    def votes(self, field: str) -> list[Vote]:
        """The votes on a field, in the order in which they were given."""
        return [Vote(**given) for given in self.extra.get(VOTES, {}).get(field, ())]


def words_of(value: Any) -> tuple[Word, ...]:
    """Words as a model's stored answer holds them."""
    return tuple(Word(**word) for word in value)


def rng_of(row: Row, seed: int) -> np.random.Generator:
    """Random numbers of a row alone: neither order nor shards change them."""
    text = json.dumps([seed, row.id]).encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:8], "big"))


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(float(score), 4)
