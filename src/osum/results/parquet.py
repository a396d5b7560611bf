"""Rows as Parquet: columns for what is often asked for, and behind them the whole row as JSON, so nothing is lost.

Each label of the summary has two columns, such as `emotion` and `emotion_probability`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from osum.errors import MissingExtraError
from osum.results.view import by_column
from osum.utterance import Answer, Utterance

TEXTS = ("id", "path", "channel", "text", "language", "reply", "speaker", "source", "licence", "error")
SECONDS = ("start", "end", "duration")
ORIGIN = ("model", "revision", "dtype")
ROW = "row"
"""The column with the whole row."""
GROUP = 4096  # rows held in memory at once


class Parquet:
    """A Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as fault:
            raise MissingExtraError("pyarrow", "parquet") from fault
        self._arrow, self._parquet = pyarrow, pyarrow.parquet

    def read(self, path: Path) -> Iterator[bytes]:
        """The rows as lines of JSON."""
        with self._parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP, columns=[ROW]):
                yield from (f"{row}\n".encode() for row in batch.column(0).to_pylist())

    def write(self, lines: Callable[[], Iterator[bytes]], out: BinaryIO) -> None:
        """Write lines of JSON; they are gone through twice, as every column has to be known first."""
        labels = dict.fromkeys(label for line in lines() for label in _answers(json.loads(line)))
        schema = self._schema(list(labels))
        rest = lines()
        with self._parquet.ParquetWriter(out, schema, compression="zstd") as writer:
            while group := [_cells(line) for line in islice(rest, GROUP)]:
                writer.write_table(self._arrow.Table.from_pylist(group, schema))

    def _schema(self, labels: Sequence[str]) -> Any:
        text, seconds, share = self._arrow.string(), self._arrow.float64(), self._arrow.float32()
        columns = [pair for label in labels for pair in ((label, text), (f"{label}_probability", share))]
        columns = [
            *((name, text) for name in TEXTS),
            *((name, seconds) for name in SECONDS),
            *((name, kind) for name, kind in columns if name not in TEXTS),  # `language` is the row's own
            *((name, text) for name in (*ORIGIN, ROW)),
        ]
        return self._arrow.schema(columns)


def _cells(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    cells: dict[str, Any] = {}
    for label, answer in _answers(row).items():
        cells |= {label: answer.label, f"{label}_probability": answer.probability}
    cells |= {name: row.get(name) for name in SECONDS}
    cells |= {name: _unicode(row.get(name)) for name in (*TEXTS, *ORIGIN)}
    return {**cells, ROW: line.decode().rstrip("\n")}


def _answers(row: dict[str, Any]) -> dict[str, Answer]:
    """Column to answer, of the whole recording."""
    return by_column(Utterance.from_dict(row).summary)


def _unicode(value: Any) -> str | None:
    """Stray bytes of file names have no place in Parquet; in the whole row they are escaped."""
    return None if value is None else str(value).encode(errors="replace").decode()
