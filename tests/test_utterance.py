"""The record at the border: every row reads back, and a wrong row says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import ManifestError
from osum.utterance import SCHEMA_VERSION, Answer, Segment, Utterance, VocalEvent, Word

seconds = st.floats(0, 1e5)
names = st.text(min_size=1)
words = st.lists(st.builds(Word, st.text(), seconds, seconds, st.none() | st.floats(0, 1))).map(tuple)
answers = st.dictionaries(
    names,
    st.builds(Answer, st.none() | st.text(), st.none() | st.floats(0, 1), raw=st.text(), problems=st.tuples(st.text())),
)
segments = st.lists(st.builds(Segment, seconds, seconds, st.text(), words, answers), max_size=3).map(tuple)
utterances = st.builds(
    Utterance,
    id=names,
    path=names,
    channel=st.sampled_from([None, "mix", 0, 3]),
    start=st.none() | seconds,
    text=st.none() | st.text(),
    words=words,
    labels=st.dictionaries(names, st.text()),
    segments=segments,
    summary=answers,
    warnings=st.tuples(names),
    error=st.none() | names,
    extra=st.just({}) | st.just({"attribution": "someone", "quality": [1, 2]}),
)


@given(utterances)
def test_a_row_reads_back_as_the_same_utterance(utterance: Utterance) -> None:
    row = json.loads(json.dumps(utterance.to_dict()))
    assert Utterance.from_dict(row) == utterance


def test_unknown_fields_are_kept_and_written_back() -> None:
    row = {"id": "a", "path": "a.wav", "version": 1, "attribution": {"by": "someone"}}
    assert Utterance.from_dict(row).extra == {"attribution": {"by": "someone"}}
    assert Utterance.from_dict(row).to_dict() == row


def test_a_foreign_field_never_hides_a_known_one() -> None:
    assert Utterance("a", "a.wav", extra={"path": "other.wav"}).to_dict()["path"] == "a.wav"


def test_a_row_of_two_fields_is_enough_and_its_version_is_written() -> None:
    row = Utterance.from_dict({"id": "a", "path": "a.wav"}).to_dict()
    assert row == {"version": SCHEMA_VERSION, "id": "a", "path": "a.wav"}


def test_an_empty_text_says_that_nothing_was_said() -> None:
    assert Utterance("a", "a.wav", text="").to_dict()["text"] == ""


def test_events_come_back_as_they_were() -> None:
    row = Utterance("a", "a.wav", events=(VocalEvent(0.0, 1.5, "laugh", 0.9), VocalEvent(2.0, 3.0, "cry")))
    assert Utterance.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_a_null_label_means_not_known() -> None:
    assert Utterance.from_dict({"id": "a", "path": "a.wav", "labels": {"age": None}}).labels == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "needs the texts 'id' and 'path'"),
        ({"path": None}, "field 'path' is None"),
        ({"version": 2}, "version is 2"),
        ({"text": 7}, "'text' holds 7"),
        ({"duration": "long"}, "wrong type"),
        ({"words": [{"text": "hi", "start": 0}]}, "without 'end'"),
        ({"words": ["hi"]}, "wrong type"),
        ({"segments": [{"start": 0}]}, "without 'end'"),
        ({"segments": {"start": 0}}, "wrong type"),
        ({"events": [{"start": 0, "end": 1}]}, "without 'event'"),
        ({"events": ["laugh"]}, "wrong type"),
        ({"labels": {"age": 7}}, "'labels' holds 7"),
        ({"labels": ["age"]}, "wrong type"),
        ({"summary": {"SER": "happy"}}, "wrong type"),
        ({"tasks": "ASR"}, "wrong type"),
        ({"warnings": [1]}, "'warnings' holds 1"),
        ({"channel": 1.5}, "wrong type"),
        ({"duration": [1]}, "wrong type"),
    ],
)
def test_a_wrong_row_is_one_line_that_names_the_field(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Utterance.from_dict({"id": "a", "path": "a.wav", **change})
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_copy_changes_only_what_is_named() -> None:
    assert Utterance("a", "a.wav", text="hi").with_(language="en") == Utterance("a", "a.wav", text="hi", language="en")
