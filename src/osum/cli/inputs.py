"""What a command line names, as utterances: files, folders, globs, manifests, shards, lists of paths, standard input.

An unusable path and a broken line become an utterance with an `error`, so that the good ones are still answered.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from osum.audio import find_audio
from osum.corpus.clips import ClipAudio
from osum.corpus.readers import Line, Manifest, holds_rows
from osum.errors import InputError, OsumError, UsageError
from osum.results.on_disk import Spool
from osum.utterance import Utterance

STDIN = "-"
BROKEN_LINE = "broken_line"
"""Field of the row that stands for a line of a manifest which cannot be read."""
_MANIFESTS = (".jsonl", ".jsonl.gz", ".tar")

ChannelChoice = Literal["mix", "each"] | int


@contextmanager
def collected(given: Sequence[str], channel: ChannelChoice | None = None) -> Iterator[Inputs]:
    """The utterances that the paths in `given` mean, in their order.

    Args:
        given: files, folders, globs, manifests, shards; `-` is audio on standard input.
        channel: for all of them; None keeps what a manifest says.

    Raises:
        InputError: a manifest of which nothing can be read.
    """
    with TemporaryDirectory(prefix="osum-") as folder:
        inputs = Inputs(Path(folder) / "stdin", channel)
        inputs.add(given)
        yield inputs


class Inputs:
    """Utterances to be answered; they are kept on disk, so that a corpus may have any size."""

    def __init__(self, piped: Path, channel: ChannelChoice | None) -> None:
        self._piped = piped
        self._channel = channel
        self.items = Spool()
        self.manifests: set[Path] = set()

    def add(self, given: Sequence[str]) -> None:
        """Append what paths mean. The same file named twice is asked once; a manifest may repeat itself."""
        self.manifests |= {_absolute(name) for name in given if _is_manifest(name)}
        files = {name: list(self._files(name)) for name in given if not _is_manifest(name)}
        named = self._named(given, files)
        for name in given:
            rows = _rows(name) if _is_manifest(name) else named.pop(name, ())
            for row in rows:
                for item in _per_channel(_checked(row), self._channel):
                    self.items.add(item)

    def keep(self, wanted: Callable[[Utterance], bool]) -> None:
        """Drop all others."""
        self.items = Spool(filter(wanted, self.items))

    def _files(self, name: str) -> Iterable[Utterance]:
        if name == STDIN:
            self._piped.write_bytes(read_stdin())
            return [Utterance(id="stdin", path=str(self._piped))]
        try:
            return [Utterance(id="", path=str(path)) for path in find_audio([name])]
        except InputError as fault:
            return [Utterance(id="", path=name, error=str(fault))]

    def _named(self, given: Sequence[str], files: Mapping[str, Sequence[Utterance]]) -> dict[str, list[Utterance]]:
        """The rows of files with ids: below the folder that all share, so that two files of one name stay two."""
        root = _common_root(name for name in files if name != STDIN)
        rows = {_absolute(row.path): row for name in files for row in files[name]}
        whole = {path: row.id or _below(root, path) for path, row in rows.items()}
        short = {path: rows[path].id or os.path.splitext(name)[0] for path, name in whole.items()}  # noqa: PTH122
        count = Counter(short.values())
        for name in given if files else ():
            if _is_manifest(name):
                count.update(row.id for row in _rows(name) if row.id in count)
        found: dict[str, list[Utterance]] = {}
        for name in files:
            paths = [path for path in dict.fromkeys(_absolute(row.path) for row in files[name]) if path in rows]
            found[name] = [
                rows.pop(path).with_(id=whole[path] if count[short[path]] > 1 else short[path]) for path in paths
            ]
        return found

    def named(self, row: Utterance) -> Utterance:
        """A result as the user knows it: standard input was never a file."""
        if row.path != str(self._piped):
            return row
        error = row.error.replace(row.path, STDIN) if row.error else None
        return row.with_(path=STDIN, error=error)


def read_stdin() -> bytes:
    """The recording on standard input.

    Raises:
        InputError: standard input is the keyboard.
    """
    if sys.stdin.isatty():
        raise UsageError("- reads audio from a pipe, and standard input is the keyboard: name a file, or pipe one in")
    return sys.stdin.buffer.read()


def read_list(name: str) -> list[str]:
    """The lines of a list of paths; `-` reads standard input.

    Raises:
        InputError: the list cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(
            f"--files-from {name} cannot be read ({fault}): give a text file with one path a line"
        ) from fault
    return [line for line in re.split("\r?\n|\r", text) if line.strip()]


def _is_manifest(name: str) -> bool:
    """Whether a path holds rows: a manifest, a tar, or a folder of shards or of packed audio."""
    return name.lower().endswith(_MANIFESTS) or holds_rows(Path(name))


def _rows(name: str) -> Iterator[Utterance]:
    """The rows of a manifest; a broken line is a row with an error. Errors of an earlier run are forgotten."""
    for line in _lines(name):
        if line.utterance is None:
            error = line.fault if line.place == name else f"{line.place}: {line.fault}"
            yield Utterance(Path(line.place).name, line.place, error=error, extra={BROKEN_LINE: True})
        elif BROKEN_LINE in line.utterance.extra:
            yield line.utterance
        else:
            yield line.utterance.with_(error=None)


def _lines(name: str) -> Iterator[Line]:
    """The lines of a manifest; one of which nothing can be read is a fault, which costs other inputs nothing."""
    try:
        yield from Manifest(Path(name))
    except InputError as fault:
        yield Line(name, fault=str(fault))


def _checked(row: Utterance) -> Utterance:
    """Found before a model is loaded: a path where nothing is. Other faults show where the audio is read."""
    if row.error is not None or _exists(row.path):
        return row
    try:
        ClipAudio().duration(row)
    except OsumError as fault:
        return row.with_(error=str(fault))
    return row


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name that is too long
        return False


def _per_channel(row: Utterance, channel: ChannelChoice | None) -> Iterable[Utterance]:
    if row.error is not None or channel is None:
        return [row]
    if channel != "each":
        return [row.with_(channel=channel)]
    try:
        each = ClipAudio().channels(row)
    except OsumError as fault:
        return [row.with_(error=str(fault))]
    return [row.with_(id=f"{row.id}-ch{index}", channel=index) for index in each]


# Names


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _common_root(names: Iterable[str]) -> Path:
    roots = [_absolute(_root(name)) for name in names]
    return Path(os.path.commonpath(roots)) if roots else Path.cwd()


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve would follow links)


def _root(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    if glob.has_magic(name) and not path.exists():
        return Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    return path.parent
