"""Review: rows of a labelled corpus that a person listens to, corrects and confirms, written back one by one.

1. The manifest is read once. Of each row its labels are kept, and how far the model doubts them; the rows themselves
   stay on disk.
2. A correction reads its line again, changes what was corrected, and writes the whole manifest next to its place, which
   it then takes. A line that is no longer the one that the reviewer saw is refused, whoever changed it.
3. The row itself says who changed what, when and from what (`corrections`), and who has looked at which field
   (`reviewed`), so that the manifest stays the one file that training reads.

Worked example of doubt: a row is labelled `sad`, and the model says sad 0.2, happy 0.7, neutral 0.1. The doubt is
1 - 0.2 = 0.8. Without a label it is 1 - 0.7 = 0.3, since a reviewer would begin with the likeliest.

Knows nothing of HTTP.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from osum.corpus.manifest import write_manifest
from osum.errors import InputError, ManifestError
from osum.files import atomic_file, locked, seen_from
from osum.scoring.metrics import accuracy
from osum.server.review_row import (
    LANGUAGE,
    TEXT,
    Guess,
    ReviewEntry,
    StaleRowError,
    check_field,
    checked,
    correct,
    entry_of,
    guess_of,
    like,
    parsed,
)
from osum.tasks import TaskSet
from osum.text import to_json
from osum.utterance import Utterance

ANSWERS, EXPORTED = ".answers.jsonl", ".reviewed.jsonl"
"""Behind a manifest's name: a model's answers about its rows, as `osum label` writes them; what `export` writes."""
MAX_NAME = 100  # characters of a reviewer's name
_BLOCK = 1 << 20  # bytes copied at a time
State = Literal["all", "open", "reviewed", "corrected", "disagree"]
Sort = Literal["doubt", "file"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, and in which order.

    Raises:
        InputError: a state or an order that there is not.
    """

    field: str | None = None
    """The one field that is reviewed; None is every label set."""
    label: str | None = None
    """Only rows with this label of `field`."""
    state: State = "all"
    words: str = ""
    """Only rows whose id or text holds this."""
    sort: Sort = "doubt"

    def __post_init__(self) -> None:
        for name, known in (("state", get_args(State)), ("sort", get_args(Sort))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a model's label is that of a person."""

    count: int
    agree: int
    low: float
    """Of the 95 % interval of the share."""
    high: float
    confused: tuple[tuple[str, str, int], ...]
    """Person's label, model's label and count, most first."""


class Review:
    """The rows of one manifest under review; any thread may call it.

    Raises:
        InputError: the manifest cannot be read, or none of its lines is a row of osum.
    """

    def __init__(self, path: str | Path, tasks: TaskSet, root: str | Path | None = None) -> None:
        self.path = Path(path).resolve()
        self.root = Path(root).resolve() if root is not None else self.path.parent
        """Recordings outside of it are not opened."""
        self.label_sets = tasks.label_sets
        self.entries: dict[int, ReviewEntry] = {}
        """By line number."""
        self.faults: dict[int, str] = {}
        """Line number to why the line is no row."""
        self._starts = np.zeros(1, np.int64)  # (lines + 1,) bytes before each line
        self._stamp: tuple[int, int, int] | None = None
        self._answers: dict[tuple[Any, ...], Guess] = {}
        self._lock = RLock()
        self._read_answers()
        self._refresh()
        if not self.entries:
            fault = next(iter(self.faults.values()), "it is empty")
            raise InputError(f"{self.path} has no row to review ({fault}): `osum data convert` writes rows of osum")

    # Looking

    def guess(self, entry: ReviewEntry) -> Guess | None:
        """What the model says of a row: in the file of answers, or else in the row itself."""
        return self._answers.get(entry.sound) or entry.guess

    def doubt(self, entry: ReviewEntry, name: str | None = None) -> float | None:
        """How far the model doubts a field, or the label that it doubts most; None where it said nothing."""
        guess = self.guess(entry)
        if guess is None:
            return None
        names = self.label_sets if name is None else (name,)
        known = (guess.doubt(each, entry.said(each)) for each in names)
        return max((each for each in known if each is not None), default=None)

    def disagrees(self, entry: ReviewEntry, name: str) -> bool:
        """Whether the model's likeliest label is another than the row's."""
        guess, said = self.guess(entry), entry.said(name)
        guessed = guess.label(name) if guess is not None else None
        return guessed is not None and said is not None and guessed != said

    def find(self, query: Query) -> list[ReviewEntry]:
        """The rows that a query asks for; those of which the model said nothing come last.

        Raises:
            InputError: a field that cannot be reviewed.
        """
        if query.field is not None:
            check_field(query.field, self.label_sets)
        with self._lock:
            self._refresh()
            found = [entry for entry in self.entries.values() if self._fits(entry, query)]
        if query.sort == "doubt":
            found.sort(key=lambda entry: _surest_last(self.doubt(entry, query.field)))
        return found

    def _fits(self, entry: ReviewEntry, query: Query) -> bool:
        names = self.label_sets if query.field is None else (query.field,)
        states: Mapping[str, Callable[[], bool]] = {
            "all": lambda: True,
            "open": lambda: not entry.reviewed.issuperset(names),
            "reviewed": lambda: bool(entry.reviewed.intersection(names)),
            "corrected": lambda: bool(entry.corrected.intersection(names)),
            "disagree": lambda: any(self.disagrees(entry, name) for name in names),
        }
        words, text = query.words.casefold(), entry.shown.get(TEXT, "").casefold()
        if words and words not in entry.id.casefold() and words not in text:
            return False
        if query.label is not None and query.field is not None and entry.shown.get(query.field) != query.label:
            return False
        return states[query.state]()

    def entry(self, number: int) -> ReviewEntry:
        """The row on a line.

        Raises:
            InputError: there is none.
        """
        with self._lock:
            self._refresh()
            if number not in self.entries:
                raise InputError(f"line {number} of {self.path.name} is no row: it has {len(self.entries)} rows")
            return self.entries[number]

    def row(self, number: int) -> dict[str, Any]:
        """The JSON object on a line, as the file holds it now."""
        with self._lock:
            return parsed(self._line(self.entry(number).number))

    def sound(self, number: int) -> Utterance:
        """A row with the whole path of its recording.

        Raises:
            InputError: there is no such row, or its recording is outside of the corpus.
        """
        row = Utterance.from_dict(self.row(number))
        path = Path(os.path.abspath(self.path.parent / row.path))  # noqa: PTH100  (what a link points to is checked apart)
        if not path.resolve().is_relative_to(self.root):
            raise InputError(
                f"row {row.id!r} names a recording outside of {self.root.name!r}: start with --audio-root and the "
                "folder that holds all recordings"
            )
        return row.with_(path=str(path))

    def agreement(self, name: str) -> Agreement | None:
        """How often the model agrees with people on a label set; None where they have no row in common."""
        pairs = [
            (entry.by_person[name], guessed)
            for entry in list(self.entries.values())
            if name in entry.by_person and (guess := self.guess(entry)) and (guessed := guess.label(name))
        ]
        if not pairs:
            return None
        score = accuracy([person for person, _ in pairs], [model for _, model in pairs])
        confused = Counter(pair for pair in pairs if pair[0] != pair[1])
        listed = tuple((*pair, count) for pair, count in confused.most_common())
        return Agreement(len(pairs), len(pairs) - confused.total(), score.low, score.high, listed)

    # Correcting

    def correct(
        self, number: int, version: str, changes: Mapping[str, str | None], confirmed: Iterable[str], by: str
    ) -> ReviewEntry:
        """Write fields of a row anew, and that a person has looked at these and at the `confirmed` ones.

        Args:
            number: of the row's line, from 1.
            version: of the row that the person saw.
            changes: field to its new value; None where nobody knows it.
            confirmed: fields that are right as they are.
            by: name of the person.

        Raises:
            StaleRowError: the row has changed since it was seen.
            InputError: a field, a value or a name that cannot be, or a file that cannot be written.
        """
        by = by.strip()
        if not by or not by.isprintable() or len(by) > MAX_NAME:
            raise InputError(f"reviewer {by[:20]!r}: give a name of at most {MAX_NAME} characters")
        values = {name: checked(name, value, self.label_sets) for name, value in changes.items()}
        for name in confirmed:
            check_field(name, self.label_sets)
        with self._lock, locked(self.path.parent):
            entry = self.entry(number)
            if entry.version != version:
                raise StaleRowError(f"row {entry.id!r} has changed since it was shown: look at it again")
            line = self._line(number)
            row = parsed(line)
            correct(row, values, confirmed, by, datetime.now(UTC).isoformat(timespec="seconds"))
            self._write(number, like(line, row))
            return self.entries[number]

    def export(self, corrected_only: bool = False) -> tuple[Path, int]:
        """Write the reviewed rows, or the corrected ones, next to the manifest; returns the file and their number.

        Labels that no person gave are left out, so that what a model guessed is not taught as the truth.
        """
        target = self.path.with_name(self._stem + EXPORTED)
        with self._lock:
            self._refresh()
            entries = [entry for entry in self.entries.values() if entry.corrected or not corrected_only]
            return target, write_manifest(target, (self._taught(entry) for entry in entries if entry.reviewed))

    def _taught(self, entry: ReviewEntry) -> Utterance:
        """A row with what people say of it, and nothing of a model but a transcript that names its author."""
        row = Utterance.from_dict(self.row(entry.number))
        return replace(
            row,
            path=str(self.path.parent / row.path),
            labels={name: label for name, label in entry.by_person.items() if name in self.label_sets},
            language=entry.by_person.get(LANGUAGE),
            segments=(),
            summary={},
            events=(),
            warnings=(),
        )

    # A model's answers

    @property
    def answers_path(self) -> Path:
        """The file of a model's answers about the rows."""
        return self.path.with_name(self._stem + ANSWERS)

    @property
    def _stem(self) -> str:
        return self.path.name.removesuffix(".jsonl")

    def unanswered(self) -> list[Utterance]:
        """Rows of which the model has said nothing yet, each sound once, those outside of the corpus left out."""
        found: dict[tuple[Any, ...], Utterance] = {}
        with self._lock:
            self._refresh()
            for entry in self.entries.values():
                if self.guess(entry) is None and entry.sound not in found:
                    try:
                        found[entry.sound] = self.sound(entry.number)
                    except InputError:
                        continue
        return list(found.values())

    def add_answer(self, answer: Utterance) -> None:
        """Keep what the model says of a row, in the file of answers too; an answer with an error is left out."""
        if answer.error is not None:
            return
        row = {**answer.to_dict(), "path": seen_from(self.path.parent, Path(answer.path))}
        with self._lock, self.answers_path.open("ab") as out:
            out.write(f"{to_json(row)}\n".encode())
            self._keep(answer)

    def _read_answers(self) -> None:
        if not self.answers_path.exists():
            return
        with self.answers_path.open("rb") as lines:
            for line in lines:
                try:
                    self._keep(Utterance.from_dict(parsed(line)))
                except ManifestError:
                    continue  # the last line of a run that was killed

    def _keep(self, answer: Utterance) -> None:
        guess = guess_of(answer)
        if guess is not None:
            self._answers[self._sound(answer)] = guess

    def _sound(self, row: Utterance) -> tuple[Any, ...]:
        path = os.path.abspath(self.path.parent / row.path)  # noqa: PTH100  (resolve follows links)
        return (path, row.channel, row.start, row.end, row.extra.get("member"), row.extra.get("offset"))

    # The file

    def _refresh(self) -> None:
        """Read the manifest again where it is not the file that was read."""
        try:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                with self.path.open("rb") as lines:
                    self._index(lines)
                self._stamp = stamp
        except OSError as fault:
            raise InputError(f"manifest {self.path} cannot be read ({fault}): give a JSON-lines file") from fault

    def _index(self, lines: Iterable[bytes]) -> None:
        self.entries, self.faults = {}, {}
        starts = [0]
        for number, line in enumerate(lines, 1):
            starts.append(starts[-1] + len(line))
            if line.strip():
                self._note(number, line)
        self._starts = np.array(starts, np.int64)

    def _note(self, number: int, line: bytes) -> None:
        try:
            self.entries[number] = entry_of(number, line, self.label_sets, self._sound)
        except ManifestError as fault:
            self.faults[number] = str(fault)

    def _line(self, number: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(int(self._starts[number - 1]))
            return file.read(int(self._starts[number] - self._starts[number - 1]))

    def _write(self, number: int, line: bytes) -> None:
        """The manifest with one line changed and all others to the byte as they were."""
        begin, end = int(self._starts[number - 1]), int(self._starts[number])
        try:
            with self.path.open("rb") as old, atomic_file(self.path) as new:
                shutil.copymode(self.path, new.name)
                _copy(old, new, begin)
                new.write(line)
                old.seek(end)
                shutil.copyfileobj(old, new, _BLOCK)
        except OSError as fault:
            raise InputError(f"{self.path} cannot be written ({fault}): give it room and the right to write") from fault
        self._starts[number:] += len(line) - (end - begin)
        self._stamp = _stamp(self.path)
        self._note(number, line)


def _surest_last(doubt: float | None) -> tuple[bool, float]:
    return doubt is None, -(doubt or 0.0)


def _copy(old: BinaryIO, new: BinaryIO, num_bytes: int) -> None:
    while num_bytes > 0 and (block := old.read(min(num_bytes, _BLOCK))):
        new.write(block)
        num_bytes -= len(block)


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does: its number, its size in bytes and the time it was written in ns."""
    known = path.stat()
    return known.st_ino, known.st_size, known.st_mtime_ns
