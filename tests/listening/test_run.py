"""The run: one clip or one full memory never costs the others anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from engine.tiny_checkpoint import checkpoint_of
from model.tiny import noise

from osum.engine.options import GenerationOptions, LabelOptions
from osum.errors import InputError, TaskError
from osum.listening.recognizer import Recognizer
from osum.listening.run import asked_of, label_all
from osum.utterance import Utterance

RATE = 16_000
OPTIONS = LabelOptions("ASR,SGC", batch_size=4, generation=GenerationOptions(max_new_tokens=2))
ODD = 0.43
"""Seconds of the clip that is singled out."""


@pytest.fixture
def items(tmp_path: Path) -> list[Utterance]:
    """Eight clips; the third is the odd one."""
    for number in range(8):
        seconds = ODD if number == 2 else 0.1 + 0.01 * number
        soundfile.write(tmp_path / f"{number}.wav", noise(round(seconds * RATE), number), RATE)
    return [Utterance(id=str(number), path=str(tmp_path / f"{number}.wav")) for number in range(8)]


def breaking(fault: Exception, when: Callable[[Sequence[torch.Tensor]], bool]) -> Recognizer:
    """A tiny recognizer whose encoder fails for some batches of log-mel (M, F_i)."""
    recognizer = Recognizer(checkpoint_of("speech_first"))
    encode = recognizer.engine._encode

    def fail(clips: Sequence[torch.Tensor]) -> Any:
        if when(clips):
            raise fault
        return encode(clips)

    recognizer.engine._encode = fail  # type: ignore[method-assign]
    return recognizer


def is_odd(clips: Sequence[torch.Tensor]) -> bool:
    return any(clip.shape[-1] == round(ODD * 100) for clip in clips)


@pytest.mark.parametrize(
    "fault", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_full_memory_makes_batches_smaller_and_is_reported_once(items: list[Utterance], fault: Exception) -> None:
    reported: list[str] = []
    rows = list(label_all(breaking(fault, lambda clips: len(clips) > 1), items, OPTIONS, reported.append))
    assert [(row.id, row.error) for row in rows] == [(item.id, None) for item in items]
    assert reported == ["out of memory on cpu with 4 clips at once: continuing with fewer (--batch-size)"]


def test_a_clip_that_does_not_fit_alone_is_an_error(items: list[Utterance]) -> None:
    rows = list(label_all(breaking(MemoryError(), is_odd), items, OPTIONS, lambda _: None))
    assert [row.id for row in rows] == [item.id for item in items]
    assert [(row.id, "more memory" in (row.error or "")) for row in rows if row.error] == [("2", True)]


def test_a_clip_that_the_model_breaks_on_is_an_error(items: list[Utterance]) -> None:
    rows = list(label_all(breaking(ValueError("two\nlines"), is_odd), items, OPTIONS, lambda _: None))
    assert [row.id for row in rows] == [item.id for item in items]
    (bad,) = [row for row in rows if row.error is not None]
    assert bad.error is not None and bad.error.startswith(f"{items[2].path}: could not be answered (ValueError: two ")
    assert (bad.id, "\n" in bad.error, bad.model) == ("2", False, "tiny")


def test_a_model_that_breaks_on_everything_stops_the_run(items: list[Utterance]) -> None:
    rows = label_all(breaking(ValueError("all"), lambda _: True), items, OPTIONS, lambda _: None)
    with pytest.raises(ValueError, match="all"):
        list(rows)


def test_a_device_without_room_for_one_clip_stops_the_run(items: list[Utterance]) -> None:
    rows = label_all(breaking(MemoryError(), lambda _: True), items, OPTIONS, lambda _: None)
    with pytest.raises(InputError, match="with a single clip"):
        list(rows)


def test_an_unknown_task_is_no_fault_of_a_clip(items: list[Utterance]) -> None:
    with pytest.raises(TaskError):
        list(label_all(Recognizer(checkpoint_of("speech_first")), items, LabelOptions("nonsense"), lambda _: None))


def test_what_changes_no_answer_is_not_asked() -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    asked = asked_of(recognizer, OPTIONS)
    assert asked == asked_of(
        recognizer, LabelOptions(["ASR", "SGC"], batch_size=3, num_workers=2, generation=OPTIONS.generation)
    )


@pytest.mark.parametrize(
    "change", [{"tasks": "ASR"}, {"prompt_language": "zh"}, {"transcript": "given"}, {"min_confidence": 0.5}]
)
def test_what_changes_an_answer_is_asked(change: dict[str, Any]) -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    assert asked_of(recognizer, LabelOptions(**change)) != asked_of(recognizer, LabelOptions())
