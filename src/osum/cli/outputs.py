"""Where results go: the terminal, one file, or a folder that mirrors the inputs.

A target is checked when it is made, before any model is loaded, and never replaces a file unasked.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TextIO

from osum.cli.inputs import BROKEN_LINE, STDIN
from osum.corpus.manifest import json_lines, write_manifest
from osum.corpus.share import Share
from osum.errors import InputError, ManifestError, OsumError, UsageError
from osum.files import atomic_file, partial_name, seen_from
from osum.results.formats import FORMATS, Format, format_of, formats_with
from osum.results.on_disk import DiskCounter, Spool
from osum.results.parquet import Parquet
from osum.results.parts import JsonLines, RowFile, RowParts
from osum.results.subtitle_options import PLAIN_SUBTITLES, SubtitleOptions
from osum.results.table import table
from osum.utterance import Utterance

Rows = Spool | Sequence[Utterance]
"""Rows that can be counted and gone through many times."""
ALL, TABLE, PARQUET = "all", "table", "parquet"
STDOUT = "standard output"
_ALL_FORMATS = ("txt", "vtt", "srt", "tsv", "json")
"""What Whisper's `--output_format all` writes."""
_FORMATS_WITH_ERRORS = ("json", "jsonl", "tsv")
_MANIFEST_FORMATS = ("json", "jsonl")
"""Formats whose `path` is read again: they write it relative to their own folder."""
STRAY_BYTES = "backslashreplace"
"""File names that are not UTF-8 are written with escapes, so that results are UTF-8 whatever they name."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_NAME = 200  # bytes; systems take 255, of which suffixes need some
_LONGEST_ID = 1000  # bytes; systems take 4096 of a whole path
_PIPED_WIDTH = 160  # characters of a table that no terminal shows
FAILED_FILE = "failed.jsonl"
_PARQUET_SUFFIX = ".parquet"
_ROW_FILES: Mapping[str, Callable[[], RowFile]] = {"jsonl": JsonLines, PARQUET: Parquet}
"""Formats that hold every row as it is, so that a run can continue them."""


@dataclass(frozen=True)
class OutputPlace:
    """What a command line says about where results go."""

    out: str | None
    """None is standard output."""
    format: str | None = None
    folder_format: str = "json"
    """Of a folder, where no format is named."""
    subtitles: SubtitleOptions = PLAIN_SUBTITLES
    overwrite: bool = False
    resume: bool = False
    retry_failed: bool = False
    changed: bool = False
    shard: Share | None = None
    part_size: int = 8
    """Rows that are lost together when a run is killed."""

    def holds(self, row: Utterance) -> bool:
        """Whether a recording is of this run."""
        return self.shard is None or self.shard.holds(row)

    def own(self, path: Path) -> Path:
        """A file that no other shard writes."""
        return path if self.shard is None else self.shard.name(path)


class Target(ABC):
    """A place for results."""

    failed_file: Path | None = None
    """Where what failed is listed; None where the results contain it."""
    streams = False
    """Whether lines appear on the terminal during the run."""
    resumable = False
    """Whether another run may continue what this one leaves."""
    failed_before = 0
    """Results of earlier runs that are errors and stay so."""
    note: str | None = None
    """What a user should know of the results of earlier runs."""
    formats: Sequence[Format] = ()
    """In which each result is rendered."""
    names: Iterable[str]
    """Where the result of each input goes, to be gone through once."""

    def prepare(self) -> None:  # noqa: B027 - not every place needs it
        """Make sure that writing will work.

        Raises:
            InputError: it will not.
        """

    def left(self, items: Rows, asked: Mapping[str, Any]) -> Rows:  # noqa: ARG002
        """The inputs that are still to be answered, where `asked` is what they are asked.

        Raises:
            InputError: earlier results were asked something else.
        """
        return items

    def planned(self, items: Rows) -> Rows:
        """The inputs that a run would answer, as far as that is known without a model; writes nothing."""
        return items

    @abstractmethod
    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results, one for each input that was left and in their order; `rows` is worked off here."""


def target_of(place: OutputPlace, rows: Rows) -> Target:
    """The target of all `rows`, or of those of a shard.

    Raises:
        InputError: the place cannot be written, holds results already, or the format does not fit it.
    """
    count = len(rows) if place.shard is None else sum(map(place.holds, rows))
    if place.out is None:
        _refuse_resume(place, STDOUT)
        piped = _single(_formats(place), STDOUT)
        return Screen(count) if piped is None else Pipe(piped, count)
    path = Path(place.out).expanduser()
    form = None if path.is_dir() or place.out.endswith("/") else _form_of(path)
    if form is None:
        _refuse_resume(place, f"the folder {place.out}")
        return Folder(path, _formats(place) or (FORMATS[place.folder_format],), rows, place)
    _check_agree(place, form)
    if form in _ROW_FILES:
        return RowsFile(place.own(path), _ROW_FILES[form](), count, place)
    _refuse_resume(place, f"{form} in {place.out}")
    return File(place.own(path), formats_with(place.subtitles)[form], count, place.overwrite)


def _formats(place: OutputPlace) -> tuple[Format, ...]:
    """The formats that `-f` means; none for the table, which is the default."""
    if place.format in (None, TABLE):
        return ()
    if place.format == PARQUET:
        raise UsageError(f"-f {PARQUET} is one file: give -o FILE{_PARQUET_SUFFIX}")
    known = formats_with(place.subtitles)
    return tuple(known[each] for each in (_ALL_FORMATS if place.format == ALL else (place.format,)))


def _form_of(path: Path) -> str | None:
    """The name of the format that a suffix means."""
    if path.name.lower().endswith(_PARQUET_SUFFIX):
        return PARQUET
    form = format_of(path)
    return form.name if form else None


def _check_agree(place: OutputPlace, form: str) -> None:
    if place.format == ALL:
        _single(_formats(place), str(place.out))
    if place.format not in (None, form):
        raise UsageError(f"{place.out} is {form} but -f is {place.format}: make the two agree, or leave out -f")


def _refuse_resume(place: OutputPlace, where: str) -> None:
    if place.resume:
        raise UsageError(f"--resume works with one file of rows, and not with {where}: give -o FILE.jsonl")


def _single(formats: Sequence[Format], place: str) -> Format | None:
    if len(formats) > 1:
        raise UsageError(f"-f {ALL} writes several files, and {place} is one: give -o FOLDER")
    return formats[0] if formats else None


class Screen(Target):
    """A table on standard output, as wide as the terminal; it is drawn when every row is known."""

    def __init__(self, count: int) -> None:
        self.names = repeat(STDOUT, count)

    def write(self, rows: Iterable[Utterance]) -> None:
        """Draw the table."""
        from rich.console import Console

        drawn = list(rows)
        if any(row.error is None for row in drawn):
            width = None if sys.stdout.isatty() else _PIPED_WIDTH
            Console(file=sys.stdout, width=width).print(table(drawn))


class Pipe(Target):
    """Standard output in a format that a program reads."""

    def __init__(self, form: Format, count: int) -> None:
        _check_count(form, count, STDOUT)
        self._form, self._one = form, count == 1
        self.formats = (form,)
        self.names = repeat(STDOUT, count)
        self.streams = sys.stdout.isatty()

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results as they come where the format allows it."""
        _write(self._form, _printable(rows, self._form), sys.stdout, self._one)


class File(Target):
    """One file for all results. It appears when the run ends, with what an interrupted run had written."""

    def __init__(self, path: Path, form: Format, count: int, overwrite: bool) -> None:
        _check_count(form, count, str(path))
        _check_free([path], overwrite)
        self.failed_file = path.parent / FAILED_FILE
        self.names = repeat(str(path), count)
        self._path, self._form, self._one = path, form, count == 1
        self.formats = (form,)

    def prepare(self) -> None:
        """Make the folder."""
        _check_writable(self._path.parent)

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results through a partial file next to the final one."""
        partial = partial_name(self._path)
        written = False

        def portable() -> Iterator[Utterance]:
            nonlocal written
            for row in _printable(rows, self._form):
                written = True
                yield _portable(row, self._form, self._path.parent)

        try:
            # Line by line, so that what is written stands in the file if the run is killed.
            with partial.open("w", encoding="utf-8", errors=STRAY_BYTES, buffering=1) as stream:
                _write(self._form, portable(), stream, self._one)
        except OSError as fault:
            written = False
            raise _unwritable(self._path, fault) from fault
        finally:
            if written:
                partial.replace(self._path)
            partial.unlink(missing_ok=True)


class RowsFile(Target):
    """One file of rows that is written in parts, so that a run may end at any moment and another continues.

    It appears when all rows are there. What failed is in it.
    """

    resumable = True

    def __init__(self, path: Path, form: RowFile, count: int, place: OutputPlace) -> None:
        self._parts = RowParts(path, form, place.part_size)
        self._resume, self._retry_failed, self._changed = place.resume, place.retry_failed, place.changed
        self.names = repeat(str(path), count)
        _check_free([path], place.overwrite or place.resume, "continue with --resume, give another -o, or --overwrite")
        if self._parts.begun and not (place.overwrite or place.resume):
            raise InputError(f"{path} has an unfinished run: continue with --resume, or start again with --overwrite")

    def prepare(self) -> None:
        """Make the folder."""
        _check_writable(self._parts.path.parent)

    def left(self, items: Rows, asked: Mapping[str, Any]) -> Rows:
        """The inputs that have no row yet, or with `--retry-failed` and `--changed` none that is to stay."""
        try:
            if self._resume and self._parts.begun:
                self._parts.resume(asked)
            else:
                self._parts.start(asked)
            found, self.failed_before = self._parts.missing(items, self._retry_failed, self._changed)
        except OSError as fault:
            raise _unwritable(self._parts.path, fault) from fault
        self.note = self._note()
        return found

    def planned(self, items: Rows) -> Rows:
        """Those that have no row yet."""
        if not (self._resume and self._parts.begun):
            return items
        found, self.failed_before = self._parts.missing(items, self._retry_failed, self._changed)
        self.note, self.names = self._note(), repeat(str(self._parts.path), len(found))
        return found

    def _note(self) -> str | None:
        """How many recordings are other than those that were answered."""
        notes = []
        if number := self._parts.num_changed:
            what_now = "they are answered again" if self._changed else "--changed answers them again"
            notes.append(f"{number} recordings have changed since they were answered: {what_now}")
        if number := self._parts.num_unstamped:
            notes.append(f"{number} rows were written without the size and time of their recording, and are kept")
        return "; ".join(notes) or None

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write the results in parts, and the file when there are no more."""
        try:
            try:
                for row in rows:
                    self._parts.add(row)
            finally:
                self._parts.flush()
            self._parts.merge()
        except OSError as fault:
            raise _unwritable(self._parts.path, fault) from fault


class Folder(Target):
    """One file per result, named after its id; what failed is left out."""

    def __init__(self, path: Path, formats: Sequence[Format], rows: Rows, place: OutputPlace) -> None:
        self.failed_file = place.own(path / FAILED_FILE)
        self._path, self.formats = path, formats
        self._rows, self._place = rows, place
        self.names = (str(_with_suffix(stem, formats[0])) for stem in self._stems())
        _check_free((_with_suffix(stem, form) for stem in self._stems() for form in formats), place.overwrite)

    def prepare(self) -> None:
        """Make the folder."""
        _check_writable(self._path)

    def write(self, rows: Iterable[Utterance]) -> None:
        """Write each result as it comes."""
        for stem, row in zip(self._stems(), rows, strict=False):  # an interrupted run has fewer rows
            for form in self.formats if row.error is None else ():
                path = _with_suffix(stem, form)
                try:
                    _write_whole(path, form.render(_portable(row, form, path.parent)))
                except OSError as fault:
                    raise _unwritable(path, fault) from fault

    def _stems(self) -> Iterator[Path]:
        """Of the rows of this run; named among all, since two shards must not give one name to two of them."""
        stems = _stems(self._path, self._rows)
        return (stem for stem, row in zip(stems, self._rows, strict=True) if self._place.holds(row))


def _printable(rows: Iterable[Utterance], form: Format) -> Iterator[Utterance]:
    """Without the failed ones where a format has no place for an error: silence would be a lie."""
    return (row for row in rows if row.error is None or form.name in _FORMATS_WITH_ERRORS)


def _write(form: Format, rows: Iterable[Utterance], stream: TextIO, one: bool) -> None:
    """One recording is written plainly, several in the form that distinguishes them."""
    for piece in map(form.render, rows) if one or form.pieces is None else form.pieces(rows):
        stream.write(piece)
        stream.flush()  # a reader of a pipe gets each row when it is there


def _write_whole(path: Path, text: str) -> None:
    with atomic_file(path, to_the_disk=False) as file:  # one of many small ones, which a run can write again
        file.write(text.encode("utf-8", STRAY_BYTES))


def _check_count(form: Format, count: int, place: str) -> None:
    if count > 1 and not form.many:
        many = ", ".join(name for name, known in FORMATS.items() if known.many)
        raise UsageError(
            f"{form.name} holds one recording, and {count} are to go to {place}: give -o FOLDER, or -f one of {many}"
        )


def _check_free(paths: Iterable[Path], overwrite: bool, fix: str = "give another -o, or --overwrite") -> None:
    first, count = None, 0
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give a file name")
        if path.exists():
            first, count = first or path, count + 1
    if first and not overwrite:
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise InputError(f"{first} exists{more}: {fix}")


def _check_writable(folder: Path) -> None:
    """Make the folder and write something to it: permissions alone do not show it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        raise _unwritable(folder, fault) from fault


def _unwritable(path: Path, fault: OSError) -> OsumError:
    return InputError(f"{path} cannot be written ({fault.strerror or fault}): give another -o")


def _stems(folder: Path, rows: Iterable[Utterance]) -> Iterator[Path]:
    """Paths without suffix: the ids, kept inside the folder and apart from each other."""
    used = DiskCounter()
    for row in rows:
        name = stem = _file_name(row.id)
        key = os.fsencode(stem.lower())  # some file systems know no case
        before = used.count(key)
        while before:  # a name that comes again is numbered from 2, past the numbers that are names themselves
            name = f"{stem}-{before + 1}"
            before = used.count(os.fsencode(name.lower())) and used.count(key)
        yield folder / name


def _file_name(row_id: str) -> str:
    """An id as the path of a file; one that no file system takes is cut, and its hash distinguishes it from others."""
    whole = _CONTROL.sub("_", row_id)
    parts = [part for part in whole.split("/") if part not in ("", ".", "..")] or ["unnamed"]
    if len(os.fsencode(whole)) > _LONGEST_ID:
        parts = ["-".join(parts)]
    return "/".join(map(_short, parts))


def _short(part: str) -> str:
    content = os.fsencode(part)
    if len(content) <= _LONGEST_NAME:
        return part
    digest = hashlib.blake2b(content, digest_size=6).hexdigest()
    return f"{content[: _LONGEST_NAME - 13].decode(errors='ignore')}-{digest}"


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve would follow links)


def _with_suffix(stem: Path, form: Format) -> Path:
    return stem.with_name(stem.name + form.suffix)


def _portable(row: Utterance, form: Format, folder: Path) -> Utterance:
    """A row whose path is right wherever it is read from."""
    if form.name not in _MANIFEST_FORMATS or row.path == STDIN:
        return row
    return row.with_(path=seen_from(folder, Path(row.path)))


class FailedList:
    """The list of what failed: what is answered leaves it, what fails joins it, rows of other runs stay.

    Whatever an earlier list holds, the new one gets written; lines of it that cannot be read are left out.
    """

    def __init__(self, path: Path, manifests: Container[Path] = ()) -> None:
        self._path = path
        self._failed = Spool()
        self._before: dict[tuple[object, ...], list[Utterance]] = {}
        for row in _rows_of_list(path):
            if BROKEN_LINE not in row.extra or Path(row.path.rpartition(":")[0]) not in manifests:
                self._before.setdefault(_place(row), []).append(row)

    def add(self, row: Utterance) -> None:
        """Take the result of a recording."""
        self._before.pop(_place(row), None)
        if row.error is not None and row.path != STDIN:
            self._failed.add(row.with_(path=str(_absolute(row.path))))

    def write(self) -> Path | None:
        """Write the list; None where nothing is left to be done.

        Raises:
            InputError: it cannot be written.
        """
        before = [row for rows in self._before.values() for row in rows]
        try:
            if before or len(self._failed):
                write_manifest(self._path, chain(before, self._failed))
                return self._path
            self._path.unlink(missing_ok=True)
        except OSError as fault:
            raise _unwritable(self._path, fault) from fault
        return None


def _rows_of_list(path: Path) -> Iterator[Utterance]:
    if not path.exists():
        return
    for _, row in json_lines(path):
        with suppress(ManifestError):
            if not isinstance(row, str):
                utterance = Utterance.from_dict(row)
                yield utterance.with_(path=str(_absolute(path.parent / utterance.path)))


def _place(row: Utterance) -> tuple[object, ...]:
    return _absolute(row.path), row.channel, row.start, row.end, row.extra.get("offset")
