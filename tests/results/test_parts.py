"""Rows of a file while runs continue: what is missing, and what has changed since it was answered."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osum.errors import InputError
from osum.results.asked import check_asked
from osum.results.parts import STAMPS, JsonLines, RowParts
from osum.utterance import Utterance

LONG_AGO = 1_600_000_000


@pytest.fixture
def items(tmp_path: Path) -> list[Utterance]:
    """Three recordings, two of which have one name."""
    for name in ("a/x.wav", "b/x.wav", "c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return [Utterance(Path(name).stem, str(tmp_path / name)) for name in ("a/x.wav", "b/x.wav", "c.wav")]


def parts_of(folder: Path, size: int = 1) -> RowParts:
    return RowParts(folder / "rows.jsonl", JsonLines(), size)


def answer(parts: RowParts, items: list[Utterance], text: str, **options: Any) -> list[Utterance]:
    """Answer what is missing; returns it."""
    missing, _ = parts.missing(items, **options)
    for item in missing:
        parts.add(item.with_(text=text))
    return missing


def begun(folder: Path, items: list[Utterance], finish: bool = True) -> RowParts:
    parts = parts_of(folder)
    parts.start({"revision": "1"})
    answer(parts, items, "old")
    if finish:
        parts.merge()
    else:
        parts.flush()
    return parts


def resumed(folder: Path) -> RowParts:
    parts = parts_of(folder)
    parts.resume({"revision": "1"})
    return parts


def test_a_second_run_stops_while_the_first_is_writing(tmp_path: Path, items: list[Utterance]) -> None:
    """Until the first has ended: in the same process, in another one, with --resume or from the beginning."""
    first = begun(tmp_path, items, finish=False)
    for second in (lambda: resumed(tmp_path), lambda: parts_of(tmp_path).start({"revision": "1"})):
        with pytest.raises(InputError, match=r"another run is writing .*rows\.jsonl"):
            second()
    first.merge()
    assert (tmp_path / "rows.jsonl").read_text("utf-8").count("old") == 3
    resumed(tmp_path)


def test_a_run_that_begins_anew_keeps_the_old_file_until_it_has_all_rows(
    tmp_path: Path, items: list[Utterance]
) -> None:
    """Whether it is killed or not; and a run that continues it takes no row from the old file."""
    path = begun(tmp_path, items).path
    old = path.read_bytes()
    parts = parts_of(tmp_path)
    parts.start({"revision": "2"})
    parts.missing(items[:1])
    parts.add(items[0].with_(text="new"))
    parts.flush()
    assert path.read_bytes() == old
    del parts  # as a killed run leaves it
    continued = parts_of(tmp_path)
    continued.resume({"revision": "2"})
    assert len(answer(continued, items, "new")) == 2
    assert path.read_bytes() == old
    continued.merge()
    assert path.read_text("utf-8").count("new") == 3


def test_a_row_of_a_part_that_was_cut_off_is_asked_again(tmp_path: Path, items: list[Utterance]) -> None:
    last = max(begun(tmp_path, items, finish=False).folder.glob("part-*"))
    last.write_bytes(last.read_bytes()[:-5])
    parts = resumed(tmp_path)
    assert [item.id for item in answer(parts, items, "new")] == ["c"]
    parts.merge()
    assert [json.loads(line)["text"] for line in _lines(parts.path)] == ["old", "old", "new"]


def test_a_run_that_was_killed_keeps_nobody_out(tmp_path: Path, items: list[Utterance]) -> None:
    begun(tmp_path, items, finish=False)  # forgotten, as its process would be
    assert answer(resumed(tmp_path), items, "new") == []


@pytest.mark.parametrize("finish", [True, False], ids=["finished", "unfinished"])
def test_another_size_or_another_time_is_a_change(tmp_path: Path, items: list[Utterance], finish: bool) -> None:
    begun(tmp_path, items, finish)
    Path(items[0].path).write_text("other size")
    os.utime(items[1].path, (LONG_AGO, LONG_AGO))
    parts = resumed(tmp_path)
    assert (parts.missing(items), parts.num_changed) == (([], 0), 2)
    assert parts.missing(items, changed=True) == (items[:2], 0)


def test_what_changed_is_answered_once_more_and_no_more(tmp_path: Path, items: list[Utterance]) -> None:
    begun(tmp_path, items)
    os.utime(items[1].path, (LONG_AGO, LONG_AGO))
    parts = resumed(tmp_path)
    assert answer(parts, items, "new", changed=True) == [items[1]]
    parts.merge()
    rows = {row["path"]: row["text"] for row in map(json.loads, parts.path.read_text().splitlines())}
    assert rows == {"a/x.wav": "old", "b/x.wav": "new", "c.wav": "old"}
    assert resumed(tmp_path).missing(items, changed=True) == ([], 0)


def test_a_change_while_the_file_is_answered_is_found_the_next_time(tmp_path: Path, items: list[Utterance]) -> None:
    parts = parts_of(tmp_path)
    parts.start({})
    missing, _ = parts.missing(items)
    os.utime(items[2].path, (LONG_AGO, LONG_AGO))
    for item in missing:
        parts.add(item)
    parts.merge()
    assert resumed(tmp_path).missing(items, changed=True) == ([items[2]], 0)


def test_a_row_that_was_taken_out_of_the_file_is_missing_and_the_others_keep_their_stamps(
    tmp_path: Path, items: list[Utterance]
) -> None:
    path = begun(tmp_path, items).path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    parts = resumed(tmp_path)
    assert (parts.missing(items), parts.num_unstamped, parts.num_changed) == (([items[0]], 0), 0, 0)


def test_rows_of_an_osum_that_kept_no_stamps_are_kept_and_counted(tmp_path: Path, items: list[Utterance]) -> None:
    for part in list(begun(tmp_path, items, finish=False).folder.glob("part-*")):
        part.write_bytes(b"".join(b" ".join(line.split(b" ", 3)[i] for i in (0, 1, 3)) for line in _lines(part)))
    parts = resumed(tmp_path)
    assert (parts.missing(items, changed=True), parts.num_unstamped) == (([], 0), 3)
    parts.merge()
    assert (parts.missing(items, changed=True), parts.num_unstamped) == (([], 0), 3)


def _lines(part: Path) -> Iterator[bytes]:
    return iter(part.read_bytes().splitlines(keepends=True))


def test_the_rows_of_the_file_hold_no_stamp(tmp_path: Path, items: list[Utterance]) -> None:
    parts = begun(tmp_path, items)
    assert {field for line in _lines(parts.path) for field in json.loads(line)} == {"version", "id", "path", "text"}
    assert (parts.folder / STAMPS).read_bytes().count(b"\n") == 3


def test_an_option_that_was_taken_away_stops_no_run_that_did_not_use_it(tmp_path: Path, items: list[Utterance]) -> None:
    parts = begun(tmp_path, items)
    (parts.folder / "asked.json").write_text(json.dumps({"revision": "1", "language": "auto"}))
    assert resumed(tmp_path).missing(items) == ([], 0)


def test_answers_of_another_revision_are_another_models(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"begun with revision .old., and now it is .new.: .* another model"):
        check_asked({"revision": "old"}, {"revision": "new"}, tmp_path / "labels.jsonl")
