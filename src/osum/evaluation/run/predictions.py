"""Predictions on the disk: OUT/MODEL/BENCHMARK.jsonl, one line per clip, and next to it what was asked of whom.

1. `BENCHMARK.asked.json` is written first: the benchmark's list, the model, prompts and versions.
2. Lines are appended in the order of the list, a whole batch at a time, and forced to the disk.
3. A killed run leaves a beginning of the list: a resumed one drops a batch that is not whole, and continues after it.

So no line stands twice, and batches are the same whether or not a run was killed. Knows nothing of scores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osum.corpus.manifest import json_row
from osum.errors import InputError, ManifestError
from osum.evaluation.run.prediction import Prediction
from osum.evaluation.sets.benchmark import Benchmark, Declaration
from osum.files import atomic_file, locked
from osum.records import from_row, to_row
from osum.results.asked import check_asked, keep_asked, read_asked

ASKED_SUFFIX = ".asked.json"


@dataclass(frozen=True, slots=True)
class AskedBenchmark:
    """All that decides a file of predictions; a run continues a file only where it is the same."""

    benchmark: str
    model: str
    task: str
    list_hash: str
    """Of the benchmark's clips and truths, as `osum.evaluation.run.clips` counts it."""
    clips: int
    """On the list, those that are not asked left out."""
    limit: int | None = None
    """Only so many of them are asked."""
    prompts: tuple[str, ...] = ()
    """Published prompts that are asked one after the other; empty where the model asks in its own fixed words."""
    seed: int = 0
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the model says of itself: revision, device, dtype ..."""
    versions: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labels of the benchmark that have no place among ours, and how many clips each of them cost."""
    faulty: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What is wrong with clips that are not asked, and their ids."""
    declared: Declaration | None = None
    """The test set, where it is in no catalogue."""

    @property
    def count(self) -> int:
        """Lines of the whole file."""
        clips = self.clips if self.limit is None else min(self.clips, self.limit)
        return clips * max(1, len(self.prompts))


def folder_name(model: str) -> str:
    """A model's name as a folder: `owner/name` becomes `owner_name`."""
    return model.replace("/", "_").replace("\\", "_").strip(".") or "model"


def to_line(prediction: Prediction) -> bytes:
    """One line of JSON; half characters, which stand for stray bytes in file names, are written escaped."""
    text = json.dumps(to_row(prediction), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def from_line(line: bytes) -> Prediction:
    """The prediction of one line.

    Raises:
        ManifestError: it is none; the message names the field, the rule and the way out.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = json_row(line.decode(errors="replace"))  # which says why
    return from_row(Prediction, row)


class Predictions:
    """The predictions of one model for one benchmark."""

    def __init__(self, folder: Path, benchmark: str) -> None:
        self.path = folder / f"{benchmark}.jsonl"
        self.asked_path = folder / f"{benchmark}{ASKED_SUFFIX}"
        self.benchmark = benchmark

    @property
    def begun(self) -> bool:
        """Whether a run has left something here."""
        return self.asked_path.exists() or self.path.exists()

    def asked(self) -> AskedBenchmark:
        """What was asked.

        Raises:
            InputError: nobody knows.
        """
        try:
            return from_row(AskedBenchmark, read_asked(self.asked_path, self.path))
        except ManifestError as fault:
            raise ManifestError(f"{self.asked_path}: {fault}") from fault

    def declared(self) -> Benchmark | None:
        """The test set, where it is in no catalogue and came with the question.

        Raises:
            InputError: nobody knows what was asked.
        """
        row = read_asked(self.asked_path, self.path).get("declared")
        return from_row(Declaration, row).benchmark() if row else None

    def read(self) -> Iterator[Prediction]:
        """Every prediction in order, checked; an unfinished last line, as a killed run leaves it, is no line.

        Raises:
            InputError: the file cannot be read.
            ManifestError: a line is no prediction of this benchmark; the message names file and line.
        """
        seen: dict[tuple[str, int | None], int] = {}
        model: str | None = None
        for number, line in enumerate(_lines(self.path), 1):
            try:
                found = from_line(line)
                if found.benchmark != self.benchmark:
                    raise ManifestError(
                        f"this is a prediction for {found.benchmark!r}: a file holds those of the benchmark in its name"
                    )
                model = found.model if model is None else model
                if found.model != model:
                    raise ManifestError(f"the model is {found.model!r}, and above {model!r}: give each its own folder")
                first = seen.setdefault((found.id, found.prompt_index), number)
                if first != number:
                    raise ManifestError(f"{found.id!r} stands in line {first} already: remove one of the two")
            except ManifestError as fault:
                raise ManifestError(f"{self.path}:{number}: {fault}") from fault
            yield found

    def begin(self, asked: AskedBenchmark) -> None:
        """Start again: the old lines are removed."""
        self.path.unlink(missing_ok=True)
        keep_asked(self.asked_path, to_row(asked))
        with atomic_file(self.path):
            pass

    def resume(self, asked: AskedBenchmark, batch: int) -> list[Prediction]:
        """The predictions that are there, up to the last whole batch; others are dropped.

        Raises:
            InputError: something else was asked, or nobody knows what.
            ManifestError: a line is no prediction.
        """
        before, now = (_decisive(row) for row in (read_asked(self.asked_path, self.path), to_row(asked)))
        check_asked(before, now, self.path)
        kept = list(self.read()) if self.path.exists() else []
        if len(kept) != asked.count:
            kept = kept[: len(kept) - len(kept) % batch]
        with self.path.open("ab") as file:
            file.truncate(sum(len(line) for line, _ in zip(_lines(self.path), kept, strict=False)))
        return kept

    def replace(self, predictions: Iterable[Prediction]) -> None:
        """Write the file's lines again, all or none."""
        with atomic_file(self.path) as out:
            out.writelines(map(to_line, predictions))

    def append(self, batch: Iterable[Prediction]) -> None:
        """Add lines and force them to the disk."""
        with self.path.open("ab", buffering=0) as file:
            file.write(b"".join(map(to_line, batch)))
            os.fsync(file.fileno())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs away until the block ends or the process dies.

        Raises:
            InputError: another run is at it.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path.with_name(f".{self.benchmark}.lock"), wait=False))
            except BlockingIOError as fault:
                raise InputError(
                    f"{self.path} is being written by another run: wait for it, or give another -o"
                ) from fault
            yield


def _lines(path: Path) -> Iterator[bytes]:
    """The finished lines.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            yield from (line for line in lines if line.endswith(b"\n"))
    except OSError as fault:
        raise InputError(f"predictions {path} cannot be read ({fault}): ask again with osum evaluate") from fault


def _decisive(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Without what changes no answer."""
    description = {name: value for name, value in asked.get("description", {}).items() if name != "batch_size"}
    return {**asked, "description": description}
