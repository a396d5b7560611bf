"""Floors: the most frequent label, of all or of a clip's source, and its share."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.corpus.manifest import write_manifest
from osum.errors import InputError
from osum.peers import open_recogniser
from osum.peers.floors import Majority, Source
from osum.peers.lessons import truths
from osum.peers.recogniser import Options, Question
from osum.tasks import OSUM, LabelSet, Task
from osum.utterance import Utterance


def row(name: str, source: str, weak: tuple[str, ...] = (), **labels: str) -> Utterance:
    return Utterance(name, name, source=source, labels=labels, extra={"weak": list(weak)})


TRAIN = [
    *(row(f"a{i}", "studio", gender="male") for i in range(5)),
    *(row(f"b{i}", "street", gender="female") for i in range(3)),
    *(row(f"c{i}", "street", ("emotion",), emotion="neutral") for i in range(9)),
    row("d", "street", emotion="neutral"),
    row("e", "stage", emotion="Happy"),
    row("f", "stage", ("emotion",), emotion="sad"),
]
CLIPS = [row("x", "street"), row("y", "studio"), row("z", "moon")]


def test_the_majority_is_the_same_for_every_clip(tmp_path: Path) -> None:
    write_manifest(tmp_path / "train.jsonl", TRAIN)
    majority = open_recogniser("majority", Options(extra={"train": str(tmp_path / "train.jsonl")}))
    answers = list(majority.recognise(CLIPS, Question("SGC")))
    assert [answer.label for answer in answers] == ["male"] * 3
    assert answers[0].distribution == {"female": 3 / 8, "male": 5 / 8} and answers[0].said == "male"


def test_the_source_decides_where_it_was_seen_and_else_all_do() -> None:
    answers = list(Source(TRAIN).recognise(CLIPS, Question("SGC-only")))
    assert [answer.label for answer in answers] == ["female", "male", "male"]


def test_a_weak_label_teaches_only_where_it_has_no_other_row() -> None:
    truth = truths(TRAIN)["SER"]
    assert {row.id: truth(row) for row in TRAIN[8:]} == {
        **{f"c{i}": None for i in range(9)},
        "d": "neutral",
        "e": "happy",
        "f": "sad",
    }


def test_a_label_set_of_ones_own_is_learned_where_its_tasks_are_given() -> None:
    pitch = LabelSet("pitch", ("low", "high"))
    tasks = OSUM.with_task(Task("PITCH", "<PITCH>", "pitch", label_sets=(pitch,)), {"en": ["{pitch}?"]})
    train = [row("a", "studio", pitch="low"), row("b", "studio", pitch="low"), row("c", "street", pitch="high")]
    assert Majority(train, tasks).tasks == {"PITCH"}
    assert [one.label for one in Source(train, tasks).recognise(CLIPS, Question("PITCH"))] == ["high", "low", "low"]


def test_tasks_are_those_with_two_labels() -> None:
    assert Majority(TRAIN).tasks == {"SGC", "SGC-only", "SER", "SER-only"}
    with pytest.raises(InputError, match="source finds no two labels"):
        Source(TRAIN[:5])
