"""Rows and keys on disk: what a run over a corpus has to remember, in flat memory whatever its size."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, Generic, TypeVar
from weakref import finalize

from osum.text import to_json
from osum.utterance import Utterance

_CACHE = 16_384  # KiB of keys held in memory
V = TypeVar("V", int, bytes)


class Spool:
    """Rows in the order they were added, gone through as often as needed; gone with the object."""

    def __init__(self, rows: Iterable[Utterance] = ()) -> None:
        folder = Path(mkdtemp(prefix="osum-"))
        self._path = folder / "rows.jsonl"
        self._file = self._path.open("wb")
        finalize(self, _remove, self._file, folder)
        self._count = 0
        self.num_usable = 0
        """Rows without an error."""
        for row in rows:
            self.add(row)

    def add(self, row: Utterance) -> None:
        """Append a row."""
        self._file.write((to_json(row.to_dict()) + "\n").encode())
        self._count += 1
        self.num_usable += row.error is None

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        """A spool equals every sequence of the same rows."""
        same = isinstance(other, Spool | Sequence) and len(self) == len(other)
        return same and all(ours == theirs for ours, theirs in zip(self, other, strict=True))  # type: ignore[call-overload]

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Utterance]:
        self._file.flush()
        with self._path.open("rb") as lines:
            for line in lines:
                yield Utterance.from_dict(json.loads(line))


def _remove(file: BinaryIO, folder: Path) -> None:
    file.close()
    shutil.rmtree(folder, ignore_errors=True)


class DiskDict(Generic[V]):
    """Bytes to a number, or to bytes."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, which goes away by itself
        finalize(self, self._database.close)
        for setting in (f"cache_size = -{_CACHE}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE pairs (key BLOB PRIMARY KEY, value) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def get(self, key: bytes) -> V | None:
        """The value of a key, None where it has none."""
        found = self._database.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def __setitem__(self, key: bytes, value: V) -> None:
        self._database.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?)", (key, value))


class DiskCounter(DiskDict[int]):
    """How often each of any number of keys was counted."""

    def count(self, key: bytes) -> int:
        """Count a key; returns how often it was counted before."""
        before = self.get(key) or 0
        self[key] = before + 1
        return before
