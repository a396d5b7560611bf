"""`osum find`: vocal events out of what `osum label` wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Run
from osum.results.formats import format_named
from osum.results.parquet import Parquet
from osum.results.parts import RowParts
from osum.utterance import Answer, Segment, Utterance, VocalEvent

LAUGH, CRY, LAST = (
    VocalEvent(0.0, 15.0, "laugh", 0.93),
    VocalEvent(30.0, 45.0, "cry", 0.5),
    VocalEvent(45.0, 60.0, "laugh", 0.7),
)
ROWS = [
    Utterance("a", "a.wav", channel=1, events=(LAUGH, CRY, LAST)),
    Utterance("b", "b.wav", summary={"VED": Answer("none", 0.9)}),
]


def write(folder: Path, name: str, rows: list[Utterance]) -> None:
    with (folder / name).open("w") as stream:
        format_named("json" if name.endswith(".json") else "jsonl").write(rows, stream)


def write_parquet(folder: Path, rows: list[Utterance]) -> None:
    parts = RowParts(folder / "rows.parquet", Parquet())
    parts.start({})
    parts.missing(rows)
    for row in rows:
        parts.add(row)
    parts.merge()


WRITERS: dict[str, Callable[[Path], None]] = {
    "jsonl": lambda folder: write(folder, "rows.jsonl", ROWS),
    "array": lambda folder: write(folder, "rows.json", ROWS),
    "object": lambda folder: write(folder, "a.json", ROWS[:1]),
    "parquet": lambda folder: write_parquet(folder, ROWS),
}


@pytest.mark.parametrize("form", WRITERS)
def test_events_are_found_in_everything_that_label_writes_whole(osum: Run, tmp_path: Path, form: str) -> None:
    WRITERS[form](tmp_path)
    code, out, err = osum("find", tmp_path, "--event", "laugh", "--min", 0.8)
    assert (code, err) == (0, "")
    name, *rest = out.rstrip("\n").split("\t")
    assert (Path(name).name, rest) == ("a.wav#1", ["0.000", "15.000", "laugh", "0.9300"])


@pytest.mark.parametrize(("event", "hint"), [("bogus", "the events are "), ("laughh", "did you mean 'laugh'")])
def test_an_event_that_is_none_is_wrong_usage(osum: Run, tmp_path: Path, event: str, hint: str) -> None:
    write(tmp_path, "rows.jsonl", ROWS)
    code, out, err = osum("find", tmp_path, "--event", event)
    assert (code, out, err.count("\n")) == (2, "", 1) and f"event {event!r} is in no row: {hint}" in err


def test_an_event_of_a_checkpoint_of_ones_own_is_found(osum: Run, tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", [Utterance("a", "a.wav", events=(VocalEvent(0.0, 1.0, "hum", 0.9),))])
    code, out, err = osum("find", tmp_path, "--event", "hum")
    assert (code, out.count("hum"), err) == (0, 1, "")


def test_without_a_wish_every_event_is_listed_in_order(osum: Run, tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", ROWS)
    found = [line.split("\t")[3] for line in osum("find", tmp_path / "rows.jsonl").out.splitlines()]
    assert found == ["laugh", "cry", "laugh"]


def test_several_events_as_json(osum: Run, tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", ROWS)
    first, last = map(
        json.loads, osum("find", tmp_path, "--event", "cry, laugh", "--min", 0.6, "--json").out.splitlines()
    )
    assert first == {"id": "a", "path": str(tmp_path / "a.wav"), "channel": 1, "start": 0.0, "end": 15.0,
                     "event": "laugh", "probability": 0.93}  # fmt: skip
    assert last["start"] == 45.0


def test_rows_from_before_events_are_searched_by_their_segments(osum: Run, tmp_path: Path) -> None:
    segment = Segment(2.0, 4.0, labels={"VED": Answer("sneeze", 0.9)})
    write(tmp_path, "rows.jsonl", [Utterance("a", "a.wav", segments=(segment,))])
    assert "\t2.000\t4.000\tsneeze\t0.9000" in osum("find", tmp_path).out


def test_a_broken_line_costs_one_row(osum: Run, tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", ROWS)
    path = tmp_path / "rows.jsonl"
    path.write_text("{broken\n" + path.read_text())
    code, out, err = osum("find", path)
    assert (code, out.count("\n"), err.count("\n")) == (1, 3, 1) and "rows.jsonl:1: not JSON" in err


def test_parts_of_a_run_that_continues_are_left_alone(osum: Run, tmp_path: Path) -> None:
    (tmp_path / ".rows.jsonl.parts").mkdir()
    (tmp_path / ".rows.jsonl.parts" / "asked.json").write_text("{}")
    assert osum("find", tmp_path) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--min", "80"], "is no probability"), (["--event", "laguh"], "did you mean 'laugh'")],
)
def test_a_wish_that_cannot_be_meant_is_reported(osum: Run, tmp_path: Path, words: list[str], message: str) -> None:
    assert message in osum("find", tmp_path, *words).err


def test_a_path_where_nothing_is_is_one_line(osum: Run, tmp_path: Path) -> None:
    code, _, err = osum("find", tmp_path / "none")
    assert (code, err.count("\n")) == (1, 1) and "is not there" in err
