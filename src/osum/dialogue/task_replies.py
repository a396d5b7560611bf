"""TaskReplies: replies of a model that was not trained to converse, by its task `STTC`: speech in, text out.

Such a model, `nano` among them, is asked about the user's last words alone, with the prompt of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.dialogue.conversation import Messages
from osum.dialogue.talker import Piece, Reply, Samples, TextPiece
from osum.dialogue.thought import Thought
from osum.dialogue.writing import BROKEN
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, Request
from osum.errors import InputError
from osum.listening.recognizer import CHAT, Recognizer
from osum.text import join_units


def converses(model: Recognizer) -> bool:
    """Whether a model was trained to converse; others reply to one recording at a time."""
    return model.engine.model.config.layout == "chatml" or CHAT not in model.tasks


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
        """The reply to each clip of the user's last turn, one after the other; what was recognised is the thought.

        Raises:
            InputError: the last turn holds no sound.
        """
        last = conversation[-1]["content"]
        clips = [part["audio"] for part in last if part["type"] == "audio"] if isinstance(last, list) else []
        if not clips:
            raise InputError(f"{self.model.name} replies to speech alone: say it, or take a model that converses")
        whole, recognised = "", list[str]()
        for clip in clips:
            before = whole
            for text in self._reply(clip, recognised):
                more = join_units([before, text])[len(before) :] if before and whole == before else text
                whole += more
                yield TextPiece(more)
        yield Reply(whole.strip(), thought=Thought(words=join_units(recognised)))

    def _reply(self, clip: Samples, recognised: list[str]) -> Iterator[str]:
        """The reply to one clip, as it is decoded, its words in `recognised`; leaving the loop ends the request."""
        engine, task = self.model.engine, self.model.tasks[CHAT]
        sound = clip[-int(self.model.max_seconds * SAMPLE_RATE) :]
        limit = engine.token_limit(task, len(sound) / SAMPLE_RATE, GenerationOptions())
        ask = Ask(engine.processor.request(self.model.prompts(CHAT)[0]), limit, task)
        ids: list[int] = []
        given = ""
        with engine.submit(Request("reply", (engine.processor.log_mel(sound),), (ask,))) as handle:
            for event in handle:
                ids += event.ids
                raw = engine.processor.decode(ids) if event.reply is None else event.reply.text
                text = self._certain(raw, last=event.reply is not None)
                if text.startswith(given) and text != given:
                    yield text[len(given) :]
                    given = text
                if event.reply is not None:
                    recognised.append(self.model.tasks[CHAT].parse(raw).text or "")

    def _certain(self, raw: str, last: bool) -> str:
        """What is behind the separator so far, without what may yet become another character or tag."""
        if not last:
            raw = raw.rstrip(BROKEN)
            raw = raw[: raw.rfind("<")] if raw.rfind("<") > raw.rfind(">") else raw
            raw = raw.rstrip()
        return self.model.tasks[CHAT].parse(raw).reply or ""
