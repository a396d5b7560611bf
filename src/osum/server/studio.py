"""The studio: one page in the browser, and the requests that it makes.

Thin: sound is decoded, places are given and models are lent as for every other route. A row that the page labels is the
row that `osum label` writes, so that what it shows and what it downloads is one thing.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from osum.audio import SAMPLE_RATE
from osum.corpus.sound_file import wav
from osum.dialogue.options import TalkOptions, Thinking
from osum.dialogue.talker import Reply, TextPiece, ThoughtPiece
from osum.dialogue.task_replies import converses
from osum.engine.options import LabelOptions
from osum.errors import InputError
from osum.listening.decisions import SENSITIVE
from osum.listening.recognizer import Recognizer
from osum.records import from_row
from osum.results.formats import FORMATS, format_named, render_jsonl, to_row
from osum.results.parquet import Parquet
from osum.results.view import labels_of, one_line
from osum.server.desk import Stop
from osum.server.faults import api_error, bad
from osum.server.form import Fields, save
from osum.server.hearing import RouteHearing
from osum.server.reading import Samples
from osum.server.replies import replier
from osum.server.service import Service, Used
from osum.utterance import Utterance

router = APIRouter(prefix="/studio")
STATIC = Path(__file__).parent / "static"
PARQUET = "parquet"
NONCE = 'content="NONCE"'
"""Where the page holds the word by which its own style sheets are known; wavesurfer brings one."""
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
    "media-src 'self' blob: data:; connect-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
CUES = ("age", "gender", "emotion", "event")
REPLY_TASKS = ("STTC", "ASR", "VED", "SER", "SGC", "SAP")
"""What a model that is no dialogue model is asked about a spoken turn."""
MAX_NAME = 120  # characters of a file's name


class Static(StaticFiles):
    """Files of the page, asked for anew each time: a page of one version never meets the scripts of another."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As the base class, with one header."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_files(app: FastAPI) -> None:
    """Add the files of the page, which the router cannot hold."""
    app.mount("/studio/static", Static(directory=STATIC), "studio")


@router.get("")
async def page() -> HTMLResponse:
    """The page itself."""
    nonce = secrets.token_urlsafe(16)
    html = (STATIC / "index.html").read_text("utf8").replace(NONCE, f'content="{nonce}"')
    return HTMLResponse(html, headers={**HEADERS, "Content-Security-Policy": POLICY.format(nonce=nonce)})


@router.get("/api/state")
async def state(service: Used) -> dict[str, Any]:
    """What the page has to know before anything is asked."""
    return {
        "models": [{"name": name} for name in service.models.names],
        "formats": [*FORMATS, PARQUET],
        "max_seconds": service.options.max_audio_seconds,
        "review": service.options.review is not None,
    }


@router.get("/api/model")
async def about_model(name: str, request: Request, service: Used) -> dict[str, Any]:
    """The tasks of a model, which is loaded by this."""
    service.models.check(name)

    def work(_: Stop) -> dict[str, Any]:
        with service.models.lease(name) as model:
            return _about(model, allowed(service, model, "all"))

    return await service.desk.run(request, work)


def _about(model: Recognizer, main: Sequence[str]) -> dict[str, Any]:
    sets = model.tasks.label_sets.values()
    return {
        "tasks": [
            {
                "name": task.name,
                "title": task.title,
                "sets": [each.name for each in task.label_sets],
                "main": task.name in main,
            }
            for task in model.tasks.tasks
        ],
        "titles": {label: each.title(label) for each in sets for label in each.labels},
        "dialogue": converses(model),
    }


def allowed(service: Service, model: Recognizer, names: str | Sequence[str]) -> list[str]:
    """The tasks of some names, less those about gender, age or emotion where this server answers none of these.

    Raises:
        TaskError: an unknown task.
        ApiError: nothing is left.
    """
    refused = SENSITIVE if service.options.refuse_sensitive else frozenset[str]()
    tasks = model.tasks.select(names)
    found = [task.name for task in tasks if not any(labels.name in refused for labels in task.label_sets)]
    if not found:
        raise bad(f"this server does not answer about {', '.join(sorted(SENSITIVE))}: ask something else", "tasks")
    return found


# Labelling


@dataclass(frozen=True)
class _Clip:
    """A recording that the page sent, decoded."""

    item: Utterance
    samples: Samples
    """(S,) at 16 kHz."""


@router.post("/api/label")
async def label(request: Request, service: Used) -> JSONResponse:
    """The row of a recording, as `osum label` writes it, and its labels as lanes of time."""

    def work(clip: _Clip, model: Recognizer, stop: Stop, fields: Fields) -> dict[str, Any]:
        options = LabelOptions(tasks=allowed(service, model, fields.all("tasks") or "all"))
        (row,) = model.label_clips([(clip.item, clip.samples)], options, RouteHearing(stop))
        if row.error is not None:
            raise InputError(row.error)
        return {"row": to_row(row), "lanes": lanes_of(row)}

    return JSONResponse(await _about_clip(request, service, work))


def lanes_of(row: Utterance) -> list[dict[str, Any]]:
    """Label column to the stretches of a recording that have a label, in the order of columns."""
    lanes: dict[str, list[dict[str, Any]]] = {}
    for number, segment in enumerate(row.segments):
        for column, answer in labels_of(segment).items():
            if answer.label is not None:
                stretch = {"start": segment.start, "end": segment.end, "segment": number}
                shown = {"label": answer.label, "probability": answer.probability, "evidence": answer.evidence}
                lanes.setdefault(column, []).append({**stretch, **shown})
    return [{"name": column, "items": items} for column, items in lanes.items()]


@router.post("/api/ask")
async def ask(request: Request, service: Used) -> JSONResponse:
    """The answer to a free question about a recording; the question is the prompt, word for word."""

    def work(clip: _Clip, model: Recognizer, _: Stop, fields: Fields) -> dict[str, Any]:
        question = fields.text("question")
        if question is None:
            raise bad("no question: write what you want to know", "question")
        answer = model.ask((clip.samples, SAMPLE_RATE), question)
        return {"prompt": question, "answer": answer, "model": model.name}

    return JSONResponse(await _about_clip(request, service, work))


@router.post("/api/sound")
async def sound(request: Request, service: Used) -> Response:
    """A recording that the browser cannot decode, as wav."""
    fields = await Fields.of(request)
    try:
        return wav_response(await service.desk.run(request, lambda stop: _clip(service, fields, stop).samples))
    finally:
        await fields.close()


async def _about_clip(
    request: Request, service: Service, work: Callable[[_Clip, Recognizer, Stop, Fields], dict[str, Any]]
) -> dict[str, Any]:
    fields = await Fields.of(request)
    try:
        name = service.models.check(fields.text("model"))

        def with_model(stop: Stop) -> dict[str, Any]:
            clip = _clip(service, fields, stop)
            with service.models.lease(name) as model:
                return work(clip, model, stop, fields)

        return await service.desk.run(request, with_model)
    finally:
        await fields.close()


def _clip(service: Service, fields: Fields, stop: Stop, part: str = "file") -> _Clip:
    upload = fields.upload(part)
    name = one_line(PurePath(upload.filename or "recording").name)[:MAX_NAME] or "recording"
    with tempfile.TemporaryDirectory(prefix="osum-") as folder:
        samples = service.read(save(upload, Path(folder) / "audio"), stop).samples
    return _Clip(Utterance(id=PurePath(name).stem, path=name), samples)


def wav_response(samples: Samples) -> Response:
    """Samples (S,) at 16 kHz as an answer."""
    return Response(wav(samples), media_type="audio/wav", headers={"Cache-Control": "no-store"})


# Downloads


@router.post("/api/export")
async def export(request: Request) -> Response:
    """A row in one of the formats of `osum label`."""
    body = await json_of(request)
    name, row = body.get("format"), body.get("row")
    if not isinstance(name, str) or not isinstance(row, dict):
        raise bad("export needs 'format', a name, and 'row', an object")
    utterance = Utterance.from_dict(row)
    if name == PARQUET:
        out = io.BytesIO()
        Parquet().write(lambda: iter([render_jsonl(utterance).encode()]), out)
        return _download(utterance, out.getvalue(), ".parquet")
    known = format_named(name)
    return _download(utterance, known.render(utterance).encode(errors="backslashreplace"), known.suffix)


def _download(utterance: Utterance, content: bytes, suffix: str) -> Response:
    name = quote(f"{PurePath(utterance.path).stem}{suffix}", errors="replace")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "X-Suffix": suffix}
    return Response(content, media_type="application/octet-stream", headers=headers)


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        ApiError: it is none.
    """
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise bad("the body is no JSON object: send one")
    return found


# Talking


@dataclass(frozen=True)
class TalkTurn:
    """What one side said."""

    role: str
    text: str = ""
    sound: str | None = None
    """Name of the part that holds the recording."""


@dataclass(frozen=True)
class TalkRequest:
    """A conversation that ends with the user's turn."""

    model: str
    turns: tuple[TalkTurn, ...]
    thinking: Thinking = "off"


@router.post("/api/talk")
async def talk(request: Request, service: Used) -> StreamingResponse:
    """The reply to a conversation, in lines of JSON: pieces of its thought and text as they come, then the whole."""
    fields = await Fields.of(request)
    try:
        asked = _talk_request(fields)
        name = service.models.check(asked.model)
    except Exception:
        await fields.close()
        raise

    def work(stop: Stop, put: Callable[[dict[str, Any]], None]) -> None:
        sounds = {turn.sound: _clip(service, fields, stop, turn.sound) for turn in asked.turns if turn.sound}
        with service.models.lease(name) as model:
            for piece in _replies(service, model, asked, sounds, stop):
                put(piece)
                stop.check()

    async def body() -> AsyncIterator[str]:
        try:
            async for piece in service.desk.stream(request, work):
                yield f"{json.dumps(piece, ensure_ascii=False)}\n"
        except Exception as fault:
            yield f"{json.dumps(api_error(fault).body())}\n"
        finally:
            await fields.close()

    return StreamingResponse(body(), media_type="application/x-ndjson")


def _talk_request(fields: Fields) -> TalkRequest:
    try:
        return from_row(TalkRequest, json.loads(fields.text("request") or "null"))
    except (ValueError, RecursionError) as fault:
        raise bad("the part 'request' is no JSON", "request") from fault


def _replies(
    service: Service, model: Recognizer, asked: TalkRequest, sounds: Mapping[str, _Clip], stop: Stop
) -> Iterator[dict[str, Any]]:
    if converses(model):
        yield from _talked(service, model, asked, sounds, stop)
        return
    clip = sounds.get(asked.turns[-1].sound or "") if asked.turns else None
    if clip is None:
        raise InputError(f"{model.name} answers recorded turns alone: record what you want to say")
    tasks = allowed(service, model, [name for name in REPLY_TASKS if name in model.tasks])
    (row,) = model.label_clips([(clip.item, clip.samples)], LabelOptions(tasks=tasks), RouteHearing(stop))
    if row.error is not None:
        raise InputError(row.error)
    cues = {name: row.labels[name] for name in CUES if row.labels.get(name, "none") != "none"}
    yield {"reply": {"text": row.reply or "", "thought": "", "cues": cues, "heard": row.text, "ended": True}}


def _talked(
    service: Service, model: Recognizer, asked: TalkRequest, sounds: Mapping[str, _Clip], stop: Stop
) -> Iterator[dict[str, Any]]:
    """The reply of a model that converses, aloud where it speaks and the server has a voice for its codes."""
    aloud = model.engine.model.config.speech_output and service.voices.of_codes
    talker = replier(model, service.voices, aloud, None, stop)
    messages = [_message(turn, sounds) for turn in asked.turns]
    for piece in talker.stream_reply(messages, TalkOptions(thinking=asked.thinking)):
        match piece:
            case ThoughtPiece():
                yield {"thought": piece.text}
            case TextPiece():
                yield {"text": piece.text}
            case Reply():
                yield {"reply": _reply(piece)}


def _message(turn: TalkTurn, sounds: Mapping[str, _Clip]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "audio", "audio": sounds[turn.sound].samples}] if turn.sound else []
    return {"role": turn.role, "content": [*parts, *([{"type": "text", "text": turn.text}] if turn.text else [])]}


def _reply(reply: Reply) -> dict[str, Any]:
    sound = None if reply.audio is None else wav(reply.audio, reply.sampling_rate)
    return {
        "text": reply.text,
        "thought": reply.thought.free if reply.thought else "",
        "heard": reply.thought.words if reply.thought else "",
        "cues": reply.cues | ({"reply_emotion": reply.emotion} if reply.emotion else {}),
        "audio": None if sound is None else base64.b64encode(sound).decode(),
        "ended": reply.ended,
    }
