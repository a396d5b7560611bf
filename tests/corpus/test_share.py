"""Shards: every row is one machine's, whatever the others do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.corpus.share import Share
from osum.errors import InputError
from osum.utterance import Utterance

IDS = st.lists(st.text(min_size=1), max_size=20)


@settings(max_examples=50, deadline=None)
@given(IDS, st.integers(1, 9))
def test_every_row_is_in_exactly_one_shard(ids: list[str], count: int) -> None:
    for row in [Utterance(id=name, path="a.wav") for name in ids]:
        assert sum(Share(index, count).holds(row) for index in range(count)) == 1


@settings(max_examples=50, deadline=None)
@given(IDS, st.integers(1, 9))
def test_a_rows_shard_does_not_depend_on_the_others_or_on_where_it_lies(ids: list[str], count: int) -> None:
    for name in ids:
        here, there = Utterance(id=name, path="a.wav"), Utterance(id=name, path="/elsewhere/a.wav", start=1.0)
        assert all(Share(index, count).holds(here) == Share(index, count).holds(there) for index in range(count))


def test_shards_are_of_like_size() -> None:
    rows = [Utterance(id=f"{number}", path="a.wav") for number in range(4000)]
    sizes = [sum(map(Share(index, 4).holds, rows)) for index in range(4)]
    assert all(size == pytest.approx(1000, rel=0.1) for size in sizes)


def test_a_name_with_stray_bytes_has_a_shard() -> None:
    assert Share(0, 1).holds(Utterance(id="caf\udce9", path="caf\udce9.wav"))


@pytest.mark.parametrize(
    ("name", "own"),
    [("rows.jsonl", "rows-00001-of-00004.jsonl"), ("rows.labels.txt", "rows-00001-of-00004.labels.txt")],
)
def test_a_shard_has_a_file_of_its_own(name: str, own: str) -> None:
    assert Share.parse("1/4").name(Path("out") / name) == Path("out") / own


def test_the_last_shard_is_one_less_than_their_number() -> None:
    with pytest.raises(InputError, match="count from 0"):
        Share.parse("4/4")
