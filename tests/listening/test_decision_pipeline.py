"""transformers' own pipeline answers about audio, with the probabilities of `Recognizer.decide`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

import osum
from osum.errors import InputError
from osum.listening.decision_pipeline import OsumForDecision
from osum.listening.recognizer import Recognizer

LAUGH = Path(__file__).parents[2] / "samples" / "laugh_1.flac"
QUESTIONS: dict[str, Any] = {
    "laugh": {"type": "noul", "instructions": "laugh"},
    "who": {"type": "choice", "criteria": {"female": None, "male": None}},
    "age": {"type": "score", "criteria": ["child", "adult", "old"]},
    "polite": {"type": "choice", "instructions": "Which is it?", "criteria": {"polite": None, "rude": "with insults"}},
}


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return osum.load("nano", device="cpu")


@pytest.fixture(scope="module")
def decide(nano: Recognizer) -> Any:
    return pipeline("decision", model=OsumForDecision(nano), tokenizer=nano.engine.processor.tokenizer)


def test_the_pipeline_has_the_probabilities_of_the_model(decide: Any, nano: Recognizer) -> None:
    answers = decide({"state": "a call", "questions": QUESTIONS, "assets": {"clip": str(LAUGH)}})
    wanted = nano.decide(LAUGH, QUESTIONS, "a call")
    assert list(answers) == list(QUESTIONS)
    assert answers["laugh"]["noul"] == pytest.approx(wanted["laugh"]["noul"], abs=1e-6)
    assert answers["age"]["score"] == pytest.approx(wanted["age"]["score"], abs=1e-6)
    for name in ("who", "age", "polite"):
        assert answers[name]["probabilities"] == pytest.approx(wanted[name]["probabilities"], abs=1e-6)
    assert answers["who"]["choice"] == wanted["who"]["choice"]


def test_a_recording_as_an_asset_of_system_one_is_answered_alike(decide: Any) -> None:
    asked = {"state": "clip", "questions": {"laugh": QUESTIONS["laugh"]}}
    data = {"type": "audio", "format": "flac", "data_base64": base64.b64encode(LAUGH.read_bytes()).decode()}
    assert decide({**asked, "assets": {"clip": data}}) == decide({**asked, "assets": {"clip": LAUGH}})


@pytest.mark.parametrize("assets", [None, {}, {"a": "x.wav", "b": "y.wav"}, {"a": {"data_base64": "%"}}])
def test_anything_but_one_recording_is_refused(decide: Any, assets: Any) -> None:
    with pytest.raises(InputError):
        decide({"state": "", "questions": QUESTIONS, "assets": assets})
