"""Replies of any model to a conversation: by its dialogue, by a task, or to a free question about a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from osum.dialogue.live import Generator
from osum.dialogue.talker import Piece, Reply, Talker, TextPiece
from osum.dialogue.task_replies import converses
from osum.dialogue.voiced import Voiced
from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import Ask, Request
from osum.errors import InputError
from osum.listening.recognizer import ASK_TOKENS, CHAT, Recognizer
from osum.server.desk import Stop
from osum.server.hearing import RouteHearing
from osum.server.voices import Voices
from osum.utterance import Utterance


def replier(model: Recognizer, voices: Voices, aloud: bool, voice: str | None, stop: Stop) -> Generator:
    """What replies with a model, in text, or aloud where that is wanted.

    Raises:
        ApiError: 501 where nothing is installed that speaks.
    """
    speaks = model.engine.model.config.speech_output and voices.of_codes
    if converses(model):
        talker = Talker(model.engine, *(voices.pick(voice) if speaks else (None, None)))
        return talker if speaks or not aloud else Voiced(talker, voices.of_text())
    writer = ByTask(model, stop)
    return Voiced(writer, voices.of_text()) if aloud else writer


@dataclass(frozen=True)
class ByTask:
    """Replies of a model that was not trained to converse, to the last turn alone.

    A recording alone is replied to by the task `STTC`; with a text, that text is asked about it, word for word.
    """

    model: Recognizer
    stop: Stop

    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Piece]:
        """As `Talker.stream_reply`."""
        content = conversation[-1]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        clips = [part["audio"] for part in parts if part["type"] == "audio"]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text").strip()
        if len(clips) != 1:
            raise InputError(f"{len(clips)} recordings in the last turn: {self.model.name} replies to one at a time")
        how = getattr(options, "generation", None) or GenerationOptions()
        yield from self._asked(clips[0], text, how) if text else self._replied(clips[0], how)

    def _replied(self, clip: Any, how: GenerationOptions) -> Iterator[Piece]:
        options = LabelOptions(tasks=CHAT, generation=how)
        (row,) = self.model.label_clips([(Utterance("audio", "the recording"), clip)], options, RouteHearing(self.stop))
        if row.error is not None:
            raise InputError(row.error)
        text = row.reply or ""
        if text:
            yield TextPiece(text)
        yield Reply(text)

    def _asked(self, clip: Any, question: str, how: GenerationOptions) -> Iterator[Piece]:
        processor = self.model.engine.processor
        if mark := next((m for m in processor.marks if m in question), None):
            raise InputError(f"the text holds {mark!r}, which steers the model: take it out")
        ask = Ask(processor.request(question), how.max_new_tokens or ASK_TOKENS, options=how)
        ids, given = list[int](), ""
        with self.model.engine.submit(Request("ask", (processor.log_mel(clip),), (ask,))) as handle:
            for event in handle:
                self.stop.check()
                ids += event.ids
                whole = event.reply.text if event.reply is not None else processor.decode(ids).rstrip("\ufffd")
                if whole.startswith(given) and len(whole) > len(given):
                    yield TextPiece(whole[len(given) :])
                    given = whole
            (reply,) = handle.result().replies
        yield Reply(reply.text, ended=reply.ended)
