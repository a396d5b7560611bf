"""Votes of models on rows, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Line
from osum.pipeline.row import DropError, Row, Vote
from osum.pipeline.run import run
from osum.pipeline.steps.asking import ReadBackOptions, VoteOptions, read_back, vote
from osum.utterance import Utterance
from pipeline.stage import plan, rows_of

SAMPLES = Path(__file__).parents[2] / "samples/manifest.jsonl"


def voted(field: str, *values: Any, **fields: Any) -> Row:
    row = Row(Utterance("a", "-", **fields))
    for at, value in enumerate(values):
        row = row.voted(field, Vote(f"v{at}", value, f"hash{at}", 0.9 - 0.2 * at))
    return row


def test_votes_that_agree_become_a_label_with_its_origin() -> None:
    made = vote(voted("emotion", "sad", "sad", "anger"), VoteOptions(of="emotion", agree=0.6))
    assert made.utterance.labels == {"emotion": "sad"}
    given = made.extra["provenance"]["emotion"]
    assert (given["model"], given["score"]) == ("v0@hash0 v1@hash1 v2@hash2", 0.6667)


def test_votes_that_disagree_leave_a_row_out_or_without_the_label() -> None:
    row = voted("emotion", "sad", "anger")
    with pytest.raises(DropError, match="voters disagree: 50 %: sad / anger"):
        vote(row, VoteOptions(of="emotion"))
    assert vote(row, VoteOptions(of="emotion", keep=True)).utterance.labels == {}


def test_votes_that_are_not_sure_or_not_given_do_not_count() -> None:
    with pytest.raises(DropError, match="too few votes: 1 on emotion"):
        vote(voted("emotion", "sad", "sad"), VoteOptions(of="emotion", min_score=0.8))
    with pytest.raises(DropError, match="too few votes: 1 on style"):
        vote(voted("style", "客服", None), VoteOptions(of="style"))


def test_a_label_that_came_with_the_data_stays_unless_it_is_to_be_replaced() -> None:
    row = voted("emotion", "sad", "sad", labels={"emotion": "happy"})
    assert vote(row, VoteOptions(of="emotion")) == row
    assert vote(row, VoteOptions(of="emotion", replace=True)).utterance.labels == {"emotion": "sad"}
    again = vote(vote(row, VoteOptions(of="emotion", replace=True)), VoteOptions(of="emotion"))
    assert again.extra["provenance"]["emotion"]["score"] == 1


def test_the_score_of_one_vote_is_the_models_own() -> None:
    made = vote(voted("emotion", "sad"), VoteOptions(of="emotion", min_votes=1))
    assert made.extra["provenance"]["emotion"]["score"] == 0.9


def test_a_voter_has_one_vote() -> None:
    row = voted("emotion", "sad").voted("emotion", Vote("v0", "anger"))
    assert [one.value for one in row.votes("emotion")] == ["anger"]


def test_texts_are_voted_on_word_by_word() -> None:
    made = vote(voted("text", "Hello, there world", "hello there word", "hello there world"), VoteOptions(agree=0.8))
    assert made.utterance.text == "hello there world"


def test_a_text_that_nobody_finds_in_the_sound_is_left_out() -> None:
    assert read_back(voted("text", "x", "hello there", text="Hello there!"), ReadBackOptions()).extra["read_back"] == 1
    with pytest.raises(DropError, match="not read back"):
        read_back(voted("text", "something else", text="Hello there!"), ReadBackOptions())
    with pytest.raises(DropError, match="put the step ask before"):
        read_back(voted("text", text="hello"), ReadBackOptions())


def test_recognisers_label_real_clips_and_say_which_they_are(tmp_path: Path) -> None:
    wanted = [row for row in read_manifest(SAMPLES) if "gender" in row.labels][:2]
    lines = [Line(row.id, row.with_(labels={})) for row in wanted]
    ask = {"ask": {"model": "nano", "task": "SGC"}}
    summary = run(plan(ask, {"vote": {"of": "gender", "min_votes": 1}}), lines, tmp_path / "out")
    assert summary.kept.rows_out == 2
    for row in rows_of(tmp_path / "out"):
        assert row["labels"]["gender"] in ("male", "female")
        assert row["provenance"]["gender"]["model"].startswith("nano@") and row["votes"]["gender"][0]["score"] > 0


def test_words_are_timed_by_a_second_opinion(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    (row,) = [row for row in read_manifest(SAMPLES) if row.id.endswith("en_child_boy")]
    lines = [Line("a", row), Line("b", row.with_(id="b", text="nothing of the kind was said"))]
    summary = run(plan({"align": {"model": "pocketsphinx", "second": "nano", "near": 1.0}}), lines, tmp_path / "out")
    made = next(row for row in rows_of(tmp_path / "out") if row["text"].startswith("zero"))
    assert [word["text"] for word in made["words"]] == ["zero", "three", "five", "one"]
    assert all(word["start"] < word["end"] <= 3.43 for word in made["words"]) and made["aligners_apart"] < 1
    assert summary.steps[-1][1].rows_in == 2
