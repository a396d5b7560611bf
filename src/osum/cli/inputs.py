"""What a command line names, as utterances: files, folders, globs, manifests, lists of paths, standard input.

A path that is of no use becomes an utterance with an `error`, so that the good ones are still answered.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from osum.audio import channels, find_audio, probe
from osum.corpus.manifest import read_manifest
from osum.errors import InputError, OsumError
from osum.utterance import Utterance

STDIN = "-"
_MANIFEST = ".jsonl"

ChannelChoice = Literal["mix", "each"] | int


@contextmanager
def collected(given: Sequence[str], channel: ChannelChoice | None = None) -> Iterator[Inputs]:
    """The utterances that the paths in `given` mean, in their order.

    Args:
        given: files, folders, globs, manifests; `-` is audio on standard input.
        channel: for all of them; None keeps what a manifest says.

    Raises:
        InputError, ManifestError: a manifest that cannot be read.
    """
    with TemporaryDirectory(prefix="osum-") as folder:
        inputs = Inputs(Path(folder) / "stdin", channel)
        inputs.add(given)
        yield inputs


class Inputs:
    """Utterances to be answered."""

    def __init__(self, piped: Path, channel: ChannelChoice | None) -> None:
        self._piped = piped
        self._channel = channel
        self.items: list[Utterance] = []

    def add(self, given: Sequence[str]) -> None:
        """Append what paths mean."""
        root = _common_root(name for name in given if name != STDIN and not _is_manifest(name))
        rows: dict[Path | int, Utterance] = {}
        for name in given:
            for row in self._expand(name):
                # The same file named twice is asked once; a manifest may have reasons to repeat itself.
                rows.setdefault(len(rows) if _is_manifest(name) else _absolute(row.path), row)
        named = _with_ids(rows.values(), root)
        self.items += [item for row in named for item in _per_channel(_checked(row), self._channel)]

    def _expand(self, name: str) -> Iterable[Utterance]:
        if name == STDIN:
            self._piped.write_bytes(read_stdin())
            return [Utterance(id="stdin", path=str(self._piped))]
        if _is_manifest(name):
            return [row.with_(error=None) for row in read_manifest(name)]  # an error is of an earlier run
        try:
            return [Utterance(id="", path=str(path)) for path in find_audio([name])]
        except InputError as fault:
            return [Utterance(id="", path=name, error=str(fault))]

    def told(self, row: Utterance) -> Utterance:
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
        raise InputError("- reads audio from a pipe, and standard input is the keyboard: name a file, or pipe one in")
    return sys.stdin.buffer.read()


def read_list(name: str) -> list[str]:
    """The lines of a list of paths; `-` reads standard input.

    Raises:
        InputError: the list cannot be read.
    """
    try:
        text = sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(
            f"--files-from {name} cannot be read ({fault}): give a text file with one path a line"
        ) from fault
    return [line for line in text.splitlines() if line.strip()]


def _is_manifest(name: str) -> bool:
    return name.lower().endswith(_MANIFEST)


def _checked(row: Utterance) -> Utterance:
    """Told before a model is loaded: a path where nothing is. Other faults show where the audio is read."""
    if row.error is not None or Path(row.path).exists():
        return row
    try:
        probe(row.path)
    except OsumError as fault:
        return row.with_(error=str(fault))
    return row


def _per_channel(row: Utterance, channel: ChannelChoice | None) -> Iterable[Utterance]:
    if row.error is not None or channel is None:
        return [row]
    if channel != "each":
        return [row.with_(channel=channel)]
    try:
        each = channels(row.path)
    except OsumError as fault:
        return [row.with_(error=str(fault))]
    return [row.with_(id=f"{row.id}-ch{index}", channel=index) for index in each]


# Names: below the folder that all inputs share, so that two files of one name stay two


def _with_ids(rows: Iterable[Utterance], root: Path) -> list[Utterance]:
    rows = list(rows)
    whole = [_below(root, _absolute(row.path)) for row in rows]
    short = [row.id or os.path.splitext(name)[0] for row, name in zip(rows, whole, strict=True)]  # noqa: PTH122
    count = Counter(short)
    names = (long if count[name] > 1 else name for name, long in zip(short, whole, strict=True))
    return [row if row.id else row.with_(id=name) for row, name in zip(rows, names, strict=True)]


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
