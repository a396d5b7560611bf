"""`/v1/chat/completions`: a conversation with recordings in, a reply in text or aloud out (serving.md 2)."""

from __future__ import annotations

import base64
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from osum.dialogue.modes import SPEAK
from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Piece, Reply, TextPiece, ThoughtPiece
from osum.engine.options import MAX_SEED, MIN_TEMPERATURE, GenerationOptions
from osum.listening.recognizer import Recognizer
from osum.server.body import json_of, record
from osum.server.desk import Stop
from osum.server.events import EventStream
from osum.server.faults import bad
from osum.server.form import checked
from osum.server.media import save_part
from osum.server.replies import replier
from osum.server.service import Service, Used
from osum.server.voices import FORMATS, PCM_RATE, encoded

router = APIRouter()
MAX_MESSAGES, MAX_CLIPS = 100, 16
Put = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ChatRequest:
    """The body of a chat; what is not named here changes nothing."""

    model: str
    messages: list[dict[str, Any]]
    modalities: list[str] = field(default_factory=lambda: ["text"])
    audio: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    stream_options: dict[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    n: int = 1
    tools: list[Any] = field(default_factory=list)
    functions: list[Any] = field(default_factory=list)
    response_format: dict[str, Any] = field(default_factory=dict)
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def aloud(self) -> bool:
        """Whether the reply is spoken."""
        return "audio" in self.modalities

    @property
    def format(self) -> str:
        """Of the reply's sound."""
        return str(self.audio.get("format", "pcm16" if self.stream else "wav"))

    @property
    def voice(self) -> str | None:
        """Whom it is spoken as."""
        given = self.audio.get("voice")
        return str(given.get("id")) if isinstance(given, dict) else None if given is None else str(given)

    def check(self) -> None:
        """Refuse what no model here does.

        Raises:
            ApiError: 400, with the parameter.
        """
        for name in ("tools", "functions"):
            if getattr(self, name):
                raise bad(f"{name}: no model here calls tools; leave them out", name, "unsupported_parameter")
        if self.n != 1:
            raise bad(f"n is {self.n}: one reply is given", "n")
        if self.response_format.get("type", "text") != "text":
            raise bad("response_format: a reply is text; ask /v1/decisions for structured answers", "response_format")
        for name in self.modalities:
            checked(name, "modalities", ("text", "audio"))
        if self.aloud:
            checked(self.format, "audio.format", FORMATS)
        if self.aloud and self.stream and self.format != "pcm16":
            raise bad("audio.format: a stream is pcm16, since only that can be put together", "audio.format")
        for name, low, high in (("temperature", 0, 2), ("top_p", 1e-6, 1), ("max_tokens", 1, 10**6),
                                ("max_completion_tokens", 1, 10**6), ("seed", 0, MAX_SEED)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise bad(f"{name} is {value!r}: it must be from {low:g} to {high:g}", name)
        if not 1 <= len(self.messages) <= MAX_MESSAGES:
            raise bad(f"{len(self.messages)} messages: send 1 to {MAX_MESSAGES}", "messages")

    def options(self) -> TalkOptions:
        """How the reply is generated; the model's own way where nothing is asked."""
        thinks = self.chat_template_kwargs.get("enable_thinking")
        thinking = self.chat_template_kwargs.get("thinking", "language" if thinks else "off")
        checked(str(thinking), "chat_template_kwargs.thinking", ("off", "tag", "language"))
        most = self.max_completion_tokens or self.max_tokens
        given = (self.temperature, self.top_p, most, self.seed)
        if all(value is None for value in given):
            return TalkOptions(thinking=thinking, aloud=self.aloud)
        warmth = SPEAK.options.temperature if self.temperature is None else self.temperature
        how = GenerationOptions(
            max_new_tokens=most,
            do_sample=warmth > 0,
            temperature=max(warmth, MIN_TEMPERATURE),
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=0,
            seed=self.seed,
        )
        return TalkOptions(thinking=thinking, aloud=self.aloud, generation=how)


@router.post("/v1/chat/completions")
async def chat(request: Request, service: Used) -> Response:
    """A reply to a conversation."""
    asked = record(ChatRequest, await json_of(request))
    service.models.check(asked.model)
    asked.check()
    request.scope["state"]["log"].update(model=asked.model, messages=len(asked.messages))
    job = ChatJob(service, asked)
    if asked.stream:
        return await EventStream.begun(service.desk.stream(request, job.stream))
    return JSONResponse(await service.desk.run(request, job.whole))


@dataclass
class ChatJob:
    """One conversation, and the reply to it."""

    service: Service
    asked: ChatRequest
    name: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    thought: str = ""
    num_audio: int = 0
    """Tokens of the recordings."""
    num_text: int = 0
    """Tokens of the texts that were sent."""

    def whole(self, stop: Stop) -> dict[str, Any]:
        """The body."""
        with self.service.models.lease(self.asked.model) as model:
            reply = self._last(self._pieces(model, stop))
            usage = self._usage(model, reply)
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if self.thought:
            message["reasoning_content"] = self.thought
        if self.asked.aloud:
            name, until = self.service.spoken.keep(reply.text)
            samples = reply.audio if reply.audio is not None else np.zeros(0, np.float32)
            data = encoded(samples, reply.sampling_rate or PCM_RATE, self.asked.format)
            sound = {"id": name, "data": base64.b64encode(data).decode(), "transcript": reply.text}
            message |= {"content": None, "audio": {**sound, "expires_at": until}}
        if own := _own(reply):
            message["osum"] = own
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(reply)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    def stream(self, stop: Stop, put: Put) -> None:
        """The chunks."""
        name, until = self.service.spoken.keep("") if self.asked.aloud else ("", 0)
        reply: Reply | None = None
        began = started = time.monotonic()
        sounded = False
        with self.service.models.lease(self.asked.model) as model:
            for piece in self._pieces(model, stop):
                if reply is None and not isinstance(piece, Reply) and began:
                    self.service.metrics.first_token.labels(self.asked.model).observe(time.monotonic() - began)
                    put(self._chunk({"role": "assistant", "content": None if self.asked.aloud else ""}))
                    began = 0.0
                if isinstance(piece, AudioPiece) and not sounded:
                    sounded = True
                    self.service.metrics.first_audio.labels(self.asked.model).observe(time.monotonic() - started)
                if isinstance(piece, Reply):
                    reply = piece
                elif delta := self._delta(piece, name):
                    put(self._chunk(delta))
            assert reply is not None
            usage = self._usage(model, reply)
        if began:
            put(self._chunk({"role": "assistant", "content": ""}))
        if self.asked.aloud:
            self.service.spoken.keep(reply.text, name)
            put(self._chunk({"audio": {"expires_at": until}}))
        put(self._chunk({"osum": own} if (own := _own(reply)) else {}, _reason(reply)))
        if self.asked.stream_options.get("include_usage"):
            put({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def _delta(self, piece: Piece, name: str) -> dict[str, Any] | None:
        if isinstance(piece, ThoughtPiece):
            return {"reasoning_content": piece.text}
        if isinstance(piece, TextPiece):
            return {"audio": {"id": name, "transcript": piece.text}} if self.asked.aloud else {"content": piece.text}
        if isinstance(piece, AudioPiece) and self.asked.aloud:
            data = encoded(piece.samples, piece.sampling_rate, "pcm16")
            return {"audio": {"id": name, "data": base64.b64encode(data).decode()}}
        return None

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self.asked.stream_options.get("include_usage") else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.name, "object": kind, "created": self.created, "model": self.asked.model}

    def _last(self, pieces: Iterator[Piece]) -> Reply:
        for piece in pieces:
            if isinstance(piece, Reply):
                return piece
        raise RuntimeError("a reply without an end")

    def _pieces(self, model: Recognizer, stop: Stop) -> Iterator[Piece]:
        """The reply as it comes; the model is interrupted when the client has left."""
        asked, voices = self.asked, self.service.voices
        with tempfile.TemporaryDirectory(prefix="osum-") as folder:
            conversation = [
                self._message(message, number, model, Path(folder), stop)
                for number, message in enumerate(asked.messages)
            ]
        if conversation[-1]["role"] != "user":
            raise bad("the last message is not the user's: there is nothing to reply to", "messages")
        generator = replier(model, voices, asked.aloud, asked.voice, stop)
        for piece in generator.stream_reply(conversation, asked.options()):
            stop.check()
            if isinstance(piece, ThoughtPiece):
                self.thought += piece.text
            yield piece
        self.service.metrics.successes.labels(asked.model, "stop").inc()

    def _message(
        self, message: Mapping[str, Any], number: int, model: Recognizer, folder: Path, stop: Stop
    ) -> dict[str, Any]:
        """One message as a dialogue takes it, its recordings decoded."""
        role, content, place = message.get("role"), message.get("content"), f"messages[{number}]"
        role = "system" if role == "developer" else checked(str(role), f"{place}.role", ("system", "user", "assistant"))
        if role == "assistant" and isinstance(message.get("audio"), Mapping):
            content = self.service.spoken.text(message["audio"].get("id"), f"{place}.audio.id")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list):
            raise bad(f"{place}.content is no text and no list of parts", f"{place}.content")
        found = [
            self._part(part, f"{place}.content[{at}]", model, folder / f"{number}-{at}", stop)
            for at, part in enumerate(parts)
        ]
        return {"role": role, "content": found}

    def _part(self, part: Any, place: str, model: Recognizer, file: Path, stop: Stop) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            self.num_text += len(model.engine.processor.text_ids(part["text"]))
            return {"type": "text", "text": part["text"]}
        if kind not in ("input_audio", "audio_url"):
            raise bad(f"a part of type {str(kind)[:40]!r}: use text, input_audio or audio_url", f"{place}.type")
        if len(list(file.parent.iterdir())) >= MAX_CLIPS:
            raise bad(f"more than {MAX_CLIPS} recordings: send at most so many", "messages")
        save_part(part, file, place, self.service.options, stop)
        sound = self.service.read(file, stop)
        if sound.seconds > model.max_seconds:
            raise bad(
                f"{sound.seconds:.1f} s of audio: this model takes at most {model.max_seconds:g} s in a turn", place
            )
        self.num_audio += model.engine.model.config.num_audio_tokens(len(sound.samples))
        self.service.metrics.audio_seconds.labels(self.asked.model).inc(sound.seconds)
        return {"type": "audio", "audio": np.asarray(sound.samples)}

    def _usage(self, model: Recognizer, reply: Reply) -> dict[str, Any]:
        count = model.engine.processor.text_ids
        text, thought, codes = len(count(reply.text)), len(count(self.thought)), len(reply.codes)
        prompt, completion = self.num_text + self.num_audio, text + thought + codes
        self.service.metrics.prompt_tokens.labels(self.asked.model).inc(prompt)
        self.service.metrics.generation_tokens.labels(self.asked.model).inc(completion)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "audio_tokens": self.num_audio, "text_tokens": self.num_text, "cached_tokens": 0
            },
            "completion_tokens_details": {"audio_tokens": codes, "text_tokens": text, "reasoning_tokens": thought},
        }  # fmt: skip


def _own(reply: Reply) -> dict[str, Any]:
    """What no stock body has: the feeling of the reply, what was recognised of the speaker, what went wrong."""
    found = {"emotion": reply.emotion, "cues": reply.cues or None, "problems": list(reply.problems) or None}
    return {name: value for name, value in found.items() if value is not None}


def _reason(reply: Reply) -> str:
    return "stop" if reply.ended else "length"
