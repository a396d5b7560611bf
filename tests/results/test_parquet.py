"""Rows as Parquet: columns to ask by, and nothing lost."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from osum.errors import MissingExtraError
from osum.results.parquet import Parquet
from osum.results.parts import JsonLines, RowParts
from osum.utterance import Answer, Utterance

ROWS = [
    Utterance(
        id="a",
        path="a.wav",
        channel=1,
        duration=1.5,
        text="hi",
        language="en",
        labels={"gender": "female"},
        summary={"SGC": Answer("female", 0.9, {"female": 0.9, "male": 0.1}), "LID": Answer("en", 0.8)},
        extra={"room": [1, {"x": None}]},
    ),
    Utterance(id="b", path="b\udce9.wav", error="is empty"),
]


def written(path: Path, form: Any) -> Path:
    parts = RowParts(path, form)
    parts.start({})
    parts.missing(ROWS)
    for row in ROWS:
        parts.add(row)
    parts.merge()
    return path


def test_columns_hold_what_is_asked_for_and_rows_hold_everything(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(written(tmp_path / "rows.parquet", Parquet())).to_pylist()
    assert [(row["id"], row["channel"], row["duration"], row["gender"], row["error"]) for row in table] == [
        ("a", "1", 1.5, "female", None),
        ("b", None, None, None, "is empty"),
    ]
    assert table[0]["gender_probability"] == pytest.approx(0.9)
    lines = list(JsonLines().read(written(tmp_path / "rows.jsonl", JsonLines())))
    assert list(Parquet().read(tmp_path / "rows.parquet")) == lines
    assert [f"{row['row']}\n".encode() for row in table] == lines


def test_a_run_continues_with_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = written(tmp_path / "rows.parquet", Parquet())
    parts = RowParts(path, Parquet())
    parts.resume({})
    new = Utterance(id="c", path="c.wav", text="new")
    assert parts.missing([*ROWS, new]) == ([new], 1)
    parts.add(new)
    parts.merge()
    assert len(list(Parquet().read(path))) == 3


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = RowParts(tmp_path / "rows.parquet", Parquet())
    parts.start({})
    parts.merge()
    assert parquet.read_table(tmp_path / "rows.parquet").num_rows == 0


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    really_import = builtins.__import__

    def refuse(name: str, *words: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return really_import(name, *words, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[parquet\]'"):
        Parquet()
