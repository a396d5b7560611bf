"""The policy by words: a stand-in writes what was said, since what is tested is what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of
from hypothesis import given
from hypothesis import strategies as st

from osum.dialogue.turn_policy import Evidence
from osum.dialogue.turn_words import LISTENERS, REQUESTS_TO_STOP, ByWords, _phrases, is_all
from osum.errors import InputError
from osum.listening.recognizer import Recognizer
from osum.utterance import Answer, Utterance

OVER = Evidence(CLIPS[0], 0.4, paused=False, over_reply=True)


@dataclass
class Writes:
    """Writes one text and names one event."""

    text: str
    event: str = "none"
    probability: float = 1.0
    name: str = "stand-in"
    tasks: tuple[str, ...] = ("ASR", "VED")
    asked: list[int] = field(default_factory=list)

    def label(self, source: Any, tasks: Any) -> Utterance:
        self.asked.append(len(source[0]))
        answer = Answer(self.event, self.probability)
        return Utterance("clip", "clip.wav", text=self.text, summary={"VED": answer} if "VED" in tasks else {})


def said(text: str, evidence: Evidence = OVER, **more: Any) -> str:
    return ByWords(Writes(text, **more)).judge(evidence).verdict  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["yes", "Mm-hm.", "uh-huh, I see", "yeah yeah", "对", "对对对", "嗯，是的"])
def test_listeners_words_over_a_reply_are_a_backchannel(text: str) -> None:
    assert said(text) == "backchannel"


@pytest.mark.parametrize("text", ["yes but", "no", "right turn", "what", "对不起", "是谁", "okay stop it now please"])
def test_anything_else_interrupts(text: str) -> None:
    assert said(text) == "complete"


@pytest.mark.parametrize("text", ["stop", "Wait!", "hold on", "等一下", "别说了"])
@pytest.mark.parametrize("over_reply", [True, False])
def test_a_request_to_stop_is_no_question(text: str, over_reply: bool) -> None:
    assert said(text, replace(OVER, over_reply=over_reply)) == "wait"


def test_yes_in_silence_is_an_answer_that_waits_for_the_usual_silence() -> None:
    judgement = ByWords(Writes("yes")).judge(replace(OVER, over_reply=False, paused=True))  # type: ignore[arg-type]
    assert (judgement.verdict, judgement.wait, judgement.text) == ("complete", 0.5, "yes")


@pytest.mark.parametrize("over_reply", [True, False])
def test_a_laugh_is_no_turn_and_words_with_a_laugh_are(over_reply: bool) -> None:
    evidence = replace(OVER, over_reply=over_reply)
    assert said("", evidence, event="laugh") == "noise"
    assert said("that is so funny", evidence, event="laugh") == "complete"


def test_an_event_that_is_not_sure_is_judged_by_its_length() -> None:
    assert said("", event="laugh", probability=0.4) == "complete"
    assert said("", replace(OVER, seconds=0.2), event="laugh", probability=0.4) == "noise"


def test_a_short_sound_interrupts_only_with_a_request_to_stop() -> None:
    short = replace(OVER, seconds=0.25, paused=True)
    assert (said("four", short), said("", short), said("stop", short)) == ("noise", "noise", "wait")


def test_long_speech_is_a_turn_without_a_question_to_the_model() -> None:
    model = Writes("mm-hm")
    judgement = ByWords(model).judge(replace(OVER, seconds=2.0))  # type: ignore[arg-type]
    assert judgement.verdict == "complete" and not model.asked


def test_the_model_is_given_no_more_than_the_last_seconds() -> None:
    model = Writes("mm-hm")
    ByWords(model).judge(replace(OVER, samples=np.zeros(400_000, np.float32)))  # type: ignore[arg-type]
    assert model.asked == [3 * 16_000]


def test_a_model_that_cannot_transcribe_is_refused() -> None:
    with pytest.raises(InputError, match="has no task ASR"):
        ByWords(Writes("", tasks=("VED",)))  # type: ignore[arg-type]


def test_a_real_model_is_asked() -> None:
    assert ByWords(Recognizer(checkpoint_of("speech_first"))).judge(OVER).verdict in ("complete", "noise")


@given(st.lists(st.sampled_from([*LISTENERS.split(), *REQUESTS_TO_STOP.split()]), max_size=6))
def test_phrases_of_a_list_are_recognised_in_any_number(phrases: list[str]) -> None:
    listed = _phrases(LISTENERS) | _phrases(REQUESTS_TO_STOP)
    words = [word for phrase in phrases for word in next(iter(_phrases(phrase)))]
    assert is_all(words, listed) == bool(words)
    assert not is_all([*words, "tomorrow"], listed)
