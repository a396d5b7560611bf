"""EChat-eval: does a reply answer to the voice? Five columns, each about one kind of cue (echat 5.2).

The authors published neither items, nor the judge's prompt, nor who recognised emotions. So the form of the items,
the rubric (`judge.yaml`, mode `empathy`) and the items are ours: rows of a manifest, each with the words of the
question, the labels of its cue, and the column that it counts for. A figure is not that of the paper's table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.layouts.unpacked import need, with_audio
from osum.utterance import Utterance

COLUMNS = ("emotion", "age", "gender", "event", "multi")
"""What an item may be about; `multi` holds several cues."""
ITEMS = "test.jsonl"


def _reader(column: str) -> Callable[[Path], list[Utterance]]:
    def read(folder: Path) -> list[Utterance]:
        rows = with_audio(read_manifest(need(folder / ITEMS)))
        return [row for row in map(checked, rows) if row.extra["column"] == column]

    return read


def checked(row: Utterance) -> Utterance:
    """An item that can be judged.

    Raises:
        InputError: its column is none, or the words or the cue of the question are missing.
    """
    column = row.extra.get("column")
    if column not in COLUMNS:
        raise InputError(f"item {row.id!r} has column {column!r}: it must be one of {', '.join(COLUMNS)}")
    if not row.text:
        raise InputError(f"item {row.id!r} has no text: a judge reads what was said, so write it down")
    few = len(row.labels) < 2 if column == "multi" else column not in row.labels
    if few:
        wanted = "two labels or more" if column == "multi" else f"a label of {column}"
        raise InputError(f"item {row.id!r} of column {column} has labels {dict(row.labels)}: it needs {wanted}")
    return row


ECHAT_SETS = tuple(
    Benchmark(
        name=f"echat-eval-{column}",
        title=f"EChat-eval, {column}",
        task="STTC",
        target="reply",
        metric="judge",
        licence="of each row",
        home="docs/benchmarks.md",
        reader=_reader(column),
        layout=f"{ITEMS}, rows of ours with text, the labels of the cue, and column ({', '.join(COLUMNS)})",
        folder="echat-eval",
        note="Items, rubric and judge are ours: the original's 280 items of each column are not published",
    )
    for column in COLUMNS
)
