"""The packaged model: one pass over all tasks gives what each task alone gives, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import osum
from osum.audio import load
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, Request
from osum.listening.recognizer import Recognizer

SAMPLES = Path(__file__).parents[2] / "samples"
CLIPS = ("zh_sentence_2.flac", "laugh_1.flac")
LIMIT = 16
"""Ids of an answer; longer ones, such as times, are cut."""


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return osum.load("nano", device="cpu", dtype="float32")


def asks(nano: Recognizer) -> tuple[Ask, ...]:
    request = nano.engine.processor.request
    language = nano.tasks.languages[0]
    return tuple(
        Ask(request(nano.tasks.prompt(task, language)), LIMIT, task, GenerationOptions()) for task in nano.tasks.tasks
    )


def test_one_pass_answers_every_task_as_it_is_answered_alone(nano: Recognizer) -> None:
    engine: Engine = nano.engine
    features = [engine.processor.log_mel(load(SAMPLES / name)) for name in CLIPS]
    together = list(engine.run(Request(name, (clip,), asks(nano)) for name, clip in zip(CLIPS, features, strict=True)))
    singles = [Request(name, (clip,), (ask,)) for name, clip in zip(CLIPS, features, strict=True) for ask in asks(nano)]
    apart = iter([result.replies[0] for result in engine.run(singles, ahead=1)])
    kept, left = set(), set()
    for result in together:
        said = result.replies[0].ids  # ASR leads
        for task, reply in zip(nano.tasks.tasks, result.replies, strict=True):
            alone = next(apart)
            assert (reply.ids, reply.text) == (alone.ids, alone.text)
            for name, values in reply.scores.items():
                assert values == pytest.approx(alone.scores[name], abs=1e-3)
            if reply.drafted:
                (kept if reply.ids[: len(said)] == said else left).add(task.name)
    assert kept and left, "these clips show neither a draft that held nor one that was left"


def test_a_label_comes_with_confidences(nano: Recognizer) -> None:
    (segment,) = nano.label(SAMPLES / "en_child_boy.flac", tasks="ASR,SGC").segments
    assert len(segment.confidences) == len(segment.text.split()) > 0
    assert all(value is not None and 0 < value <= 1 for value in segment.confidences)
    assert torch.tensor(list(segment.labels["SGC"].distribution.values())).sum() == pytest.approx(1)


def test_whether_a_sound_is_a_voice_does_not_hang_on_what_else_is_asked(nano: Recognizer) -> None:
    laugh, rain = SAMPLES / "laugh_1.flac", SAMPLES / "no_voice_rain.flac"
    for clip, voiced in ((laugh, True), (rain, False)):
        alone, together = (nano.label(clip, tasks=tasks).summary["SER"] for tasks in (["SER"], ["SER", "VED"]))
        assert alone.label == together.label and (alone.label is not None) == voiced
        assert alone.distribution == pytest.approx(together.distribution, abs=1e-6)
