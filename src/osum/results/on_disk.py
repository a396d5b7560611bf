"""Rows and keys on disk: what a run over a corpus has to remember, in flat memory whatever its size.

Each is a database of SQLite without a name, which nothing is left of, even when the process is killed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar
from weakref import finalize

from osum.text import to_json
from osum.utterance import Utterance

_CACHE = 16_384  # KiB of a database held in memory
_PAGE = 500  # rows fetched at a time
V = TypeVar("V", int, bytes)


def _database(owner: object, table: str) -> sqlite3.Connection:
    """A database that goes away with its owner. Other threads may read it: SQLite lets one in at a time."""
    found = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    finalize(owner, found.close)
    for setting in (f"cache_size = -{_CACHE}", "journal_mode = OFF", "synchronous = OFF"):
        found.execute(f"PRAGMA {setting}")
    found.execute(f"CREATE TABLE {table}")
    found.execute("BEGIN")
    return found


class Spool:
    """Rows in the order they were added, gone through as often as needed, by several readers at once."""

    def __init__(self, rows: Iterable[Utterance] = ()) -> None:
        self._database = _database(self, "rows (number INTEGER PRIMARY KEY, line TEXT)")
        self._count = 0
        self.num_usable = 0
        """Rows without an error."""
        for row in rows:
            self.add(row)

    def add(self, row: Utterance) -> None:
        """Append a row."""
        self._count += 1
        self.num_usable += row.error is None
        self._database.execute("INSERT INTO rows VALUES (?, ?)", (self._count, to_json(row.to_dict())))

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        """A spool equals every sequence of the same rows."""
        same = isinstance(other, Spool | Sequence) and len(self) == len(other)
        return same and all(ours == theirs for ours, theirs in zip(self, other, strict=True))  # type: ignore[call-overload]

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Utterance]:
        query = "SELECT line FROM rows WHERE number > ? ORDER BY number LIMIT ?"
        at = 0
        while page := self._database.execute(query, (at, _PAGE)).fetchall():
            yield from (Utterance.from_dict(json.loads(line)) for (line,) in page)
            at += len(page)


class DiskDict(Generic[V]):
    """Bytes to a number, or to bytes."""

    def __init__(self) -> None:
        self._database = _database(self, "pairs (key BLOB PRIMARY KEY, value) WITHOUT ROWID")

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
