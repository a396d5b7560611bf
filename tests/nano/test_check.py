"""Figures of the validation split: which clips, and what is counted."""

import pytest

from osum.utterance import Answer, Segment, Utterance, Word
from recipes.nano.check import chosen, measure, table


def row(name, **fields):
    extra = {"evidence": "real", **fields.pop("extra", {})}
    return Utterance(**{"id": name, "path": "", "duration": 1.0, "source": "x", **fields, "extra": extra})


TIMED = (Word("hi", 0.0, 0.5), Word("you", 0.5, 1.0))
ROWS = [
    row("a", source="commonvoice-en", text="one two", language="en", labels={"gender": "male", "age": "adult"}),
    row("b", source="commonvoice-zh", text="你好", language="zh", labels={"language": "zh"}),
    row("c", source="speech-commands", text="stop", language="en"),
    row("d", source="noise", text="", labels={"event": "none"}, extra={"kind": "silence"}),
    row("e", text="hi you", language="en", words=TIMED, extra={"times": "pocketsphinx"}),
    row("f", source="commonvoice-en", text="one two", extra={"parts": ["a"]}),
]  # fmt: skip
SAID = {"a": "one too", "b": "你們", "c": "stop", "d": "uh", "e": ""}


def answers(rows, timed):
    made = {}
    for one in rows:
        words = (Word("hi", 0.1, 0.5),) if timed else ()
        summary = {"SGC": Answer("female"), "LID": Answer("zh"), "VED": Answer("none"), "SAP": Answer("adult")}
        segment = Segment(start=0.0, end=1.0, words=words)
        made[one.id] = one.with_(text=SAID[one.id], segments=(segment,), summary=summary)
    return made


@pytest.fixture
def found():
    return measure(chosen(ROWS, 50), answers)


def test_error_rates_are_by_source_and_script_does_not_count(found):
    assert found["Common Voice English"] == {"WER": 50.0, "clips": 1}
    assert found["Mandarin, Common Voice"] == {"CER": 50.0, "clips": 1}
    assert found["Speech Commands"] == {"right": 100.0, "clips": 1}


def test_labels_have_a_mean_recall(found):
    assert found["gender of adults"] == {"right": 0.0, "mean recall": 0.0, "clips": 1}
    assert found["event, no speech"] == {"right": 100.0, "mean recall": 100.0, "clips": 1}


def test_words_in_noise_are_counted(found):
    assert found["noise"] == {"wrong": 100.0, "clips": 1}


def test_times_have_their_share(found):
    assert found["word times"] == {"AAS ms": 50, "share": 50.0, "clips": 1}


def test_fewer_clips_are_the_first_of_more():
    rows = [row(f"{i}", source="commonvoice-en", text="a") for i in range(20)]
    few, many = chosen(rows, 5)["Common Voice English"], chosen(rows, 10)["Common Voice English"]
    assert many[:5] == few and len(many) == 10


def test_the_table_has_a_column_for_each_model(found):
    lines = table({"ours": found, "other": {}}).splitlines()
    assert lines[0] == "| | clips | ours | other |"
    assert "| Common Voice English | 1 | WER 50 | – |" in lines
