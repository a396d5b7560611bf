"""Parts: the rows of one file while a run goes on, and the file that they become.

1. What is asked is written first, to `.NAME.parts/asked.json`.
2. Rows appear in parts: temporary name, fsync, rename. Many small parts become a large one.
3. When every row is there, file and parts become the new file, and the parts go away.

A kill at any moment leaves whole parts and a whole file. A row that stands twice counts once, and the last one counts.
Names of parts are of one run alone, so that two runs never write over each other. Knows nothing of models or sound.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from osum.errors import InputError
from osum.files import atomic_file, seen_from
from osum.results.asked import check_asked, keep_asked, read_asked
from osum.results.formats import render_jsonl, to_row
from osum.utterance import Utterance

ASKED = "asked.json"
STDIN = "-"
"""A path that is no file."""
PATIENCE = 5.0  # seconds that a row waits for others of its part
SMALL = 64
"""So many small parts become a large one."""

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


class Parts:
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
        self._keys: deque[bytes] = deque()
        self._waiting: list[bytes] = []
        self._written = time.monotonic()
        self._small: list[Path] = []

    @property
    def begun(self) -> bool:
        """Whether there are rows already, in the file or in parts."""
        return self.path.exists() or any(self._parts())

    @property
    def finished(self) -> bool:
        """Whether all rows are in the file."""
        return self.path.exists() and not any(self._parts())

    def start(self, asked: Mapping[str, Any]) -> None:
        """Begin anew: what stood there goes away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        keep_asked(self.folder / ASKED, asked)

    def resume(self, asked: Mapping[str, Any]) -> None:
        """Go on with what is there. An empty `asked` is that of a run in which nothing could be asked.

        Raises:
            InputError: the rows that are there were asked something else, or nobody knows what.
        """
        before = read_asked(self.folder / ASKED, self.path)
        if before.get("language") == "auto":  # an option that was taken away: this value asked for nothing
            del before["language"]
        if before and asked:
            check_asked(before, asked, self.path)
        self._number = max((int(part.name.split("-")[1]) for part in self._parts()), default=-1) + 1
        if asked:
            keep_asked(self.folder / ASKED, asked)

    def missing(self, items: Iterable[Utterance], retry_failed: bool = False) -> tuple[list[Utterance], int]:
        """The items that have no row yet, and how many of the others have one with an error.

        With `retry_failed` a row with an error is none.
        """
        failed = {key: fault for key, fault, _ in self._rows()}
        left, num_failed = [], 0
        self._keys.clear()
        for item, key in _with_keys(items, lambda item: to_row(self._portable(item))):
            if key not in failed or (retry_failed and failed[key]):
                left.append(item)
                self._keys.append(key)
            else:
                num_failed += failed[key]
        return left, num_failed

    def add(self, row: Utterance) -> None:
        """Take the row of the next of the items that were missing."""
        line = render_jsonl(self._portable(row)).encode()
        self._waiting.append(b"%s %d %s" % (self._keys.popleft(), row.error is not None, line))
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
        """Make the file of all rows, and clear the parts away."""
        self.flush()
        if self.finished:
            return
        last = {key: number for number, (key, _, _) in enumerate(self._rows())}
        wanted = set(last.values())

        def lines() -> Iterator[bytes]:
            return (line for number, (_, _, line) in enumerate(self._rows()) if number in wanted)

        with atomic_file(self.path) as out:
            self._form.write(lines, out)
        for item in self.folder.iterdir():
            if item.name != ASKED:  # with what killed runs left
                item.unlink(missing_ok=True)

    def _write(self, pieces: Iterable[bytes]) -> Path:
        path = self.folder / f"part-{self._number:08d}-{self._run}"
        with atomic_file(path) as out:
            out.writelines(pieces)
        self._number += 1
        return path

    def _parts(self) -> Iterator[Path]:
        return iter(sorted(self.folder.glob("part-*")))

    def _rows(self) -> Iterator[tuple[bytes, bool, bytes]]:
        """Key, whether it is an error, and line of each row, the older first."""
        if self.path.exists():
            lines = ((line, self._known(line)) for line in self._form.read(self.path))
            for (line, row), key in _with_keys(lines, lambda pair: pair[1]):
                yield key, "error" in row, line
        for part in self._parts():
            with part.open("rb") as lines_of_part:
                for line in lines_of_part:
                    key, failed, text = line.split(b" ", 2)
                    yield key, failed == b"1", text

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


def _with_keys(items: Iterable[T], row_of: Callable[[T], Mapping[str, Any]]) -> Iterator[tuple[T, bytes]]:
    """Each item with what tells its row from all others: a manifest may repeat a row, so they are counted."""
    seen: Counter[bytes] = Counter()
    for item in items:
        row = row_of(item)
        text = json.dumps([row["id"], row["path"], row.get("channel"), row.get("start"), row.get("end")])
        digest = hashlib.blake2b(text.encode(), digest_size=12).digest()
        yield item, f"{digest.hex()}-{seen[digest]}".encode()
        seen[digest] += 1
