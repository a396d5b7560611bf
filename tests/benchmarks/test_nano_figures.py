import numpy as np
import pytest

pytest.importorskip("sklearn")
import nano_figures
from answers import ask, label_of, read_answers, reply_of, write_answers
from figures import QUESTIONS
from nano_figures import report, show, tasks_of

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
        segment = Segment(0, 1, "Two.", words=(WORD,), labels={"SGC": Answer("male"), "LID": Answer("en")})
        return Utterance(id="x", path="-", segments=(segment,))


def read(row):
    return np.full(16000, 0.0 if row.text == "" else 0.1, np.float32)


ROWS = [clip("a"), clip("b", text="three"), clip("c", text="", words=(), language=None, labels={"event": "none"})]


def test_a_clip_is_asked_for_what_is_known_of_it():
    assert tasks_of(clip("a")) == ("ASR", "SRWT", "SGC")
    assert tasks_of(ROWS[2]) == ("ASR", "VED")
    assert tasks_of(clip("d", words=(), labels={}, reply="three")) == ("ASR", "STTC")


def test_clips_with_the_same_tasks_are_asked_together():
    stub = Stub()
    answers = ask(stub, ROWS, read, tasks_of)
    assert set(answers) == {"a", "b", "c"}
    assert sorted(stub.calls) == [(1, ["ASR", "VED"]), (2, ["ASR", "SRWT", "SGC"])]


def test_an_answer_without_segments_has_no_label():
    assert {label_of(question, Utterance(id="x", path="-")) for question in QUESTIONS} == {None}


@pytest.fixture
def found():
    return report(ROWS, ROWS, ask(Stub(), ROWS, read, tasks_of), {})


def test_report_scores_labels_words_and_silence(found):
    scores = {row["question"]: row["scores"]["nano"]["accuracy"]["value"] for row in found["labels"]}
    assert scores == {"SGC": 1.0, "VED": 0.0, "digits": 0.5, "speech": 1.0}


def test_report_scores_transcripts_and_times(found):
    transcript = next(row for row in found["transcripts"] if row["data"] == "recordings")
    assert (transcript["metric"], transcript["nano"]["value"]) == ("wer", 0.5)
    times = found["times"][0]["nano"]
    assert (times["value"], times["coverage"]) == (0.0, 1.0)


def test_report_is_shown_as_tables(found):
    assert show(found, ("source only", "nano")).count("| task |") == 4
    assert show(found, ("source only", "nano")).count("| what |") == 1


def test_kept_answers_give_the_same_report(tmp_path):
    answers = ask(Stub(), ROWS, read, tasks_of)
    write_answers(tmp_path / "a.jsonl", answers)
    assert report(ROWS, ROWS, read_answers(tmp_path / "a.jsonl"), {}) == report(ROWS, ROWS, answers, {})


def test_a_reply_that_was_not_asked_for_is_none():
    segments = (
        Segment(0, 1, labels={"STTC": Answer(None)}),
        Segment(1, 2, reply="three", labels={"STTC": Answer(None)}),
    )
    assert reply_of(Utterance(id="x", path="-", segments=(Segment(0, 1, reply="three"),))) is None
    assert reply_of(Utterance(id="x", path="-", segments=segments)) == "three"


def test_a_failed_clip_is_named_in_the_report():
    answers = {row.id: Utterance(id="x", path="-", error="no samples") for row in ROWS}
    assert nano_figures.report(ROWS, ROWS, answers, {})["failed"] == ["no samples"]
