"""Figures that others published, from `published.yaml`: data to show next to what is measured, never mixed with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files
from typing import Literal

import yaml

from osum.records import read

_UNITS = {"percent": 100, "bleu": 100, "fraction": 1, "ms": 1, "score": 1}
"""What a printed number is divided by to be a `Score.value`."""
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Published:
    """One number of a published table."""

    model: str
    benchmark: str
    """Of the catalogue, or a set that `ABSENT` describes."""
    metric: str
    printed: str
    """As the source prints it, `96.60`."""
    value: float
    """As `Score.value` would hold it: a fraction, ms, or points of a judge."""
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file."""

    source: str
    unit: Literal["percent", "bleu", "fraction", "ms", "score"]
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    """Model to its cells."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Sign behind a number to what it means."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    absent: Mapping[str, str]
    tables: tuple[_Table, ...]


def _figures(tables: Sequence[_Table]) -> Iterator[Published]:
    for table in tables:
        columns = [column.split() for column in table.columns]
        for model, cells in table.rows.items():
            for (benchmark, metric), cell in zip(columns, cells, strict=True):
                if cell != _NONE:
                    yield _figure(table, model, benchmark, metric, cell)


def _figure(table: _Table, model: str, benchmark: str, metric: str, cell: str) -> Published:
    printed = cell.rstrip("".join(table.marks))
    notes = [table.marks[mark] for mark in cell[len(printed) :]]
    return Published(
        model=model,
        benchmark=benchmark,
        metric=metric,
        printed=printed,
        value=float(Decimal(printed) / _UNITS[table.unit]),
        source=table.source,
        note="; ".join((*notes, table.note) if table.note else notes),
    )


# The base loader leaves every number as it is written.
_PLAIN = yaml.load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
_READ: _File = read(_File, _PLAIN, "published.yaml")
PUBLISHED: tuple[Published, ...] = tuple(_figures(_READ.tables))
ABSENT = _READ.absent
"""Names, or beginnings of names that end in -, of published sets that are no benchmark here, and why."""
