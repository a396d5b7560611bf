"""What a run did: errors and warnings as they come, counts per label at the end, all on standard error."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from osum.cli.arguments import log
from osum.listening.answers import disagreements
from osum.results.formats import Format
from osum.tasks import Task
from osum.utterance import Utterance

_GUESSED = {"synthetic": " (learned from synthetic speech only)", "none": " (learned from nothing: a guess)"}


class RunTally:
    """Counts the results of one run."""

    def __init__(self, tasks: Mapping[str, Task], quiet: bool = False, formats: Sequence[Format] = ()) -> None:
        self._tasks = tasks
        self._quiet = quiet
        self._formats = formats
        self._num_short, self._first_short = 0, ""
        self._started = time.perf_counter()
        self._labels: dict[str, Counter[str]] = {}
        self._apart: Counter[str] = Counter()
        self._seconds = 0.0
        self.num_asked = self.num_failed = 0

    def add(self, row: Utterance) -> None:
        """Count one result, and report its error or warnings at once."""
        self.num_asked += 1
        if row.error is not None:
            self.num_failed += 1
            log(f"error: {_named(row, row.error)}")
        elif not self._quiet:
            for warning in row.warnings:
                log(f"warning: {_named(row, warning)}")
        short = max((form.notes(row) for form in self._formats), key=len, default=())
        self._num_short += len(short)
        self._first_short = self._first_short or "".join(_named(row, note) for note in short[:1])
        self._seconds += row.duration or 0.0
        for key, answer in row.summary.items():
            self._labels.setdefault(key, Counter())[self._title(key, answer.label)] += 1
        for segment in row.segments:
            self._apart.update(disagreements(segment))

    def stop(self, num_left: int, way_on: str) -> None:
        """Report how far an interrupted run came, of what it had to do."""
        log(f"{self.num_asked} of {num_left} done, {self.num_failed} of them failed{way_on}")

    def finish(self, way_out: str | None, failed_before: int = 0) -> None:
        """Report the whole run, and with `way_out` what to do about what failed."""
        if self.num_failed and way_out is not None:
            log(f"{self.num_failed} of {self.num_asked} failed; {way_out}")
        if failed_before:
            log(f"{failed_before} failed in an earlier run; {way_out}")
        answered = self.num_asked - self.num_failed
        if self._quiet or not answered:
            return
        if self._num_short:
            log(f"cues shown for less time than wished: {self._num_short}; the first: {self._first_short}")
        spent = time.perf_counter() - self._started
        log(f"{answered} answered, {self.num_failed} failed, {self._seconds:.1f} s of audio in {spent:.1f} s")
        for key, counts in self._labels.items():
            shown = ", ".join(f"{label} {count}" for label, count in counts.most_common())
            task = self._task(key)
            guessed = _GUESSED.get(task.evidence or "", "") if task else ""
            apart = f"; segments with another tag decoded: {count}" if (count := self._apart[key]) else ""
            log(f"{key}: {shown}{guessed}{apart}")

    def _task(self, key: str) -> Task | None:
        """The task of a key in `summary`: its name, with a label set where it has several."""
        return self._tasks.get(key) or self._tasks.get(key.rpartition("/")[0])

    def _title(self, key: str, label: str | None) -> str:
        task = self._task(key)
        if label is None or task is None:
            return label or "-"
        return next((labels.title(label) for labels in task.label_sets if label in labels.labels), label)


def _named(row: Utterance, message: str) -> str:
    return message if row.path in message else f"{row.path}: {message}"
