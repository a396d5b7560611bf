"""The same questions decide on silence and on a voice, whichever tasks are asked and however they are decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.tiny_checkpoint import checkpoint_of
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise, tiny_model
from torch import Tensor, nn

import osum
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import Ask
from osum.listening.asked import GREEDY, Asked
from osum.listening.recognizer import Recognizer
from osum.tasks import OSUM

SAMPLES = Path(__file__).parents[2] / "samples"
SOUNDS = [noise(3_000 + 700 * seed, seed) * (1 + seed) for seed in range(8)]
NAMES = [task.name for task in OSUM.tasks]
DECODING = (
    GenerationOptions(max_new_tokens=3),
    GenerationOptions(max_new_tokens=2, do_sample=True, seed=3, temperature=2.0),
    GenerationOptions(max_new_tokens=2, num_beams=2),
)
SUBSETS = ("ASR", "VED", "SER", "SGC", "SSR", "VED-only", "SER-only")


class Moody(nn.Module):
    """A head whose wish to end, and to name no event, swings with every clip and every question."""

    def __init__(self, head: nn.Module, ids: tuple[int, int]) -> None:
        super().__init__()
        self.head, self.ids = head, ids
        self.directions = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))  # (D, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        logits: Tensor = self.head(hidden)
        logits[..., list(self.ids)] += 12 * torch.sin(60 * hidden @ self.directions)
        return logits


@cache
def moody() -> Recognizer:
    """A tiny recognizer that reports silence in some clips and a voice in some of these."""
    known, model = checkpoint_of("speech_first"), tiny_model("speech_first")
    model.lm_head = Moody(model.lm_head, (known.processor.answer_end_token_id, ord("n")))
    return Recognizer(Checkpoint("tiny", "1", model, known.processor, OSUM))


def decided(recognizer: Recognizer, audio: Any, tasks: Sequence[str], options: GenerationOptions) -> dict[str, Any]:
    """Whether anything is said, how probable that is, and which labels are given."""
    (segment,) = recognizer.label(audio, tasks=list(tasks), generation=options).segments
    given = {
        key: answer.label is not None
        for key, answer in segment.labels.items()
        if recognizer.tasks[key.split("/")[0]].label_sets
    }
    return {"no_speech": segment.no_speech, "probability": segment.no_speech_probability, "given": given}


@cache
def usual(clip: int) -> Mapping[str, Any]:
    """What is decided where every task is asked at once."""
    return decided(moody(), SOUNDS[clip], NAMES, DECODING[0])


def check_alike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    assert found["no_speech"] == wanted["no_speech"]
    assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-2)
    withheld = {key: value for key, value in wanted["given"].items() if key in found["given"]}
    assert found["given"] == withheld


@settings(max_examples=15)
@given(
    clip=st.integers(0, len(SOUNDS) - 1),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    options=st.sampled_from(DECODING),
)
def test_what_is_decided_depends_on_no_other_task(clip: int, names: list[str], options: GenerationOptions) -> None:
    check_alike(decided(moody(), SOUNDS[clip], names, options), usual(clip))


def test_these_clips_show_silence_with_and_without_a_voice_and_speech() -> None:
    shown = {(usual(clip)["no_speech"], usual(clip)["given"]["SER"]) for clip in range(len(SOUNDS))}
    assert shown == {(False, True), (True, True), (True, False)}


@pytest.mark.slow
def test_every_subset_of_tasks_decides_alike_on_real_clips() -> None:
    nano = osum.load("nano", device="cpu", dtype="float32")
    for name in ("laugh_1.flac", "no_voice_rain.flac", "sneeze.flac", "cry_baby.flac", "en_child_girl.flac"):
        wanted = decided(nano, SAMPLES / name, SUBSETS, GREEDY)
        for size in range(1, len(SUBSETS)):
            for names in combinations(SUBSETS, size):
                check_alike(decided(nano, SAMPLES / name, names, GREEDY), wanted)


def asks_of(tasks: str, **options: Any) -> tuple[Ask, ...]:
    asked = Asked.of(OSUM, LabelOptions(tasks, **options))
    return asked.questions(1.0, str, Engine.token_limit).asks


def test_a_question_that_a_task_asks_is_not_asked_twice() -> None:
    assert len(asks_of("ASR,VED-only,SER")) == 3
    assert [ask.task.name if ask.task else None for ask in asks_of("SER")] == ["SER", "VED-only", None]


def test_other_words_and_other_decoding_do_not_decide() -> None:
    assert len(asks_of("ASR,VED-only,SER", prompts={"ASR": "hm?", "VED-only": "what?"})) == 5
    assert len(asks_of("ASR,VED-only,SER", generation=DECODING[1])) == 5


def test_where_nothing_is_withheld_nothing_is_asked_next_to_the_tasks() -> None:
    assert len(asks_of("SER", withhold=False)) == 1
