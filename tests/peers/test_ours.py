"""Ours as a recogniser: asked in the given words, answers in order, errors in their place, times of the file."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import checkpoint_of
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import PackedWriter, to_int16
from osum.engine.options import GenerationOptions
from osum.engine.request import EngineReply, Result
from osum.errors import TaskError
from osum.listening.recognizer import Recognizer
from osum.peers.ours import Ours
from osum.peers.recogniser import Question
from osum.tasks import OSUM
from osum.utterance import Utterance

PROMPT = "which of these is heard?"


@pytest.fixture(scope="module")
def ours() -> Ours:
    return Ours(Recognizer(checkpoint_of("speech_first")), batch_size=2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Noise: a file, one that is missing, a stretch, and a packed row of the stretch's samples."""
    folder = tmp_path_factory.mktemp("clips")
    samples = to_int16(noise(3 * SAMPLE_RATE // 2))
    soundfile.write(folder / "a.wav", samples, SAMPLE_RATE)
    with PackedWriter(folder / "audio.i16") as packed:
        packed.append(samples[:8_000])
        place = packed.append(samples[8_000:16_000])
    path = str(folder / "a.wav")
    return [
        Utterance("whole", path),
        Utterance("missing", str(folder / "b.wav")),
        Utterance("stretch", path, start=0.5, end=1.0),
        Utterance("packed", str(folder / "audio.i16"), extra=place),
        Utterance("last", str(folder / "b.wav")),
    ]


def test_answers_come_in_order_with_errors_in_their_place(ours: Ours, clips: list[Utterance]) -> None:
    answers = list(ours.recognise(clips, Question("SER-only")))
    assert [answer.error is None for answer in answers] == [True, False, True, True, False]
    assert "b.wav" in (answers[1].error or "") and answers[1].raw == ""


def test_an_answer_holds_what_was_said_next_to_what_is_likeliest(ours: Ours, clips: list[Utterance]) -> None:
    task = OSUM["SER-only"]
    (answer,) = ours.recognise(clips[:1], Question(task.name))
    assert answer.prompt == OSUM.prompt(task, "en") and answer.distribution is not None
    assert answer.label == max(answer.distribution, key=answer.distribution.__getitem__)
    assert answer.raw and answer.said == task.parse(answer.raw).labels["emotion"]
    assert (answer.text, answer.words, answer.reply) == (None, (), None)


def test_a_packed_row_is_answered_as_the_stretch_of_the_file(ours: Ours, clips: list[Utterance]) -> None:
    stretch, packed = ours.recognise(clips[2:4], Question("ASR"))
    assert stretch == packed and stretch.text is not None


def test_the_batch_changes_no_answer(ours: Ours, clips: list[Utterance]) -> None:
    together = list(ours.recognise(clips, Question("VED-only")))
    alone = [answer for clip in clips for answer in ours.recognise([clip], Question("VED-only"))]
    for one, other in zip(together, alone, strict=True):
        assert (one.raw, one.said, one.label, one.error) == (other.raw, other.said, other.label, other.error)
        if one.distribution and other.distribution:
            assert np.allclose(list(one.distribution.values()), list(other.distribution.values()), atol=1e-4)


def test_a_prompt_is_taken_as_it_is(ours: Ours, clips: list[Utterance]) -> None:
    asked, usual = (next(ours.recognise(clips[:1], Question("SER-only", prompt))) for prompt in (PROMPT, None))
    samples = soundfile.read(clips[0].path, dtype="float32")[0]
    limit = ours.recognizer.engine.token_limit(OSUM["SER-only"], len(samples) / SAMPLE_RATE, GenerationOptions())
    assert asked.prompt == PROMPT and asked.raw == ours.recognizer.ask(
        samples, PROMPT, GenerationOptions(max_new_tokens=limit)
    )
    assert asked.distribution != usual.distribution
    assert usual.prompt == ours.prompts("SER-only")[0] and len(set(ours.prompts("SER-only"))) > 1


def test_words_have_times_of_the_file(ours: Ours, clips: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    reply = EngineReply("<0.10>a<0.2><0.20>b<0.5>", ())
    monkeypatch.setattr(ours.recognizer.engine, "run", lambda requests, **_: (Result(0, (reply,)) for _ in requests))
    (answer,) = ours.recognise(clips[2:3], Question("SRWT"))
    assert [(word.text, word.start, word.end) for word in answer.words] == [("a", 0.6, 0.7), ("b", 0.7, 1.0)]


def test_a_task_that_is_not_answered_is_reported(ours: Ours, clips: list[Utterance]) -> None:
    with pytest.raises(TaskError, match=r"tiny does not answer 'SERR': did you mean 'SER'\? it answers ASR, LID"):
        next(ours.recognise(clips, Question("SERR")))


def test_a_description_has_revision_and_versions(ours: Ours) -> None:
    reported = ours.describe()
    assert (reported["model"], reported["revision"], reported["device"], reported["dtype"]) == (
        "tiny",
        "1",
        "cpu",
        "float32",
    )
    assert {"osum", "torch", "transformers"} <= reported["versions"].keys()


def test_a_temperature_makes_it_another_model(ours: Ours) -> None:
    warmer = copy(ours.recognizer)
    warmer.tasks = warmer.tasks.with_task(replace(warmer.tasks["SGC"], temperature=2.0))
    reported = Ours(warmer).describe()
    assert (reported["revision"], reported["tasks"] != ours.describe()["tasks"]) == ("1", True)


@pytest.mark.parametrize(
    ("folder", "name"), [("mine/best", "mine/best"), ("mine/step-20", "mine/step-20"), ("exports/mine", "mine")]
)
def test_checkpoints_of_two_runs_have_two_names(ours: Ours, tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    recognizer = copy(ours.recognizer)
    recognizer.name = str(tmp_path / folder)
    assert Ours(recognizer).name == name
