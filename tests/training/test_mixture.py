"""A mixture sees its parts as often as it says, and counts what it leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus.manifests_of_others import write_clip

from osum.corpus.manifest import write_manifest
from osum.errors import InputError, RecipeError
from osum.tasks import OSUM
from osum.training.config import MixturePart
from osum.training.mixture import read_mixture
from osum.utterance import Utterance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`a.jsonl`, two good rows; `b.jsonl`, one good row and one of each fault."""
    write_clip(tmp_path / "clip.wav", 0.5)
    row = Utterance("1", str(tmp_path / "clip.wav"), text="one", labels={"gender": "male"})
    write_manifest(tmp_path / "a.jsonl", [row, row.with_(id="2", source="radio", tasks=("SGC",))])
    bad = [
        row.with_(id="long", duration=31.0),
        row.with_(id="gone", path=str(tmp_path / "gone.wav")),
        row.with_(id="mute", text=None, labels={}),
        row.with_(id="other", tasks=("SAP",)),
    ]
    write_manifest(tmp_path / "b.jsonl", [row.with_(id="3"), *bad])
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write("{broken\n")
    return tmp_path


def test_rows_keep_their_weight_and_what_is_left_out_is_counted(folder: Path) -> None:
    parts = {"a": MixturePart(str(folder / "a.jsonl"), 1.5), "b": MixturePart(str(folder / "b.jsonl"), 2.0)}
    mixture = read_mixture(parts, OSUM.keep(("ASR", "SGC")), 30.0, {"radio": 3.0})
    assert [row.id for row in mixture.rows] == ["1", "2", "3"]
    assert mixture.weights == (1.5, 4.5, 2.0) and mixture.seconds == (0.5, 0.5, 0.5)
    assert [row.source for row in mixture.rows] == ["a", "radio", "b"]
    assert mixture.dropped == {
        "not within 0 and 30 s": 1,
        "audio that cannot be read": 1,
        "no task of the recipe fits": 2,
        "broken line": 1,
    }


def test_a_source_that_no_row_is_from_is_refused_with_the_nearest(folder: Path) -> None:
    parts = {"a": MixturePart(str(folder / "a.jsonl"))}
    for sources, reported in (
        ({"radoi": 2.0}, "did you mean 'radio'"),
        ({"tv": 2.0}, "the sources are a, a/None, radio"),
    ):
        with pytest.raises(RecipeError, match=rf"^sources\.\w+: no row is from this source: {reported}"):
            read_mixture(parts, OSUM, 30.0, sources)


def test_a_part_may_ask_some_tasks_only(folder: Path) -> None:
    tasks = OSUM.keep(("ASR", "SGC"))
    mixture = read_mixture({"a": MixturePart(str(folder / "a.jsonl"), tasks=("ASR",))}, tasks, 30.0)
    assert [[task.name for task in tasks.answerable(row)] for row in mixture.rows] == [["ASR"]]
    assert mixture.dropped == {"no task of the recipe fits": 1}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"weight": 1}, "write {manifest: FILE"),
        (3, "write {manifest: FILE"),
        ({"manifest": "a", "wieght": 1}, "wieght is unknown: did you mean 'weight'"),
        ({"manifest": "a", "weight": -1}, "weight is -1: a number from 0 is needed"),
        ({"manifest": "a", "weight": "2"}, "weight is '2'"),
        ({"manifest": "a", "weight": True}, "weight is True"),
    ],
)
def test_a_part_that_is_none_is_reported(values: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        MixturePart.from_mapping("mine", values)


def test_a_task_that_the_recipe_has_not_is_reported(folder: Path) -> None:
    with pytest.raises(InputError, match="mixture 'a': unknown task 'SAP'"):
        read_mixture({"a": MixturePart(str(folder / "a.jsonl"), tasks=("SAP",))}, OSUM.keep(("ASR",)), 30.0)


def test_the_manifest_alone_is_a_part() -> None:
    assert MixturePart.from_mapping("mine", "train.jsonl") == MixturePart("train.jsonl")
