import json

import numpy as np
import pytest

pytest.importorskip("sklearn")
import nano_figures
from figures import QUESTIONS
from nano_figures import ask, label_of, report, show, tasks_of, write_answers

from osum.utterance import Answer, Segment, Utterance, Word

WORD = Word("two", 0.1, 0.5)


def clip(name, **changes):
    row = Utterance(
        id=name, path="a", duration=1.0, text="two", language="en", words=(WORD,), labels={"gender": "male"},
        speaker="s", source="fsdd", extra={"evidence": "real", "times": "loudness"},
    )  # fmt: skip
    return row.with_(**changes)


class Stub:
    """Hears "two" by a man in every clip that is not silent."""

    def __init__(self):
        self.calls = []

    def label(self, sources, tasks):
        self.calls.append((len(sources), tasks))
        return [self._answer(samples) for samples, _ in sources]

    def _answer(self, samples):
        if not samples.any():
            return Utterance(id="x", path="-", segments=(Segment(0, 1, no_speech=True),))
        segment = Segment(0, 1, "Two.", (WORD,), {"SGC": Answer("male"), "LID": Answer("en")})
        return Utterance(id="x", path="-", segments=(segment,))


def read(row):
    return np.full(16000, 0.0 if row.text == "" else 0.1, np.float32)


ROWS = [clip("a"), clip("b", text="three"), clip("c", text="", words=(), language=None, labels={"event": "none"})]


def test_a_clip_is_asked_for_what_is_known_of_it():
    assert tasks_of(clip("a")) == ("ASR", "SRWT", "SGC")
    assert tasks_of(ROWS[2]) == ("ASR", "VED")


def test_clips_with_the_same_tasks_are_asked_together():
    stub = Stub()
    answers = ask(stub, ROWS, read)
    assert set(answers) == {"a", "b", "c"}
    assert sorted(stub.calls) == [(1, ["ASR", "VED"]), (2, ["ASR", "SRWT", "SGC"])]


def test_an_answer_without_segments_has_no_label():
    assert {label_of(question, Utterance(id="x", path="-")) for question in QUESTIONS} == {None}


@pytest.fixture
def found():
    return report(ROWS, ROWS, ask(Stub(), ROWS, read), {})


def test_report_scores_labels_words_and_silence(found):
    scores = {row["question"]: row["scores"]["nano"]["accuracy"]["value"] for row in found["labels"]}
    assert scores == {"SGC": 1.0, "VED": 0.0, "digits": 0.5, "speech": 1.0}


def test_report_scores_transcripts_and_times(found):
    transcript = next(row for row in found["transcripts"] if row["data"] == "recordings")
    assert (transcript["metric"], transcript["nano"]["value"]) == ("wer", 0.5)
    times = found["times"][0]["nano"]
    assert (times["value"], times["coverage"]) == (0.0, 1.0)


def test_report_is_shown_as_tables(found):
    assert show(found, ("nano",)).count("| task |") == 4


def test_answers_are_written_under_the_names_of_their_clips(tmp_path):
    write_answers(tmp_path / "a.jsonl", ask(Stub(), ROWS, read))
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in lines} == {"a", "b", "c"}


def test_a_failed_clip_is_named_in_the_report():
    answers = {row.id: Utterance(id="x", path="-", error="no samples") for row in ROWS}
    assert nano_figures.report(ROWS, ROWS, answers, {})["failed"] == ["no samples"]
