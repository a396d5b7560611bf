"""What a run keeps on disk, in units: the rows of one shard behind one step.

1. `steps/02-cut/000007-KEY.jsonl` holds the rows, `.tar` next to it the sound that the step made, `.log` what it left
   out and why. KEY is a hash of the step, its options, its model and of all that came before it.
2. Each file appears whole or not at all, the rows last: a unit without them was not finished and is done again.
3. The first line of `.log` has the sizes of the other two, so that a file that was cut off is found and done again.

Paths in rows are seen from the run's folder, so that it can be moved.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osum.corpus.manifest import json_lines
from osum.corpus.shards import add_member
from osum.corpus.sound_file import flac
from osum.errors import InputError
from osum.files import atomic_file
from osum.pipeline.row import NO_SOUND, DropError, Row
from osum.text import to_json
from osum.utterance import Utterance

FAULT = "error"
"""How the reason begins where a step raised instead of leaving a row out."""
BROKEN = "a broken line of the manifest"
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Unit:
    """The rows of one shard behind one step."""

    step: str
    """`02-cut`, or `input`."""
    number: int
    key: str

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        return f"{self.number:0{_DIGITS}d}-{self.key}"


@dataclass
class Tally:
    """What became of the rows of a unit, or of many."""

    rows_in: int = 0
    rows_out: int = 0
    seconds_in: float = 0.0
    seconds_out: float = 0.0
    """Of the rows whose length is known."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason to rows."""
    rows_bytes: int = 0
    sound_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Count the rows of another."""
        self.rows_in, self.rows_out = self.rows_in + other.rows_in, self.rows_out + other.rows_out
        self.seconds_in += other.seconds_in
        self.seconds_out += other.seconds_out
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    @property
    def faults(self) -> int:
        """Rows at which the step raised."""
        return sum(count for reason, count in self.dropped.items() if reason.startswith(FAULT))


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    root: Path

    def folder(self, step: str) -> Path:
        """Where the units of a step are."""
        return self.root / "steps" / step

    def rows_file(self, unit: Unit) -> Path:
        """The manifest of a unit."""
        return self.folder(unit.step) / f"{unit.name}.jsonl"

    def log_file(self, unit: Unit) -> Path:
        """What was left out."""
        return self.rows_file(unit).with_suffix(".log")

    def sound_file(self, unit: Unit) -> Path:
        """Its new sound."""
        return self.rows_file(unit).with_suffix(".tar")

    # Reading

    def tally(self, unit: Unit) -> Tally | None:
        """The counts of a unit that is whole, else None: it was not finished, or a file of it was cut off since."""
        try:
            with self.log_file(unit).open("rb") as log:
                found = Tally(**json.loads(log.readline()))
            sound = self.sound_file(unit).stat().st_size if found.sound_bytes else 0
            rows = self.rows_file(unit).stat().st_size
        except (OSError, ValueError, TypeError):
            return None
        return found if (rows, sound) == (found.rows_bytes, found.sound_bytes) else None

    def rows(self, unit: Unit) -> Iterator[Row]:
        """The rows of a unit, their paths as the system takes them.

        Raises:
            InputError: a line of it is no row: the disk has a fault.
        """
        for place, row in json_lines(self.rows_file(unit)):
            if isinstance(row, str):
                raise InputError(f"{place}: {row}: delete this file and start again")
            yield self._row(row)

    def dropped(self, unit: Unit) -> Iterator[tuple[str, str, Row | None]]:
        """Reason, detail, and the row as it came in, of all that was left out; None for what never was a row."""
        lines = json_lines(self.log_file(unit))
        next(lines, None)
        for _, line in lines:
            if isinstance(line, dict):
                yield line["reason"], line["detail"], self._row(line["row"]) if line["row"] else None

    def _row(self, row: Mapping[str, Any]) -> Row:
        utterance = Utterance.from_dict(row)
        if utterance.path != NO_SOUND:
            utterance = utterance.with_(path=os.path.normpath(self.root / utterance.path))
        return Row(utterance)

    # Writing

    def write(self, unit: Unit, outcomes: Iterable[tuple[Row | None, Iterable[Row] | DropError]]) -> Tally:
        """Write a unit whole: for each row that came in, the rows that it became, or why it is left out."""
        writer = _Writer(self, unit)
        with writer:
            for came, became in outcomes:
                writer.add(came, became)
        return writer.tally

    def seen(self, utterance: Utterance) -> dict[str, Any]:
        """The JSON row, its path as seen from the run's folder where it is below it."""
        row = utterance.to_dict()
        if utterance.path != NO_SOUND:
            row["path"] = _seen_from(self.root, utterance.path)
        return row


def _seen_from(root: Path, path: str) -> str:
    given, whole = os.path.abspath(path), os.path.abspath(root)  # noqa: PTH100  (resolve follows links)
    return os.path.relpath(given, whole) if given.startswith(whole + os.sep) else given


class _Writer:
    """The three files of a unit while they are written."""

    def __init__(self, folder: RunFolder, unit: Unit) -> None:
        self._folder, self._unit = folder, unit
        self.tally = Tally()
        self._rows: list[str] = []
        self._log: list[str] = []
        self._open = ExitStack()
        self._tar: tarfile.TarFile | None = None
        self._file: Any = None

    def __enter__(self) -> _Writer:
        self._folder.folder(self._unit.step).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> None:
        if self._tar is not None and kind is None:
            self._tar.close()
        self._open.__exit__(kind, fault, trace)  # a fault takes the tar away
        if kind is None:
            self._finish()

    def add(self, came: Row | None, became: Iterable[Row] | DropError) -> None:
        self.tally.rows_in += came is not None
        self.tally.seconds_in += (came.utterance.duration or 0.0) if came else 0.0
        if isinstance(became, DropError):
            self._drop(came, became)
            return
        for row in became:
            self.tally.rows_out += 1
            self.tally.seconds_out += row.utterance.duration or 0.0
            self._rows.append(to_json(self._placed(row)) + "\n")

    def _drop(self, came: Row | None, why: DropError) -> None:
        self.tally.dropped[why.reason] = self.tally.dropped.get(why.reason, 0) + 1
        row = {} if came is None else self._folder.seen(came.utterance)
        self._log.append(to_json({"reason": why.reason, "detail": why.detail, "row": row}) + "\n")

    def _placed(self, row: Row) -> Mapping[str, Any]:
        """The row as it is written; new sound goes into the tar first."""
        if row.sound is None:
            return self._folder.seen(row.utterance)
        if self._tar is None:
            self._file = self._open.enter_context(atomic_file(self._folder.sound_file(self._unit)))
            self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        member = f"{self.tally.rows_out - 1:09d}.flac"
        where = add_member(self._tar, self._file, member, flac(row.samples))
        utterance = row.utterance.with_(path=str(self._folder.sound_file(self._unit)), extra={**row.extra, **where})
        return self._folder.seen(utterance)

    def _finish(self) -> None:
        """The log with the sizes, then the rows, by which the unit is known to be whole."""
        content = "".join(self._rows).encode()
        self.tally.rows_bytes = len(content)
        self.tally.seconds_in, self.tally.seconds_out = (
            round(self.tally.seconds_in, 4),
            round(self.tally.seconds_out, 4),
        )
        if self._tar is not None:
            self.tally.sound_bytes = self._folder.sound_file(self._unit).stat().st_size
        with atomic_file(self._folder.log_file(self._unit)) as log:
            log.write((to_json(asdict(self.tally)) + "\n").encode())
            log.writelines(line.encode() for line in self._log)
        with atomic_file(self._folder.rows_file(self._unit)) as rows:
            rows.write(content)
