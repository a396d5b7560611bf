"""Records go to JSON and come back as they were; what is none is reported."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.errors import ManifestError
from osum.evaluation.run.prediction import Prediction, Truth
from osum.evaluation.run.predictions import from_line, to_line
from osum.peers.recogniser import Recognition
from osum.records import from_row, to_row
from osum.scoring import Score, WordTimes
from osum.utterance import Word

texts = st.text(st.characters())  # half characters, which stand for stray bytes, too
numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.lists(st.builds(Word, texts, numbers, numbers, st.none() | numbers), max_size=2).map(tuple)
maybe = st.none() | texts
answers = st.builds(
    Recognition,
    raw=texts,
    prompt=maybe,
    text=maybe,
    words=words,
    said=maybe,
    label=maybe,
    distribution=st.none() | st.dictionaries(texts, numbers, max_size=2),
    reply=maybe,
    problems=st.lists(texts, max_size=2).map(tuple),
    error=maybe,
)
predictions = st.builds(
    Prediction,
    id=texts,
    benchmark=texts,
    model=texts,
    truth=st.builds(Truth, maybe, maybe, words, maybe),
    answer=answers,
    path=texts,
    start=st.none() | numbers,
    duration=st.none() | numbers,
    speaker=maybe,
    seconds=st.none() | numbers,
    prompt_index=st.none() | st.integers(0, 4),
    extra=st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(predictions)
def test_a_prediction_comes_back_from_its_line(prediction: Prediction) -> None:
    line = to_line(prediction)
    assert (line.count(b"\n"), from_line(line)) == (1, prediction)


def test_numbers_that_could_not_be_measured_are_null_and_come_back() -> None:
    row = json.loads(json.dumps(to_row(Score("aas", math.nan, 0, math.nan, 1.0)), allow_nan=False))
    assert row["value"] is None
    assert math.isnan(from_row(Score, row).value)


def test_keys_that_are_numbers_come_back_as_numbers() -> None:
    times = WordTimes(1.0, {50: 0.5, 100: 1.0}, (1, 2))
    assert from_row(WordTimes, json.loads(json.dumps(to_row(times)))) == times


GOOD = {"id": "a", "benchmark": "b", "model": "m", "truth": {}, "answer": {}, "path": "a.wav"}


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"truth": None}, "truth is None: an object is needed"),
        ({"answr": {}}, "answr is unknown: did you mean 'answer'?"),
        ({"start": "1"}, "start is '1': a number is needed"),
        ({"start": True}, "start is True: a number is needed"),
        ({"answer": {"words": [{"text": "a", "start": 0.0}]}}, "answer.words[0].end is missing: add it"),
        ({"answer": {"problems": "none"}}, "answer.problems is 'none': a list is needed"),
        ({"answer": {"distribution": {"a": "b"}}}, "answer.distribution.a is 'b': a number is needed"),
        ({"prompt_index": 1.5}, "prompt_index is 1.5: a whole number is needed"),
    ],
)
def test_a_row_that_is_no_prediction_is_reported_by_its_field(change: dict[str, object], reported: str) -> None:
    with pytest.raises(ManifestError) as caught:
        from_row(Prediction, {**GOOD, **change})
    assert str(caught.value) == reported


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_line_that_is_no_object_is_reported(line: bytes) -> None:
    with pytest.raises(ManifestError):
        from_line(line)
