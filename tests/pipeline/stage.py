"""Steps and rows that the tests of the pipeline share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from osum.corpus.readers import Line
from osum.pipeline.plan import Plan, plan_of
from osum.pipeline.row import NO_SOUND, DropError, Row
from osum.pipeline.step import ModelStep, Outcome, Rows, step
from osum.utterance import Utterance

CALLS = "OSUM_TEST_CALLS"
"""Environment variable with the file in which steps note what they were asked."""


def note(word: str) -> None:
    if path := os.environ.get(CALLS):
        with Path(path).open("a") as file:
            file.write(word + "\n")


@dataclass(frozen=True)
class GainOptions:
    gain: float = 0.5


@step("test-gain", version=1)
def gain(row: Row, options: GainOptions) -> Row:
    """Make new sound."""
    note(f"gain {row.id}")
    return row.heard_as(row.samples * np.float32(options.gain))


@dataclass(frozen=True)
class FaultOptions:
    every: int = 1000


@step("test-fault", version=1)
def fault(row: Row, options: FaultOptions) -> Row:
    """Raise at one row of many."""
    if int(row.id.split("-")[0]) % options.every == options.every - 1:
        raise ZeroDivisionError("by accident")
    return row


@step("test-double", version=1)
def double(row: Row) -> list[Row]:
    """Two rows of each."""
    return [row.with_(id=f"{row.id}-a"), row.with_(id=f"{row.id}-b")]


@dataclass(frozen=True)
class GuessOptions:
    name: str = "guess"


@step("test-guess", version=1)
class Guess(ModelStep):
    """A model that hears a number in a sound, or in a text."""

    options: GuessOptions
    batch = 4

    def identity(self) -> str:
        return self.options.name

    def given(self, row: Row) -> str:
        return row.sound_hash if row.utterance.path != NO_SOUND else row.id

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        for row in rows:
            note(f"ask {row.id}")
        if any(row.id.startswith("13") for row in rows):
            raise ValueError("thirteen")
        return [int(hashlib.sha256(self.given(row).encode()).hexdigest(), 16) % 100 for row in rows]

    def apply(self, row: Row, answer: Any) -> Row:
        if answer < 10:
            raise DropError("a low guess", str(answer))
        return row.labelled("guess", str(answer), model=self.options.name, score=answer / 100)


@step("test-once", version=1, across=True)
def once(rows: Rows) -> Iterator[Outcome]:
    """Leave out rows whose guess came before."""
    note("across")
    seen: set[str] = set()
    for row in rows():
        guess = row.utterance.labels["guess"]
        yield DropError("guessed before") if guess in seen else row
        seen.add(guess)


def texts(count: int) -> Iterator[Line]:
    """Rows of text alone."""
    return (Line(f"made:{at}", Utterance(str(at), NO_SOUND, text=f"text {at}", duration=1.0)) for at in range(count))


def sounds(folder: Path, count: int) -> list[Line]:
    """Rows with a short noise of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for at in range(count):
        path = folder / f"{at}.wav"
        if not path.exists():
            samples = np.random.default_rng(at).normal(0, 0.1, 1_600 + 100 * at)
            soundfile.write(path, samples, 16_000)
        lines.append(Line(f"made:{at}", Utterance(str(at), str(path), text=f"text {at}")))
    return lines


def plan(*steps: Any, per_shard: int = 5, **fields: Any) -> Plan:
    return plan_of({"name": "made", "steps": list(steps), "rows_per_shard": per_shard, **fields})


WHOLE = ("decode", "test-gain", "test-guess", "test-once", {"test-fault": {"every": 7}}, "test-double")


def files_of(out: Path) -> dict[str, str]:
    """Every file that a run keeps, to its hash."""
    kept = [path for path in out.rglob("*") if path.is_file() and "answers" not in path.parts and path.name != ".lock"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(kept)}


def rows_of(out: Path) -> list[dict[str, Any]]:
    lines: Iterable[str] = (
        line for path in sorted((out / "corpus").glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()
    )
    return [json.loads(line) for line in lines]
