"""`/v1/decisions` and `/v1/systemone`: typed questions about a recording, in the two wire forms (serving.md 3)."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request

from osum.errors import InputError, QuestionError
from osum.listening.decisions import SENSITIVE, Decision, Inquiry, Option, inquiries_of
from osum.listening.recognizer import Recognizer
from osum.server.body import json_of, record
from osum.server.desk import Stop
from osum.server.faults import bad
from osum.server.form import Fields, save
from osum.server.hearing import RouteHearing
from osum.server.media import save_part, save_url
from osum.server.service import Service, Used
from osum.utterance import Utterance

router = APIRouter()
Save = Callable[[Path, Stop], object]
"""Writes the recording of a request to a file."""


@dataclass(frozen=True)
class DecisionRequest:
    """The body of `/v1/decisions`; what is not named here changes nothing."""

    model: str
    input: str | list[dict[str, Any]]
    questions: list[dict[str, Any]]


@dataclass(frozen=True)
class SystemOneRequest:
    """The body of `/v1/systemone`."""

    model: str
    questions: dict[str, dict[str, Any]]
    state: Any = ""
    instructions: str | None = None
    audio: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    videos: list[Any] = field(default_factory=list)


@router.post("/v1/decisions")
async def decisions(request: Request, service: Used) -> dict[str, Any]:
    """Answers in the order of the questions."""
    if not request.headers.get("content-type", "").startswith("multipart/"):
        return await _decisions(request, service, await json_of(request), None)
    fields = await Fields.of(request)
    try:
        return await _decisions(request, service, _part_request(fields), fields.upload())
    finally:
        await fields.close()


async def _decisions(request: Request, service: Service, body: Any, upload: UploadFile | None) -> dict[str, Any]:
    asked = record(DecisionRequest, body)
    service.models.check(asked.model)
    _check_number(asked.questions, service)
    context, saver = _input_of(asked.input, service)
    if upload is not None:
        saver = _uploaded(upload, saver)
    try:
        inquiries = [_inquiry(question, number) for number, question in enumerate(asked.questions)]
        found, tokens = await _decide(request, service, asked.model, inquiries, context, saver)
    except QuestionError as fault:
        raise bad(str(fault), f"questions[{fault.number}].{fault.field}") from fault
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage = {"input_tokens": tokens, "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0},
             "total_tokens": tokens, **details}  # fmt: skip
    return {"answers": [_answer(each) for each in found], "model": asked.model, "usage": usage}


@router.post("/v1/systemone")
async def system_one(request: Request, service: Used) -> dict[str, Any]:
    """Answers by the names of the questions."""
    asked = record(SystemOneRequest, await json_of(request))
    service.models.check(asked.model)
    _check_number(asked.questions, service)
    if asked.images or asked.videos:
        raise bad("no model here sees images or videos: send audio alone", "images" if asked.images else "videos")
    if len(asked.audio) != 1:
        raise bad(f"{len(asked.audio)} recordings in audio: give one data URL", "audio")
    state = asked.state if isinstance(asked.state, str) else json.dumps(asked.state, ensure_ascii=False)
    context = "\n".join(filter(None, (asked.instructions, state)))

    def saver(place: Path, stop: Stop) -> None:
        save_url(asked.audio[0], place, "audio[0]", service.options, stop)

    try:
        inquiries = inquiries_of(asked.questions)
        found, tokens = await _decide(request, service, asked.model, inquiries, context, saver)
    except QuestionError as fault:
        name = list(asked.questions)[fault.number]
        raise bad(str(fault), f"questions.{name[:80]}.{fault.field}") from fault
    return {
        "id": f"sysone-{uuid.uuid4().hex}",
        "object": "systemone",
        "created": int(time.time()),
        "model": asked.model,
        "answers": {name: each.answer() for name, each in zip(asked.questions, found, strict=True)},
        "usage": {"input_tokens": tokens, "output_tokens": 0},
    }


def _part_request(fields: Fields) -> Any:
    """The JSON of the part `request` of a form whose part `file` is the recording."""
    try:
        return json.loads(fields.text("request") or "")
    except (ValueError, RecursionError):
        raise bad("the part 'request' is no JSON: send the body of a JSON request in it", "request") from None


def _uploaded(upload: UploadFile, other: Save | None) -> Save:
    if other is not None:
        raise bad("a recording in 'file' and one in 'input': send one of them", "input")
    return lambda place, _: save(upload, place)


def _check_number(questions: Sequence[Any] | Mapping[str, Any], service: Service) -> None:
    most = service.options.max_questions
    if not 1 <= len(questions) <= most:
        raise bad(f"{len(questions)} questions: ask 1 to {most} in one request", "questions")


def _input_of(given: str | list[dict[str, Any]], service: Service) -> tuple[str, Save | None]:
    """What is said of the recording, and where it is.

    Raises:
        ApiError: a part that is none, an image, or not one recording.
    """
    texts, parts = ([given], []) if isinstance(given, str) else _parts(given)
    if len(parts) > 1:
        raise bad(f"{len(parts)} recordings in input: give one", "input")
    if not parts:
        return "\n".join(texts), None
    param, part = parts[0]
    return "\n".join(texts), lambda place, stop: save_part(part, place, param, service.options, stop)


def _parts(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[tuple[str, Mapping[str, Any]]]]:
    """Texts, and recordings with their places, of some messages."""
    texts: list[str] = []
    sounds: list[tuple[str, Mapping[str, Any]]] = []
    for number, message in enumerate(messages):
        content, place = message.get("content"), f"input[{number}].content"
        if message.get("type", "message") != "message" or not isinstance(content, (str, list)):
            raise bad(f"{place} is no text and no list of parts: give messages with role and content", place)
        for at, part in enumerate([{"type": "input_text", "text": content}] if isinstance(content, str) else content):
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind in ("input_audio", "audio_url"):
                sounds.append((f"{place}[{at}]", part))
            elif kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif kind == "input_json":
                texts.append(json.dumps(part.get("data"), ensure_ascii=False))
            else:
                raise bad(f"a part of type {str(kind)[:40]!r}: use input_audio, audio_url, input_text or input_json",
                          f"{place}[{at}].type")  # fmt: skip
    return texts, sounds


def _inquiry(question: Mapping[str, Any], number: int) -> Inquiry:
    """A question in OpenAI's form."""
    kind, name = question.get("type"), question.get("name")
    said = _instructions(question.get("instructions"), number)
    if name is not None and not isinstance(name, str):
        raise QuestionError(number, "name", "the name is no text: give a string")
    if kind == "predicate":
        return Inquiry("predicate", said, name=name)
    if kind == "choice":
        return Inquiry("choice", said, _options(question.get("choices"), "value", number, "choices"), name)
    if kind == "score":
        return Inquiry("score", said, _options(question.get("levels"), "label", number, "levels"), name)
    raise QuestionError(number, "type", f"type is {str(kind)[:40]!r}: use predicate, choice or score")


def _instructions(given: Any, number: int) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    texts = (
        [part.get("text") if isinstance(part, Mapping) else None for part in given]
        if isinstance(given, list)
        else [None]
    )
    if any(not isinstance(text, str) for text in texts):
        raise QuestionError(number, "instructions", "instructions are no text: give a string, or parts of text")
    return "\n".join(str(text) for text in texts)


def _options(given: Any, key: str, number: int, place: str) -> tuple[Option, ...]:
    found = []
    for option in given if isinstance(given, list) else [None]:
        value = option.get(key) if isinstance(option, Mapping) else None
        about = option.get("description") if isinstance(option, Mapping) else None
        if not isinstance(value, (str, bool)) or not isinstance(about, (str, type(None))):
            raise QuestionError(number, place, f"{place} must be a list of objects with {key!r}")
        found.append(Option(value, about))
    return tuple(found)


async def _decide(
    request: Request, service: Service, name: str, inquiries: Sequence[Inquiry], context: str, saver: Save | None
) -> tuple[tuple[Decision, ...], int]:
    """The answers, and how many tokens were read for them."""
    if saver is None:
        raise bad("there is no recording in input: give a part input_audio or audio_url", "input")
    refuse = SENSITIVE if service.options.refuse_sensitive else frozenset[str]()

    def work(stop: Stop) -> tuple[tuple[Decision, ...], int]:
        with service.models.lease(name) as model, tempfile.TemporaryDirectory(prefix="osum-") as folder:
            plan = model.plan(inquiries, context, refuse)
            place = Path(folder) / "audio"
            saver(place, stop)
            sound = service.read(place, stop)
            if plan.asked is None:
                return plan.decisions(None), 0
            item = Utterance(id="audio", path="the recording")
            (row,) = model.answer([(item, sound.samples)], plan.asked, RouteHearing(stop))
            if row.error is not None:
                raise InputError(row.error)
            service.metrics.audio_seconds.labels(name).inc(sound.seconds)
            service.metrics.successes.labels(name, "stop").inc()
            return plan.decisions(row), _num_tokens(model, plan.asked.prompts.values(), len(sound.samples))

    request.scope["state"]["log"].update(model=name, questions=len(inquiries))
    return await service.desk.run(request, work)


def _num_tokens(model: Recognizer, prompts: Any, num_samples: int) -> int:
    """Of the recording once, and of each question."""
    processor = model.engine.processor
    return model.engine.model.config.num_audio_tokens(num_samples) + sum(
        len(processor.text_ids(prompt)) for prompt in prompts
    )


def _answer(decision: Decision) -> dict[str, Any]:
    """In OpenAI's form."""
    asked = decision.inquiry
    if decision.refused:
        return {"type": "refusal", "name": asked.name}
    head: dict[str, Any] = {"type": asked.kind, "name": asked.name}
    pairs = list(zip(asked.options, decision.probabilities, strict=True))
    if asked.kind == "predicate":
        head["probability"] = decision.probabilities[0]
    elif asked.kind == "choice":
        head |= {"choice": asked.options[decision.best].value, "confidence": decision.confidence}
        head["probabilities"] = [{"value": option.value, "probability": p} for option, p in pairs]
    else:
        head |= {"score": decision.score, "confidence": decision.confidence}
        head["probabilities"] = [
            {"value": level, "label": option.text, "probability": p} for level, (option, p) in enumerate(pairs)
        ]
    return {**head, "osum": decision.facts()}
