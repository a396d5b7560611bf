"""Items of EChat-eval from labelled recordings: cues kept, labels and speakers balanced, events joined to words."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from model.tiny import noise

from osum.corpus.manifest import write_manifest
from osum.errors import InputError
from osum.evaluation.sets import echat_items
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.evaluation.sets.echat_items import PAUSE, drawn
from osum.utterance import Utterance


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    soundfile.write(tmp_path / "a.wav", noise(8_000), 16_000)
    path = str(tmp_path / "a.wav")
    spoken = [
        Utterance(f"s{n}", path, text="hello", speaker=f"p{n % 3}", extra={"licence": "CC0"})
        .with_(labels={"gender": ("male", "female")[n > 3], "emotion": "sad" if n == 2 else "neutral"})
        for n in range(6)
    ]  # fmt: skip
    return [*spoken, Utterance("laugh", path, text="", labels={"event": "laugh"}), Utterance("bad", path, error="x")]


def test_each_column_has_items_with_its_cue_and_their_origin(rows: list[Utterance], tmp_path: Path) -> None:
    items = drawn(rows, 4, tmp_path / "echat-eval")
    by_column = {column: [i for i in items if i.extra["column"] == column] for column in ("emotion", "gender", "multi")}
    assert [i.extra["from"] for i in by_column["emotion"]] == ["s2"]
    assert [i.labels["gender"] for i in by_column["gender"]].count("female") == 2
    assert len({(i.speaker, i.labels["gender"]) for i in by_column["gender"]}) == 4
    assert dict(by_column["multi"][0].labels) == {"emotion": "sad", "gender": "male"}
    assert all(i.extra["licence"] == "CC0" for i in items)
    for column, found in by_column.items():
        assert len(BENCHMARKS[f"echat-eval-{column}"].read(tmp_path / "echat-eval")) == len(found)


def test_an_event_stands_behind_words(rows: list[Utterance], tmp_path: Path) -> None:
    (item,) = (one for one in drawn(rows, 3, tmp_path / "out") if one.extra["column"] == "event")
    assert soundfile.info(item.path).duration == pytest.approx(0.5 + PAUSE + 0.5)
    assert (item.text, dict(item.labels), item.extra["cue_from"]) == ("hello", {"event": "laugh"}, "laugh")


def test_a_seed_decides_and_copies_are_written(rows: list[Utterance], tmp_path: Path) -> None:
    first, again = (drawn(rows, 2, tmp_path / name, seed=5, copy=True) for name in ("x", "y"))
    assert [one.extra for one in first] == [one.extra for one in again]
    assert all(Path(one.path).parent == tmp_path / "x" for one in first)


def test_rows_without_cues_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[Utterance]
) -> None:
    with pytest.raises(InputError, match="not one item"):
        drawn([rows[0].with_(labels={})], 3, tmp_path / "out")
    write_manifest(tmp_path / "all.jsonl", rows[:-1])
    assert echat_items.main([str(tmp_path / "all.jsonl"), "-o", str(tmp_path / "o"), "--count", "1"]) == 0
    assert "emotion 1, age 0, gender 1, event 1, multi 1" in capsys.readouterr().out
