"""What is kept on disk comes back as it was, as often as it is asked for, and goes away with its object."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks.strategies import utterances

from osum.results.on_disk import DiskCounter, DiskDict, Spool
from osum.utterance import Utterance

STRAY = os.fsdecode("录音".encode("gbk"))


@given(st.lists(utterances, max_size=5))
def test_rows_come_back_in_order(rows: list[Utterance]) -> None:
    assert Spool(rows) == rows


def test_two_readers_and_a_writer_do_not_disturb_each_other() -> None:
    rows = [Utterance(str(number), f"{STRAY}.wav", error=None if number else "gone") for number in range(5)]
    spool = Spool(rows[:4])
    first, second = iter(spool), iter(spool)
    assert [next(first), next(first), next(second)] == [rows[0], rows[1], rows[0]]
    spool.add(rows[4])
    assert list(first)[:2] == rows[2:4]
    assert (len(spool), spool.num_usable, list(spool)) == (5, 4, rows)


def test_nothing_is_left_of_a_spool_even_while_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    spool = Spool(Utterance(str(number), "a" * 1_000) for number in range(20_000))  # more than is held in memory
    assert list(tmp_path.iterdir()) == []
    assert sum(1 for _ in spool) == 20_000


def test_another_thread_may_read(tmp_path: Path) -> None:
    spool = Spool(Utterance(str(number), "a.wav") for number in range(2_000))
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(lambda _: [row.id for row in spool], range(3))] == [[str(n) for n in range(2_000)]] * 3


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2**40)), max_size=30))
def test_a_dict_on_disk_is_a_dict(pairs: list[tuple[bytes, int]]) -> None:
    found = DiskDict[int]()
    for key, value in pairs:
        found[key] = value
    assert {key: found.get(key) for key, _ in pairs} == dict(pairs)
    assert found.get(b"absent") is None


@given(st.lists(st.binary(max_size=2), max_size=30))
def test_a_counter_says_how_often_a_key_came_before(keys: list[bytes]) -> None:
    counter = DiskCounter()
    assert [counter.count(key) for key in keys] == [keys[:at].count(key) for at, key in enumerate(keys)]
