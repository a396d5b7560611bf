"""Parts: the rows of one file during a run, and the file that they become.

1. What is asked is written first, to `.NAME.parts/asked.json`.
2. Rows appear in parts: temporary name, fsync, rename. Many small parts become a large one.
3. When every row is there, file and parts become the new file, and the parts go away.

A kill at any moment leaves whole parts and a whole file. Of two rows of one key the last one counts. Names of parts are
of one run alone, so that two runs never write over each other. Next to each row is kept the stamp of the file that it
is about, so that a file that has changed since is found. Knows nothing of models or sound.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from osum.errors import InputError
from osum.files import atomic_file, locked, seen_from
from osum.results.asked import check_asked, keep_asked, read_asked
from osum.results.formats import render_jsonl, to_row
from osum.results.on_disk import DiskCounter, DiskDict, Spool
from osum.utterance import Utterance

ASKED, STAMPS, REPLACED = "asked.json", "stamps", "replaced"
"""`replaced` stands while the file is one that the run will replace."""
STDIN = "-"
"""A path that is no file."""
PATIENCE = 5.0  # seconds that a row waits for others of its part
SMALL = 64
"""So many small parts become a large one."""
NO_STAMP = b"-"
"""Of a row about no file, or of an osum that kept none."""

T = TypeVar("T")


class RowFile(Protocol):
    """How rows, each one line of JSON, are kept in one file."""

    def read(self, path: Path) -> Iterator[bytes]:
        """The lines in order."""

    def write(self, lines: Callable[[], Iterator[bytes]], out: BinaryIO) -> None:
        """Write all lines; `lines` gives them as often as they are asked for."""


class JsonLines:
    """Lines as they are."""

    def read(self, path: Path) -> Iterator[bytes]:
        """The lines in order."""
        with path.open("rb") as lines:
            yield from (line.rstrip() + b"\n" for line in lines if line.strip())

    def write(self, lines: Callable[[], Iterator[bytes]], out: BinaryIO) -> None:
        """Write all lines."""
        out.writelines(lines())


class RowParts:
    """The rows of one file.

    Args:
        path: the file.
        form: how it keeps rows.
        size: rows of a part, which are lost when the run is killed before the part is there.
    """

    def __init__(self, path: Path, form: RowFile, size: int = 8) -> None:
        self.path = path
        self.folder = path.with_name(f".{path.name}.parts")
        self._form, self._size = form, size
        self._run, self._number = secrets.token_hex(4), 0
        self._claimed = ExitStack()
        self._marks = DiskDict[bytes]()
        """Number of each row that is missing to its key and stamp."""
        self._added = 0
        self._waiting: list[bytes] = []
        self._written = time.monotonic()
        self._small: list[Path] = []
        self.num_changed = 0
        """Rows about a file that has changed since, as `missing` found."""
        self.num_unstamped = 0
        """Rows of which nobody knows whether their file has."""

    @property
    def begun(self) -> bool:
        """Whether there are rows already, in the file or in parts."""
        return self._kept() or any(self._parts())

    @property
    def finished(self) -> bool:
        """Whether all rows are in the file."""
        return self._kept() and not any(self._parts())

    def _kept(self) -> bool:
        """Whether the file stands and holds rows of this run or of one that it continues."""
        return self.path.exists() and not (self.folder / REPLACED).exists()

    def start(self, asked: Mapping[str, Any]) -> None:
        """Start again. An existing file stays until all rows of the new one are written.

        Raises:
            InputError: another run is writing the file.
        """
        self._claim()
        for item in self.folder.iterdir():
            item.unlink(missing_ok=True)
        if self.path.exists():
            (self.folder / REPLACED).touch()
        keep_asked(self.folder / ASKED, asked)

    def resume(self, asked: Mapping[str, Any]) -> None:
        """Continue with the existing rows. An empty `asked` is that of a run in which nothing could be asked.

        Raises:
            InputError: the rows that are there were asked something else, nobody knows what, or another run is
                writing the file.
        """
        self._claim()
        before = read_asked(self.folder / ASKED, self.path)
        if before.get("language") == "auto":  # an option that was taken away: this value asked for nothing
            del before["language"]
        if before and asked:
            check_asked(before, asked, self.path)
        self._number = max((int(part.name.split("-")[1]) for part in self._parts()), default=-1) + 1
        if asked:
            keep_asked(self.folder / ASKED, asked)

    def _claim(self) -> None:
        """Keep other runs away until this object or the process goes, or is killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._claimed.enter_context(locked(self.folder, wait=False))
        except BlockingIOError as fault:
            raise InputError(
                f"another run is writing {self.path}: wait until it has ended, or give another -o"
            ) from fault

    def missing(
        self, items: Iterable[Utterance], retry_failed: bool = False, changed: bool = False
    ) -> tuple[Spool, int]:
        """The items that have no row yet, and how many of the others have one with an error.

        With `retry_failed` a row with an error is none, with `changed` one about a file that has changed since. The
        stamps of the items' files are taken here, before they are read: what changes later is found the next time.
        """
        known = DiskDict[bytes]()
        for row in self._rows():
            known[row.key] = b"%d %s" % (row.failed, row.stamp)
        left, num_failed = Spool(), 0
        self._marks, self._added = DiskDict[bytes](), 0
        self.num_changed = self.num_unstamped = 0
        for item, key in _with_keys(items, lambda item: to_row(self._portable(item))):
            found = known.get(key)
            failed, before = (b"0", NO_STAMP) if found is None else found.split(b" ", 1)
            stamp = stamp_of(item.path)
            other = found is not None and NO_STAMP not in (before, stamp) and stamp != before
            self.num_changed += other
            self.num_unstamped += found is not None and before == NO_STAMP != stamp
            if found is None or (retry_failed and failed == b"1") or (changed and other):
                self._marks[b"%d" % len(left)] = b"%s %s" % (key, stamp)
                left.add(item)
            else:
                num_failed += failed == b"1"
        return left, num_failed

    def add(self, row: Utterance) -> None:
        """Take the row of the next of the items that were missing."""
        line = render_jsonl(self._portable(row)).encode()
        key, stamp = (self._marks.get(b"%d" % self._added) or b"").split()
        self._added += 1
        self._waiting.append(_Row(key, stamp, row.error is not None, line).pack())
        if len(self._waiting) >= self._size or time.monotonic() > self._written + PATIENCE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait as a part."""
        if self._waiting:
            self._small.append(self._write(self._waiting))
            self._waiting = []
        if len(self._small) >= SMALL:
            self._write(part.read_bytes() for part in self._small)
            for part in self._small:
                part.unlink()
            self._small = []
        self._written = time.monotonic()

    def merge(self) -> None:
        """Make the file of all rows, clear the parts away, and let other runs in."""
        self.flush()
        if not self.finished:
            self._join()
        self._claimed.close()

    def _join(self) -> None:
        last = DiskDict[int]()
        for number, row in enumerate(self._rows()):
            last[row.key] = number

        def rows() -> Iterator[_Row]:
            return (row for number, row in enumerate(self._rows()) if last.get(row.key) == number)

        # The stamps first: after a kill in between, the parts still say what stands in the file.
        self._keep_stamps(rows())
        with atomic_file(self.path) as out:
            self._form.write(lambda: (row.line for row in rows()), out)
        # Before the parts: as long as it stands, they are all there is.
        (self.folder / REPLACED).unlink(missing_ok=True)
        for item in self.folder.iterdir():
            if item.name not in (ASKED, STAMPS):  # with what killed runs left
                item.unlink(missing_ok=True)

    def _keep_stamps(self, rows: Iterable[_Row]) -> None:
        """For the rows of the file, which hold only what the contract says."""
        stamped = (row for row in rows if row.stamp != NO_STAMP)
        if (first := next(stamped, None)) is None:
            return
        with atomic_file(self.folder / STAMPS) as out:
            out.writelines(b"%s %s\n" % (row.key, row.stamp) for row in chain([first], stamped))

    def _stamps(self) -> DiskDict[bytes]:
        path, found = self.folder / STAMPS, DiskDict[bytes]()
        if path.is_file():
            with path.open("rb") as lines:
                for pair in map(bytes.split, lines):
                    if len(pair) == 2:
                        found[pair[0]] = pair[1]
        return found

    def _write(self, pieces: Iterable[bytes]) -> Path:
        path = self.folder / f"part-{self._number:08d}-{self._run}"
        with atomic_file(path) as out:
            out.writelines(pieces)
        self._number += 1
        return path

    def _parts(self) -> Iterator[Path]:
        return iter(sorted(self.folder.glob("part-*")))

    def _rows(self) -> Iterator[_Row]:
        """The rows, the older first."""
        if self._kept():
            stamps = self._stamps()
            lines = ((line, self._known(line)) for line in self._form.read(self.path))
            for (line, row), key in _with_keys(lines, lambda pair: pair[1]):
                yield _Row(key, stamps.get(key) or NO_STAMP, "error" in row, line)
        for part in self._parts():
            with part.open("rb") as packed:
                # A line without its end was cut by something that is not osum: its row is asked again.
                yield from (_Row.unpack(line) for line in packed if line.endswith(b"\n"))

    def _known(self, line: bytes) -> dict[str, Any]:
        """The row of a line; file names with stray bytes, which other manifests may not have, stand in it escaped."""
        try:
            row: Any = json.loads(line)
            row["id"], row["path"]
        except (ValueError, TypeError, KeyError) as fault:
            shown = line.decode(errors="replace").strip()[:40]
            raise InputError(f"{self.path} holds {shown!r}, which is no row: repair it, or use --overwrite") from fault
        return dict(row)

    def _portable(self, row: Utterance) -> Utterance:
        """With the path as seen from the file."""
        return row if row.path == STDIN else row.with_(path=seen_from(self.path.parent, Path(row.path)))


def stamp_of(path: str) -> bytes:
    """Size and time of change of a file, by which a change is noticed; `NO_STAMP` for what is no file."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return NO_STAMP
    return b"%d:%d" % (status.st_size, status.st_mtime_ns)


class _Row(NamedTuple):
    """One row, and what is kept next to it."""

    key: bytes
    stamp: bytes
    failed: bool
    line: bytes

    def pack(self) -> bytes:
        """As a line of a part."""
        return b"%s %d %s %s" % (self.key, self.failed, self.stamp, self.line)

    @classmethod
    def unpack(cls, packed: bytes) -> _Row:
        """From a line of a part; those of an earlier osum have no stamp."""
        key, failed, rest = packed.split(b" ", 2)
        stamp, line = (NO_STAMP, rest) if rest.startswith(b"{") else rest.split(b" ", 1)
        return cls(key, stamp, failed == b"1", line)


def _with_keys(items: Iterable[T], row_of: Callable[[T], Mapping[str, Any]]) -> Iterator[tuple[T, bytes]]:
    """Each item with the key of its row: a manifest may repeat a row, so equal keys are counted."""
    seen = DiskCounter()
    for item in items:
        row = row_of(item)
        text = json.dumps([row["id"], row["path"], row.get("channel"), row.get("start"), row.get("end")])
        digest = hashlib.blake2b(text.encode(), digest_size=12).digest()
        yield item, f"{digest.hex()}-{seen.count(digest)}".encode()
