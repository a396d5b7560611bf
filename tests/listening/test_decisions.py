"""Typed questions: what answers them, that none depends on another, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import osum
from osum.errors import QuestionError
from osum.listening.decisions import Decision, DecisionPlan, Inquiry, Option, inquiries_of
from osum.listening.recognizer import Recognizer
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance

SAMPLES = Path(__file__).parents[2] / "samples"
LAUGH, RAIN, WORDS = (SAMPLES / name for name in ("laugh_1.flac", "no_voice_rain.flac", "en_word_times.flac"))
QUESTIONS: dict[str, dict[str, Any]] = {
    "laugh": {"type": "noul", "instructions": "event=laugh"},
    "advertisement": {"type": "noul", "instructions": "Is this an advertisement?"},
    "gender": {"type": "choice", "criteria": {"male": None, "female": None}},
    "manner": {"type": "choice", "instructions": "How?", "criteria": {"polite": "kind words", "rude": None}},
    "age": {"type": "score", "criteria": ["child", "adult", "old"]},
    "loud": {"type": "score", "instructions": "How loud?", "criteria": ["10-20 dB", "20-40 dB"]},
}


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return osum.load("nano")


def probabilities(answer: dict[str, Any]) -> list[float]:
    return list(answer["probabilities"].values()) if "probabilities" in answer else [answer["noul"], 1 - answer["noul"]]


def test_each_answer_is_a_distribution_over_its_options(nano: Recognizer) -> None:
    answers = nano.decide(LAUGH, QUESTIONS)
    assert list(answers) == list(QUESTIONS)
    assert [answer["type"] for answer in answers.values()] == [asked["type"] for asked in QUESTIONS.values()]
    for answer in answers.values():
        assert sum(probabilities(answer)) == pytest.approx(1)
        if "confidence" in answer:
            assert answer["confidence"] == max(probabilities(answer))


def test_a_probability_depends_neither_on_the_other_questions_nor_on_their_number(nano: Recognizer) -> None:
    many = QUESTIONS | {f"filler {n}": {"type": "noul", "instructions": f"is it number {n}?"} for n in range(58)}
    together = nano.decide(WORDS, many)
    for name, question in QUESTIONS.items():
        alone = nano.decide(WORDS, {name: question})[name]
        assert probabilities(together[name]) == pytest.approx(probabilities(alone), abs=1e-5)


def test_a_probability_does_not_depend_on_what_else_the_engine_answers(nano: Recognizer) -> None:
    clips = [LAUGH, RAIN, WORDS]
    alone = [nano.decide(clip, QUESTIONS) for clip in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda clip: nano.decide(clip, QUESTIONS), clips))
    for one, other in zip(alone, together, strict=True):
        for name in QUESTIONS:
            assert probabilities(other[name]) == pytest.approx(probabilities(one[name]), abs=1e-5)


def test_our_own_labels_are_answered_as_the_task_answers_them(nano: Recognizer) -> None:
    answer = nano.decide(LAUGH, QUESTIONS)["gender"]
    row = nano.label(LAUGH, tasks="SGC", withhold=False)
    assert answer["probabilities"] == pytest.approx(dict(row.summary["SGC"].distribution or {}), abs=1e-5)
    assert answer["osum"] == {"calibrated": True, "source": "label"}


def test_an_event_is_detected_with_its_stretch(nano: Recognizer) -> None:
    laugh, rain = (nano.decide(clip, QUESTIONS)["laugh"] for clip in (LAUGH, RAIN))
    assert laugh["noul"] > 0.5 > rain["noul"]
    (span,) = laugh["osum"]["spans"]
    assert (span["start"], span["probability"]) == (0, laugh["noul"])
    assert "spans" not in rain["osum"]


def test_labels_that_a_client_brings_are_scored_as_texts(nano: Recognizer) -> None:
    answers = nano.decide(WORDS, QUESTIONS)
    assert all(answers[name]["osum"]["source"] == "open" for name in ("advertisement", "manner", "loud"))
    assert answers["loud"]["osum"]["value"] == pytest.approx(15 + 15 * answers["loud"]["score"])


def test_names_of_a_label_in_other_words_mean_it() -> None:
    plan = DecisionPlan.of([Inquiry("choice", options=(Option("Audiobook"), Option("日常口语")))], OSUM)
    assert plan.ways[0].labels == ("有声书", "日常口语") and plan.ways[0].source == "label"


@pytest.mark.parametrize("name", ["gender", "age"])
def test_a_sensitive_attribute_is_refused_where_that_is_wanted(nano: Recognizer, name: str) -> None:
    asked = {"a": QUESTIONS[name], "b": {"type": "noul", "instructions": f"Is the {name} known?"}}
    assert nano.decide(WORDS, asked, refuse=[name]) == {"a": {"type": "refusal"}, "b": {"type": "refusal"}}
    assert nano.decide(WORDS, {"laugh": QUESTIONS["laugh"]}, refuse=[name])["laugh"]["type"] == "noul"


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"type": "guess"}, "type"),
        ({"type": "choice", "criteria": {"one": None}}, "choices"),
        ({"type": "choice", "criteria": ["a", "b"]}, "criteria"),
        ({"type": "choice", "criteria": {"A b": None, "a_b": None}}, "choices"),
        ({"type": "choice", "criteria": {"<x>": None, "y": None}}, "choices"),
        ({"type": "choice", "criteria": {str(n): None for n in range(256)}}, "choices"),
        ({"type": "score", "criteria": [str(n) for n in range(11)]}, "levels"),
        ({"type": "score", "criteria": ["a", "a"]}, "levels"),
        ({"type": "noul", "criteria": {"maybe": "x"}}, "criteria"),
        ({"type": "noul", "instructions": 7}, "instructions"),
        ({"type": "noul", "instructions": "<|audio|> is it?"}, "instructions"),
    ],
)
def test_a_question_without_an_answer_is_named(nano: Recognizer, question: dict[str, Any], field: str) -> None:
    with pytest.raises(QuestionError) as caught:
        nano.decide(WORDS, {"fine": QUESTIONS["laugh"], "broken": question})
    assert (caught.value.number, caught.value.field) == (1, field)


def test_neighbouring_windows_of_an_event_are_one_span_and_the_surest_counts() -> None:
    def window(start: float, laugh: float) -> Segment:
        found = {"laugh": laugh, "none": 1 - laugh}
        return Segment(start, start + 10, labels={"VED": Answer(distribution=found)})

    segments = tuple(window(10.0 * n, p) for n, p in enumerate((0.1, 0.6, 0.9, 0.2)))
    summary = {"VED": Answer(distribution={"laugh": 0.45, "none": 0.55})}
    plan = DecisionPlan.of(inquiries_of({"x": QUESTIONS["laugh"]}), OSUM)
    (found,) = plan.decisions(Utterance("a", "a", segments=segments, summary=summary))
    assert found.probabilities[0] == 0.9
    assert [(span.start, span.end, span.probability) for span in found.spans] == [(10, 30, 0.9)]


def test_true_and_false_are_two_options_and_the_texts_of_them_are_the_same() -> None:
    Inquiry("choice", options=(Option(True), Option("yes"))).check(0)
    with pytest.raises(QuestionError):
        Inquiry("choice", options=(Option("no"), Option("no"))).check(0)
    assert Decision(Inquiry("predicate", "x")).answer() == {"type": "refusal"}
