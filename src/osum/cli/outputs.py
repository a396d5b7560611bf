"""Where results go: the terminal, one file, or a folder that mirrors the inputs.

A target is checked when it is made, before any model is loaded, and never replaces a file unasked.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from osum.cli.inputs import STDIN
from osum.data.manifest import read_manifest, write_manifest
from osum.errors import InputError, OsumError
from osum.formats import FORMATS, PLAIN_SUBTITLES, Format, SubtitleOptions, format_of, formats_with
from osum.table import table
from osum.utterance import Utterance

ALL, TABLE = "all", "table"
_ALL_FORMATS = ("txt", "vtt", "srt", "tsv", "json")
"""What Whisper's `--output_format all` writes."""
_FORMATS_WITH_ERRORS = ("json", "jsonl", "tsv")
_MANIFEST_FORMATS = ("json", "jsonl")
"""Formats whose `path` is read again: they tell it as seen from where they lie."""
_PIPED_WIDTH = 160  # characters of a table that no terminal shows
FAILED_FILE = "failed.jsonl"


class Target(Protocol):
    """A place for results."""

    folder: Path | None
    """Where `failed.jsonl` goes; None for the terminal."""
    streams: bool
    """Whether lines appear on the terminal while the run goes on."""
    names: list[str]
    """Where the result of each input goes."""

    def prepare(self) -> None:
        """Make sure that writing will work.

        Raises:
            InputError: it will not.
        """

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results, one per input and in their order; `rows` is worked off here."""


def target_of(
    out: str | None,
    name: str | None,
    rows: Sequence[Utterance],
    *,
    default: str,
    overwrite: bool,
    subtitles: SubtitleOptions = PLAIN_SUBTITLES,
) -> Target:
    """The target that `-o` and `-f NAME` mean; `default` is the format of a folder.

    Raises:
        InputError: the place cannot be written, holds results already, or the format does not fit it.
    """
    known = formats_with(subtitles)
    formats = _named(name, known)
    if out is None:
        form = _single(formats, "standard output")
        return Screen(len(rows)) if form is None else Pipe(form, len(rows))
    path = Path(out).expanduser()
    suffix = None if path.is_dir() or out.endswith("/") else format_of(path)
    if suffix is None:
        return Folder(path, formats or (known[default],), rows, overwrite)
    chosen = _single(formats, out) or suffix
    if chosen.suffix != suffix.suffix:
        raise InputError(f"{out} ends in {suffix.suffix} but -f is {chosen.name}: make the two agree, or leave out -f")
    return File(path, known[suffix.name], len(rows), overwrite)


def _named(name: str | None, known: Mapping[str, Format]) -> tuple[Format, ...]:
    """The formats that `-f` means; none for the table, which is the default."""
    if name in (None, TABLE):
        return ()
    return tuple(known[each] for each in (_ALL_FORMATS if name == ALL else (name,)))


def _single(formats: Sequence[Format], place: str) -> Format | None:
    if len(formats) > 1:
        raise InputError(f"-f {ALL} writes several files, and {place} is one: give -o FOLDER")
    return formats[0] if formats else None


class Screen:
    """A table on standard output, as wide as the terminal; it is drawn when every row is known."""

    folder: Path | None = None
    streams = False

    def __init__(self, count: int) -> None:
        self.names = ["standard output"] * count

    def prepare(self) -> None:
        """Nothing to make."""

    def write(self, rows: Iterable[Utterance]) -> None:
        """Draw the table."""
        from rich.console import Console

        drawn = list(rows)
        if any(row.error is None for row in drawn):
            width = None if sys.stdout.isatty() else _PIPED_WIDTH
            Console(file=sys.stdout, width=width).print(table(drawn))


class Pipe:
    """Standard output in a format that a program reads."""

    folder: Path | None = None

    def __init__(self, form: Format, count: int) -> None:
        _check_count(form, count, "standard output")
        self._form, self._one = form, count == 1
        self.names = ["standard output"] * count
        self.streams = sys.stdout.isatty()

    def prepare(self) -> None:
        """Nothing to make."""

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results as they come where the format allows it."""
        _write(self._form, _tellable(rows, self._form), sys.stdout, self._one)


class File:
    """One file for all results. It appears when the run ends, with what an interrupted run had written."""

    streams = False

    def __init__(self, path: Path, form: Format, count: int, overwrite: bool) -> None:
        _check_count(form, count, str(path))
        _check_free([path], overwrite)
        self.folder: Path | None = path.parent
        self.names = [str(path)] * count
        self._path, self._form, self._one = path, form, count == 1

    def prepare(self) -> None:
        """Make the folder."""
        _check_writable(self._path.parent)

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results through a partial file beside the final one."""
        partial = _partial(self._path)
        written = False

        def portable() -> Iterator[Utterance]:
            nonlocal written
            for row in _tellable(rows, self._form):
                written = True
                yield _portable(row, self._form, self._path.parent)

        try:
            # Line by line, so that what is written stands in the file if the run is killed.
            with partial.open("w", encoding="utf-8", buffering=1) as stream:
                _write(self._form, portable(), stream, self._one)
        except OSError as fault:
            written = False
            raise _unwritable(self._path, fault) from fault
        finally:
            if written:
                partial.replace(self._path)
            partial.unlink(missing_ok=True)


class Folder:
    """One file per result, named after its id; what failed is left out."""

    streams = False

    def __init__(self, path: Path, formats: Sequence[Format], rows: Sequence[Utterance], overwrite: bool) -> None:
        self.folder: Path | None = path
        self._path, self._formats = path, formats
        self._stems = _stems(path, rows)
        self.names = [str(_with_suffix(stem, formats[0])) for stem in self._stems]
        _check_free([_with_suffix(stem, form) for stem in self._stems for form in formats], overwrite)

    def prepare(self) -> None:
        """Make the folder."""
        _check_writable(self._path)

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write each result as it comes."""
        for stem, row in zip(self._stems, rows, strict=False):  # an interrupted run has fewer rows
            for form in self._formats if row.error is None else ():
                path = _with_suffix(stem, form)
                try:
                    _write_whole(path, form.render(_portable(row, form, path.parent)))
                except OSError as fault:
                    raise _unwritable(path, fault) from fault


def _tellable(rows: Iterable[Utterance], form: Format) -> Iterator[Utterance]:
    """Without the failed ones where a format has no place for an error: silence would be a lie."""
    return (row for row in rows if row.error is None or form.name in _FORMATS_WITH_ERRORS)


def _write(form: Format, rows: Iterable[Utterance], stream: TextIO, one: bool) -> None:
    """One recording is written plainly, several in the form that tells them apart."""
    for piece in map(form.render, rows) if one or form.pieces is None else form.pieces(rows):
        stream.write(piece)
        stream.flush()  # a reader of a pipe gets each row when it is there


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, whenever a run is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _check_count(form: Format, count: int, place: str) -> None:
    if count > 1 and not form.many:
        many = ", ".join(name for name, known in FORMATS.items() if known.many)
        raise InputError(
            f"{form.name} holds one recording, and {count} are to go to {place}: give -o FOLDER, or -f one of {many}"
        )


def _check_free(paths: Sequence[Path], overwrite: bool) -> None:
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise InputError(f"{taken[0]} exists{more}: give another -o, or --overwrite")
    if folder := next((path for path in taken if path.is_dir()), None):
        raise InputError(f"{folder} is a folder: give a file name")


def _check_writable(folder: Path) -> None:
    """Make the folder and write something to it: permissions alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        raise _unwritable(folder, fault) from fault


def _unwritable(path: Path, fault: OSError) -> OsumError:
    return InputError(f"{path} cannot be written ({fault.strerror or fault}): give another -o")


def _stems(folder: Path, rows: Iterable[Utterance]) -> list[Path]:
    """Paths without suffix: the ids, kept inside the folder and apart from each other."""
    stems: list[Path] = []
    used: set[str] = set()
    for row in rows:
        parts = [part for part in row.id.split("/") if part not in ("", ".", "..")] or ["unnamed"]
        name = stem = "/".join(parts)
        number = 2
        while name.lower() in used:  # some file systems know no case
            name, number = f"{stem}-{number}", number + 1
        used.add(name.lower())
        stems.append(folder / name)
    return stems


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve would follow links)


def _with_suffix(stem: Path, form: Format) -> Path:
    return stem.with_name(stem.name + form.suffix)


def _portable(row: Utterance, form: Format, folder: Path) -> Utterance:
    """A row whose path is right wherever it is read from."""
    if form.name not in _MANIFEST_FORMATS or not Path(row.path).exists():
        return row
    path, home = _absolute(row.path), _absolute(folder)
    return row.with_(path=path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path))


def keep_failed(folder: Path, asked: Iterable[Utterance], failed: Iterable[Utterance]) -> Path | None:
    """Bring `failed.jsonl` up to date: what was asked leaves it, what failed joins it.

    Rows of other runs stay. Returns the file, None where nothing is left to be done.

    Raises:
        InputError, ManifestError: the file is something else, or cannot be written.
    """
    path = folder / FAILED_FILE
    places = {_place(row) for row in asked}
    before = [row for row in read_manifest(path) if _place(row) not in places] if path.exists() else []
    left = [*before, *(row.with_(path=str(_absolute(row.path))) for row in failed if row.path != STDIN)]
    try:
        if left:
            write_manifest(path, left)
        else:
            path.unlink(missing_ok=True)
    except OSError as fault:
        raise _unwritable(path, fault) from fault
    return path if left else None


def _place(row: Utterance) -> tuple[object, ...]:
    return _absolute(row.path), row.channel, row.start, row.end
