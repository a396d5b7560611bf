"""`/v1/audio/transcriptions` and `/v1/audio/translations`: a recording in, its text in OpenAI's bodies out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from osum.engine.options import LabelOptions
from osum.errors import AudioError, InputError
from osum.listening.watch import Watch
from osum.server.desk import Stop
from osum.server.faults import ApiError
from osum.server.form import Fields, save
from osum.server.reading import TOO_LONG, Readers, Sound
from osum.server.service import Used
from osum.utterance import Utterance

router = APIRouter()


class Stopping(Watch):
    """Ends a call when its client has left."""

    def __init__(self, stop: Stop) -> None:
        self.stopped = stop  # type: ignore[method-assign]


@router.post("/v1/audio/transcriptions")
async def transcriptions(request: Request, service: Used) -> Response:
    """The text of a recording."""
    fields = await Fields.of(request)
    try:
        name = service.models.check(fields.text("model"))
        upload = fields.upload()
        shape = fields.one_of("response_format", ("json", "text"), "json")

        def work(stop: Stop) -> Utterance:
            with tempfile.TemporaryDirectory(prefix="osum-") as folder, service.models.lease(name) as model:
                sound = read(service.readers, save(upload, Path(folder) / "audio"), stop)
                item = Utterance(id="audio", path="audio")
                (row,) = model.label_clips([(item, sound.samples)], LabelOptions(tasks="ASR"), Stopping(stop))
            if row.error is not None:
                raise InputError(row.error)
            return row

        row = await service.desk.run(request, work)
    finally:
        await fields.close()
    if shape == "text":
        return PlainTextResponse(f"{row.text}\n")
    return JSONResponse({"text": row.text, "usage": {"type": "duration", "seconds": row.duration}})


def read(readers: Readers, place: Path, stop: Stop) -> Sound:
    """What is in a file.

    Raises:
        ApiError: 413 for a recording that is too long, 415 for what cannot be decoded.
    """
    try:
        return readers.read(place, stop)
    except AudioError as fault:
        if fault.kind == TOO_LONG:
            raise ApiError(413, str(fault), "file", "audio_too_long") from fault
        raise
