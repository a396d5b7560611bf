"""A recogniser as a transcriber: one text for each window, whatever breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from osum.errors import TaskError
from osum.listening.transcripts import Transcript, TranscriptWindow
from osum.peers.recogniser import Question, Recognition
from osum.peers.transcriber import ByRecogniser
from osum.utterance import Utterance


class Writer:
    """Writes the name of a clip and where it begins; breaks on batches that hold `broken`."""

    name, tasks = "writer", frozenset({"ASR"})

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        assert question == Question("ASR")
        for clip in clips:
            if clip.id == "broken":
                raise RuntimeError("CUDA out\nof memory")
            failed = "unread" if clip.id == "unread" else None
            yield Recognition(text=f"<|en|> It's {clip.id}, at {clip.start}.", error=failed)

    def prompts(self, task: str) -> tuple[str, ...]:
        raise NotImplementedError(task)

    def describe(self) -> Mapping[str, Any]:
        return {"revision": "1"}


def window(name: str, start: float = 0.0, whole: bool = True) -> TranscriptWindow:
    return TranscriptWindow(Utterance(name, f"{name}.wav"), start, start + 1, whole)


def test_windows_are_transcribed_in_the_spelling_of_training_texts() -> None:
    writer = ByRecogniser(Writer())
    assert writer([window("a"), window("b", 2.0, whole=False), window("unread")]) == [
        Transcript("en it's a at none"),
        Transcript("en it's b at 2 0"),
        Transcript("en it's unread at none", "unread"),
    ]
    assert (writer.name, writer.describe()) == ("writer", {"revision": "1"})


def test_a_window_that_breaks_the_model_costs_the_others_of_its_batch_nothing() -> None:
    first, second, third = ByRecogniser(Writer())([window("a"), window("broken"), window("c")])
    assert (first.error, third.error) == (None, None)
    assert second.error == "broken.wav: could not be transcribed by writer (RuntimeError: CUDA out of memory)"


def test_who_writes_no_transcripts_is_refused() -> None:
    writer = Writer()
    writer.tasks = frozenset({"SER"})
    with pytest.raises(TaskError, match="writer writes no transcripts: it answers SER"):
        ByRecogniser(writer)
