"""Shards: which recordings of a corpus are one machine's to label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osum.corpus.manifest import unit_hash
from osum.errors import InputError
from osum.utterance import Utterance


@dataclass(frozen=True)
class Share:
    """One of `count` parts of any corpus. The hash of its id deals a row, so no machine need know of another."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"shard {self.index}/{self.count}: count from 0, so the last one is N-1/N")

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read `I/N`.

        Raises:
            InputError: the text is something else.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InputError(f"shard {text!r}: give I/N, such as 0/4 for the first of four")
        return cls(int(index), int(count))

    def holds(self, row: Utterance) -> bool:
        """Whether a row is in this shard; each is in exactly one of `count`."""
        return int(unit_hash(row.id) * self.count) == self.index

    def name(self, path: Path) -> Path:
        """This shard's own file: `labels.jsonl` to `labels-00000-of-00004.jsonl`."""
        stem, dot, suffix = path.name.partition(".")
        return path.with_name(f"{stem}-{self.index:05d}-of-{self.count:05d}{dot}{suffix}")
