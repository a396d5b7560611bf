"""`/v1/audio/transcriptions` and `/v1/audio/translations`: a recording in, its text in OpenAI's bodies out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from osum.engine.request import EngineReply, Event
from osum.errors import CancelledError, InputError, TaskError
from osum.listening.answers import join_text
from osum.listening.asked import TRANSCRIBE
from osum.listening.decisions import SENSITIVE
from osum.listening.recognizer import Recognizer
from osum.server import bodies
from osum.server.desk import Stop
from osum.server.events import EventStream
from osum.server.faults import bad
from osum.server.form import Fields, save
from osum.server.hearing import RouteHearing
from osum.server.reading import DecodedSound
from osum.server.service import Service, Used
from osum.server.tokens import speller
from osum.server.wish import Wish
from osum.tasks import Task
from osum.text import is_chinese, normalise_target, repetition
from osum.utterance import Segment, Utterance

router = APIRouter()
TRANSLATE = "S2TT"
"""The task of a checkpoint that writes in English what is said in any language."""
LANGUAGE = "LID"
Put = Callable[[dict[str, Any]], None]


@router.post("/v1/audio/transcriptions")
async def transcriptions(request: Request, service: Used) -> Response:
    """The text of a recording."""
    return await _answer(request, service, translate=False)


@router.post("/v1/audio/translations")
async def translations(request: Request, service: Used) -> Response:
    """The text of a recording in English."""
    return await _answer(request, service, translate=True)


async def _answer(request: Request, service: Service, translate: bool) -> Response:
    fields = await Fields.of(request)
    try:
        name = service.models.check(fields.text("model"))
        job = TranscriptionJob(
            service, name, fields.upload(), Wish.of(fields, translate), request.scope["state"]["log"]
        )
        job.notes["model"] = name
        if job.wish.stream:
            return await EventStream.begun(_closing(fields, service.desk.stream(request, job.stream)))
        said = await service.desk.run(request, job.whole)
    except BaseException:
        await fields.close()
        raise
    await fields.close()
    return said.response(job.wish)


async def _closing(fields: Fields, stream: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """The same stream, with the files of its request dropped behind it."""
    try:
        async for event in stream:
            yield event
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
        await fields.close()


@dataclass(frozen=True)
class TranscribedRecording:
    """What is said in a recording, and how it was decoded."""

    row: Utterance
    replies: tuple[EngineReply, ...]
    """Of the transcript, window by window."""
    spell: bodies.Spell

    def body(self, wish: Wish) -> dict[str, Any]:
        """The JSON body."""
        return (bodies.verbose if wish.detailed else bodies.plain)(self.row, wish, self.replies, self.spell)

    def response(self, wish: Wish) -> Response:
        """The answer in the shape that is wished for."""
        if wish.subtitles:
            kind = "text/vtt" if wish.shape == "vtt" else "application/x-subrip"
            return Response(bodies.subtitles(self.row, wish), media_type=f"{kind}; charset=utf-8")
        if wish.shape == "text":
            return PlainTextResponse(f"{self.row.text or ''}\n")
        return JSONResponse(self.body(wish))


class DecodedCall(RouteHearing):
    """What a call decodes, and whether its client still waits."""

    def __init__(self, stop: Stop, transcript: str) -> None:
        super().__init__(stop)
        self._transcript = transcript
        self.replies: list[EngineReply] = []

    def answered(self, segment: Segment, replies: Mapping[str, EngineReply]) -> None:
        """See `Watch`."""
        del segment
        self.replies.append(replies[self._transcript])


class Growing(DecodedCall):
    """Gives the text piece by piece as it is decoded. What was given is never taken back.

    1. Of the window that is being decoded, all but the last word is given: more ids may change that one.
    2. Behind a window comes the rest of its text. Where that is not what was given (a loop that was decoded again),
       the next window continues behind what was given, and the whole text at the end is the right one.
    """

    def __init__(self, stop: Stop, task: Task, model: Recognizer, put: Put) -> None:
        super().__init__(stop, task.name)
        self._task, self._decode, self._put = task, model.engine.processor.decode, put
        self._ids: list[int] = []
        self._before = ""
        """All that was given before this window."""
        self.given = ""

    def news(self, event: Event) -> None:
        """See `Watch`."""
        if event.ask:
            return
        self._ids += event.ids
        text = normalise_target(self._task.transcript_of(self._decode(self._ids)))
        if not repetition(text):
            self._give(text[: _certain(text)])

    def answered(self, segment: Segment, replies: Mapping[str, EngineReply]) -> None:
        """See `Watch`."""
        super().answered(segment, replies)
        self._give(segment.text)
        self._before, self._ids = self.given, []

    def _give(self, text: str) -> None:
        whole = join_text([self._before, text])
        if whole.startswith(self.given) and len(whole) > len(self.given):
            self._put({"type": "transcript.text.delta", "delta": whole[len(self.given) :]})
            self.given = whole


def _certain(text: str) -> int:
    """How many characters of a text no further ids change: those before its last word, or Chinese character."""
    at = len(text) - 1
    while at > 0 and not (is_chinese(text[at]) or is_chinese(text[at - 1]) or text[at].isspace()):
        at -= 1
    return max(at, 0)


@dataclass
class TranscriptionJob:
    """One recording, and what is wished for."""

    service: Service
    name: str
    upload: UploadFile
    wish: Wish
    notes: dict[str, Any]
    """Of the access log."""

    def whole(self, stop: Stop) -> TranscribedRecording:
        """Everything at once, in the thread that calls."""
        with self.service.models.lease(self.name) as model:
            tasks = self._tasks(model)
            return self._said(model, tasks, DecodedCall(stop, tasks[0].name), stop)

    def stream(self, stop: Stop, put: Put) -> None:
        """Piece by piece, and at the end everything."""
        began = time.monotonic()

        def timed(event: dict[str, Any]) -> None:
            if not seen.given:
                self.service.metrics.first_token.labels(self.name).observe(time.monotonic() - began)
            put(event)

        with self.service.models.lease(self.name) as model:
            tasks = self._tasks(model)
            seen = Growing(stop, tasks[0], model, timed)
            said = self._said(model, tasks, seen, stop)
        body = said.body(self.wish)
        put({"type": "transcript.text.done", **body})

    def _said(self, model: Recognizer, tasks: tuple[Task, ...], seen: DecodedCall, stop: Stop) -> TranscribedRecording:
        with tempfile.TemporaryDirectory(prefix="osum-") as folder:
            sound = self.service.read(save(self.upload, Path(folder) / "audio"), stop)
        timed = self.wish.words or self.wish.subtitles
        item = Utterance(id="audio", path="the recording")
        options = self.wish.options(tuple(task.name for task in tasks), timed)
        try:
            (row,) = model.label_clips([(item, sound.samples)], options, seen)
        except CancelledError:
            raise
        except TaskError as fault:
            raise bad(str(fault), "timestamp_granularities" if timed else "tasks") from fault
        if row.error is not None:
            raise InputError(row.error)
        self._count(sound, seen, stop)
        return TranscribedRecording(
            row.with_(warnings=(*sound.notes, *row.warnings)), tuple(seen.replies), speller(model)
        )

    def _tasks(self, model: Recognizer) -> tuple[Task, ...]:
        """What is asked, the transcript first.

        Raises:
            ApiError: 400 for a task that the model cannot answer, or that this server refuses.
        """
        transcript = TRANSLATE if self.wish.translate else TRANSCRIBE
        if transcript not in model.tasks:
            does = "translate" if self.wish.translate else "transcribe"
            raise bad(f"the model {self.name!r} cannot {does}: use another", "model", "unsupported_model")
        language = (LANGUAGE,) if self.wish.detailed and LANGUAGE in model.tasks else ()
        try:
            asked = model.tasks.select(list(self.wish.tasks))
            found = model.tasks.select([transcript, *self.wish.tasks, *language])
        except TaskError as fault:
            raise bad(str(fault), "tasks") from fault
        if not self.service.options.refuse_sensitive:
            return found
        if "all" not in self.wish.tasks and (refused := next(filter(_is_sensitive, asked), None)):
            raise bad(f"{refused.name}: this server does not answer about {', '.join(sorted(SENSITIVE))}", "tasks",
                      "sensitive_attribute")  # fmt: skip
        return tuple(task for task in found if not _is_sensitive(task))

    def _count(self, sound: DecodedSound, seen: DecodedCall, stop: Stop) -> None:
        stop.check()
        metrics, tokens = self.service.metrics, sum(len(reply.ids) for reply in seen.replies)
        metrics.audio_seconds.labels(self.name).inc(sound.seconds)
        metrics.generation_tokens.labels(self.name).inc(tokens)
        metrics.successes.labels(self.name, "stop").inc()
        self.notes["audio_seconds"] = round(sound.seconds, 2)


def _is_sensitive(task: Task) -> bool:
    return any(labels.name in SENSITIVE for labels in task.label_sets)
