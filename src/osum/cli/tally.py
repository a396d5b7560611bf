"""What a run did: errors and warnings as they come, counts per label at the end, all on standard error."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from osum.cli.arguments import tell
from osum.tasks import Task
from osum.utterance import Utterance


class Tally:
    """Counts the results of one run."""

    def __init__(self, tasks: Mapping[str, Task], quiet: bool = False) -> None:
        self._tasks = tasks
        self._quiet = quiet
        self._started = time.perf_counter()
        self._labels: dict[str, Counter[str]] = {}
        self._seconds = 0.0
        self.asked: list[Utterance] = []
        """Every recording of the run, without its answers."""
        self.failed: list[Utterance] = []

    def add(self, row: Utterance) -> None:
        """Count one result, and tell its error or warnings at once."""
        self.asked.append(Utterance(row.id, row.path, row.channel, row.start, row.end))
        if row.error is not None:
            self.failed.append(row)
            tell(f"error: {_named(row, row.error)}")
        elif not self._quiet:
            for warning in row.warnings:
                tell(f"warning: {_named(row, warning)}")
        self._seconds += row.duration or 0.0
        for task, answer in row.summary.items():
            self._labels.setdefault(task, Counter())[self._title(task, answer.label)] += 1

    def finish(self, failed_file: Path | None) -> None:
        """Tell the whole run."""
        if self.failed and failed_file is not None:
            tell(f"{len(self.failed)} of {len(self.asked)} failed; run them again with: osum label {failed_file}")
        answered = len(self.asked) - len(self.failed)
        if self._quiet or not answered:
            return
        spent = time.perf_counter() - self._started
        tell(f"{answered} answered, {len(self.failed)} failed, {self._seconds:.1f} s of audio in {spent:.1f} s")
        for task, counts in self._labels.items():
            shown = ", ".join(f"{label} {count}" for label, count in counts.most_common())
            guess = "" if self._evidence(task) in (None, "real") else f" (learned from {self._source(task)})"
            tell(f"  {task}: {shown}{guess}")

    def _title(self, task: str, label: str | None) -> str:
        if label is None:
            return "-"
        sets = self._tasks[task].label_sets if task in self._tasks else ()
        return next((labels.title(label) for labels in sets if label in labels.labels), label)

    def _evidence(self, task: str) -> str | None:
        return self._tasks[task].evidence if task in self._tasks else None

    def _source(self, task: str) -> str:
        return "synthetic speech only" if self._evidence(task) == "synthetic" else "nothing: a guess"


def _named(row: Utterance, message: str) -> str:
    return message if row.path in message else f"{row.path}: {message}"
