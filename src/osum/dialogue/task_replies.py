"""TaskReplies: replies of a model that was not trained to converse, by its task `STTC`: speech in, text out.

Such a model, `nano` among them, is asked about the user's last words alone, with the prompt of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.dialogue.conversation import Messages
from osum.dialogue.talker import Piece, Reply, TextPiece
from osum.errors import InputError
from osum.listening.recognizer import CHAT, Recognizer
from osum.text import join_units


@dataclass(frozen=True)
class TaskReplies:
    """A generator over a recognizer.

    Raises:
        InputError: the model has no such task.
    """

    model: Recognizer

    def __post_init__(self) -> None:
        if CHAT not in self.model.tasks:
            raise InputError(f"{self.model.name} has no task {CHAT}, so it cannot reply: take another model")

    def stream_reply(self, conversation: Messages, options: Any = None, /) -> Iterator[Piece]:  # noqa: ARG002
        """The reply to each clip of the user's last turn, one after the other.

        Raises:
            InputError: the last turn holds no sound.
        """
        last = conversation[-1]["content"]
        clips = [part["audio"] for part in last if part["type"] == "audio"] if isinstance(last, list) else []
        if not clips:
            raise InputError(f"{self.model.name} replies to speech alone: say it, or take a model that converses")
        texts: list[str] = []
        for clip in clips:
            texts.append(self.model.chat((clip, SAMPLE_RATE)).strip())
            if texts[-1]:
                yield TextPiece(" " * (len(texts) > 1) + texts[-1])
        yield Reply(join_units(filter(None, texts)))
