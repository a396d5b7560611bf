"""The test split of `recipes.nano.build`: which of its clips a figure is about. Its speakers are in no other split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osum.corpus.manifest import read_manifest
from osum.evaluation.sets.layouts.unpacked import need
from osum.peers.lessons import is_recording
from osum.utterance import Utterance

Holds = Callable[[Utterance], bool]


def is_seen(row: Utterance) -> bool:
    """Whether the speaker of a test clip is in the training data (other texts)."""
    return row.extra.get("split_note") == "speaker seen"


def is_unseen(row: Utterance) -> bool:
    """A recording of a speaker that no training clip holds."""
    return is_recording(row) and not is_seen(row)


def is_adult(row: Utterance) -> bool:
    """A recording of an adult; all readers of LibriSpeech are."""
    return is_unseen(row) and (row.labels.get("age") == "adult" or row.source == "librispeech")


def is_adult_of_both_genders(row: Utterance) -> bool:
    """An adult of a source that holds women and men; FSDD holds men only."""
    return is_adult(row) and row.source != "fsdd"


def of_source(*sources: str) -> Holds:
    """Recordings of these sources."""
    return lambda row: is_unseen(row) and row.source in sources


def is_wordless(row: Utterance) -> bool:
    """A recording in which nothing is said."""
    return is_unseen(row) and row.text == ""


def is_burst(row: Utterance) -> bool:
    """EmoGator's bursts with an emotion of ours: without pain and relief."""
    return of_source("emogator")(row) and row.labels.get("emotion") != "other"


def is_spoken(row: Utterance) -> bool:
    """A recording in which something is said."""
    return is_unseen(row) and bool(row.text)


def is_old_or_adult(row: Utterance) -> bool:
    """A recording of somebody who is no child."""
    return is_unseen(row) and row.labels.get("age") in ("adult", "old")


def is_aligned(row: Utterance) -> bool:
    """A recording with the word times that PocketSphinx gave its text."""
    return is_unseen(row) and row.extra.get("times") == "pocketsphinx"


def mixed_into(evidence: str) -> Holds:
    """Events mixed into `real` recordings or `synthetic` speech."""
    return lambda row: (
        (row.extra.get("kind"), row.extra.get("evidence")) == ("event mixture", evidence) and not is_seen(row)
    )


def is_plain_synthetic(row: Utterance) -> bool:
    """Synthetic speech as it was spoken."""
    return row.source == "espeak" and "parts" not in row.extra


def synthetic(language: str) -> Holds:
    """Synthetic speech of one language as it was spoken."""
    return lambda row: is_plain_synthetic(row) and row.language == language


def synthetic_sentence(language: str) -> Holds:
    """Synthetic sentences of one language."""
    return lambda row: synthetic(language)(row) and row.extra.get("kind") == "sentence"


def has_reply(row: Utterance) -> bool:
    """A question whose answer is known."""
    return bool(row.reply)


@dataclass(frozen=True, slots=True)
class Slice:
    """Reads one figure's clips of a folder that `recipes.nano.build` wrote."""

    holds: Holds
    label_set: str | None = None
    """The label that must be known."""
    needs: str | None = None
    """The field that must not be empty: `text`, `words`."""
    with_weak: bool = True
    """Whether a label that was guessed from the source counts."""

    def __call__(self, folder: Path) -> list[Utterance]:
        """The clips.

        Raises:
            InputError: the list or the packed audio is missing.
        """
        hint = f"build it with python -m recipes.nano.build --kit KIT --out {folder}"
        rows = read_manifest(need(folder / "test.jsonl", hint=hint))
        held = [row for row in rows if self.holds(row) and self._is_known(row)]
        for path in sorted({row.path for row in held}):
            need(Path(path), hint=hint)
        return held

    def _is_known(self, row: Utterance) -> bool:
        if self.label_set:
            guessed = self.label_set in row.extra.get("weak", ())
            return self.label_set in row.labels and (self.with_weak or not guessed)
        return bool(getattr(row, self.needs)) if self.needs else True
