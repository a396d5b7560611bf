"""`/v1/audio/speech`: a text aloud, by models that speak (serving.md 2)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from osum.dialogue.modes import SPEAK
from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Talker
from osum.errors import InputError
from osum.server.body import json_of, record
from osum.server.desk import Stop
from osum.server.events import EventStream
from osum.server.faults import bad
from osum.server.form import checked
from osum.server.service import Used
from osum.server.voices import FORMATS, MEDIA_TYPES, encoded

router = APIRouter()
MAX_SPOKEN = 4096  # characters


@dataclass(frozen=True)
class SpeechRequest:
    """The body of `/v1/audio/speech`; what is not named here changes nothing."""

    model: str
    input: str
    voice: str | dict[str, Any] = ""
    response_format: str = "mp3"
    speed: float = 1.0
    stream_format: str = "audio"
    seed: int | None = None

    @property
    def voice_name(self) -> str:
        """Whom it is spoken as."""
        return str(self.voice.get("id", "")) if isinstance(self.voice, dict) else self.voice

    def check(self) -> None:
        """Refuse what cannot be spoken.

        Raises:
            ApiError: 400, with the parameter.
        """
        if not 1 <= len(self.input.strip()) <= MAX_SPOKEN:
            raise bad(f"input has {len(self.input)} characters: give 1 to {MAX_SPOKEN}", "input")
        checked(self.response_format, "response_format", FORMATS[:-1])
        checked(self.stream_format, "stream_format", ("audio", "sse"))
        if self.speed != 1:
            raise bad(f"speed is {self.speed:g}: these voices speak at 1", "speed", "unsupported_value")


@router.post("/v1/audio/speech")
async def speech(request: Request, service: Used) -> Response:
    """A text aloud; `pcm` and server-sent events as it is spoken, other formats whole."""
    asked = record(SpeechRequest, await json_of(request))
    service.models.check(asked.model)
    asked.check()

    def spoken(stop: Stop) -> Iterator[AudioPiece]:
        with service.models.lease(asked.model) as model:
            if not (model.engine.model.config.speech_output and service.voices.of_codes):
                raise bad(f"the model {asked.model!r} does not speak here: start the server with --codec and --voices "
                          "and a model with a speech head", "model", "unsupported_model")  # fmt: skip
            options = TalkOptions(generation=replace(SPEAK.options, seed=asked.seed))
            for piece in Talker(model.engine, *service.voices.pick(asked.voice_name)).speak(asked.input, options):
                stop.check()
                yield piece

    def stream(stop: Stop, put: Callable[[bytes], None]) -> None:
        for piece in spoken(stop):
            put(encoded(piece.samples, piece.sampling_rate, "pcm"))

    def whole(stop: Stop) -> bytes:
        pieces = list(spoken(stop))
        if not pieces:
            raise InputError("the model said nothing: try another text")
        return encoded(np.concatenate([p.samples for p in pieces]), pieces[0].sampling_rate, asked.response_format)

    if asked.stream_format == "sse":
        return await EventStream.begun(_speech_events(service.desk.stream(request, stream)))
    if asked.response_format == "pcm":
        pieces = service.desk.stream(request, stream)
        first = await anext(pieces, b"")
        return StreamingResponse(_behind(first, pieces), media_type=MEDIA_TYPES["pcm"])
    return Response(await service.desk.run(request, whole), media_type=MEDIA_TYPES[asked.response_format])


async def _behind(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _speech_events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    async for piece in pieces:
        yield {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
    yield {"type": "speech.audio.done", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
