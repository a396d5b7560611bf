"""The same questions decide on silence and on a voice, whichever tasks are asked and however they are decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from engine.tiny_checkpoint import checkpoint_of
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
from osum.utterance import Segment

SAMPLES = Path(__file__).parents[2] / "samples"
SOUNDS = [noise(800 + 40 * (seed % 23), seed) * (1 + seed % 8) for seed in range(200)]
GROUP = 20
NAMES = [task.name for task in OSUM.tasks]
DECODING = (
    GenerationOptions(max_new_tokens=3),
    GenerationOptions(max_new_tokens=2, do_sample=True, seed=3, temperature=2.0),
    GenerationOptions(max_new_tokens=2, num_beams=2),
)
SUBSETS = ("ASR", "VED", "SER", "SSR", "SSR-only", "VED-only", "SER-only")


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


Decided = dict[str, Any]


def decided(
    recognizer: Recognizer, sounds: list[Any], tasks: Sequence[str], options: GenerationOptions
) -> list[Decided]:
    """Whether anything is said in each clip, how probable that is, and which labels are given."""
    rows = recognizer.label(sounds, tasks=list(tasks), generation=options, batch_size=50)
    return [decided_of(recognizer, *row.segments) for row in rows]


def decided_of(recognizer: Recognizer, segment: Segment) -> Decided:
    given = {
        key: answer.label is not None
        for key, answer in segment.labels.items()
        if recognizer.tasks[key.split("/")[0]].label_sets
    }
    return {"no_speech": segment.no_speech, "probability": segment.no_speech_probability, "given": given}


SHOWS = {"voice": "SER-only", "speech": "SSR-only"}
"""What a label needs, to the task whose label is given where it is there."""


@cache
def usual() -> list[Decided]:
    """What is decided where a task of each kind is asked."""
    return decided(moody(), SOUNDS, [*SHOWS.values()], GenerationOptions(max_new_tokens=1))


def check_alike(found: Decided, wanted: Decided) -> None:
    assert found["no_speech"] == wanted["no_speech"]
    assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-2)
    needs = {key: OSUM[key.split("/")[0]].needs for key in found["given"]}
    assert found["given"] == {key: need == "sound" or wanted["given"][SHOWS[need]] for key, need in needs.items()}


@pytest.mark.parametrize(
    ("options", "count"),
    [(DECODING[0], len(SOUNDS)), (DECODING[1], 2 * GROUP), (DECODING[2], 2 * GROUP)],
    ids=["greedy", "sampling", "beams"],
)
def test_what_is_decided_over_hundreds_of_clips_depends_on_no_other_task(
    options: GenerationOptions, count: int
) -> None:
    """Each group of clips is asked a random subset of all tasks."""
    random = Random(7)
    for start in range(0, count, GROUP):
        group = slice(start, start + GROUP)
        names = random.sample(NAMES, random.randint(1, 3))
        for found, wanted in zip(decided(moody(), SOUNDS[group], names, options), usual()[group], strict=True):
            check_alike(found, wanted)


def test_these_clips_show_silence_with_and_without_a_voice_and_speech() -> None:
    shown = Counter((one["no_speech"], one["given"]["SER-only"]) for one in usual())
    assert set(shown) == {(False, True), (True, True), (True, False)} and min(shown.values()) >= 10


@pytest.mark.slow
def test_every_subset_of_tasks_decides_alike_on_real_clips() -> None:
    nano = osum.load("nano", device="cpu", dtype="float32")
    for name in ("laugh_1.flac", "no_voice_rain.flac", "sneeze.flac", "cry_baby.flac", "en_child_girl.flac"):
        (wanted,) = decided(nano, [SAMPLES / name], SUBSETS, GREEDY)
        for size in range(1, len(SUBSETS)):
            for names in combinations(SUBSETS, size):
                check_alike(*decided(nano, [SAMPLES / name], names, GREEDY), wanted)


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
