"""A model behind a `/v1/realtime` endpoint: `realtime:MODEL` with `--set endpoint=URL`, by the client of OpenAI's SDK.

1. A session is opened for each conversation, without voice activity: what is sent is the whole turn.
2. Each message becomes an item of the conversation; sounds go as 24 kHz PCM in `input_audio`.
3. `response.create` asks for the reply, which is collected until `response.done`; its first piece of sound is timed.

The key is read from the environment as that of `LanguageModel`.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from osum.audio import SAMPLE_RATE
from osum.errors import EndpointError, InputError, MissingExtraError
from osum.peers.clips import Samples
from osum.peers.completion import short
from osum.peers.language_model import ENDPOINT_VARIABLE, Endpoint
from osum.peers.recogniser import Options
from osum.peers.talking import DialogueModel, Messages, SpokenReply, folder_of, samples_of

RATE = 24_000
"""Hz of the protocol's PCM."""


class RealtimeEndpoint(DialogueModel):
    """One model of an endpoint; see `DialogueModel`."""

    def __init__(self, endpoint: Endpoint, model: str, voice: str | None = None, folder: Path | None = None) -> None:
        super().__init__(model, folder)
        try:
            import openai
            import websockets  # the SDK's own extra
        except ImportError as missing:
            raise MissingExtraError(missing.name or "websockets", "eval") from missing
        self._endpoint, self._voice = endpoint, voice
        self._faults = (openai.OpenAIError, websockets.exceptions.WebSocketException, OSError)
        self._client: Any = openai.OpenAI(
            api_key=endpoint.key or "none",
            base_url=endpoint.url,
            websocket_base_url=endpoint.url.replace("http", "ws", 1),
            timeout=endpoint.timeout,
        )

    @classmethod
    def open(cls, name: str, options: Options) -> RealtimeEndpoint:
        """Open it; `extra` holds `endpoint`, and may hold `voice` (`none` asks for text alone) and `replies`.

        Raises:
            InputError: no endpoint, or one that is no address.
        """
        url = options.extra.get("endpoint") or os.environ.get(ENDPOINT_VARIABLE, "")
        if not url:
            raise InputError(
                f"realtime:{name} has no endpoint: give --set realtime.endpoint=http://HOST/v1, or set "
                f"{ENDPOINT_VARIABLE}"
            )
        return cls(Endpoint.from_environment(url), name, options.extra.get("voice"), folder_of(options))

    def reply(self, conversation: Messages) -> SpokenReply:
        """See `DialogueModel`.

        Raises:
            EndpointError: the endpoint refuses, closes the session, does not answer in time, or its response fails.
        """
        begun = time.perf_counter()
        try:
            with self._client.realtime.connect(model=self.name) as session:
                session.session.update(session=self._session())
                for message in conversation:
                    session.conversation.item.create(item=_item(message))
                session.response.create()
                return _collected(self._events(session, begun), begun)
        except self._faults as fault:
            raise EndpointError(f"{self._endpoint.url}: {short(str(fault) or type(fault).__name__)}") from fault

    def describe(self) -> Mapping[str, Any]:
        """See `DialogueModel`."""
        return {"model": self.name, "endpoint": self._endpoint.url, "voice": self._voice, "protocol": "realtime"}

    def _session(self) -> dict[str, Any]:
        """What the session is asked to be: no voice activity, and a voice or text alone."""
        sound = {"turn_detection": None, "format": {"type": "audio/pcm", "rate": RATE}}
        out = {} if self._voice in (None, "none") else {"output": {"voice": self._voice}}
        wants = {"output_modalities": ["text"]} if self._voice == "none" else {"output_modalities": ["audio"]}
        return {"type": "realtime", **wants, "audio": {"input": sound, **out}}

    def _events(self, session: Any, begun: float) -> Iterable[Any]:
        """Events until the response is done.

        Raises:
            EndpointError: an error of the session, its end, or no end within the time of the endpoint.
        """
        for event in session:
            if time.perf_counter() - begun > self._endpoint.timeout:
                raise EndpointError(f"{self._endpoint.url}: no end of the reply in {self._endpoint.timeout:g} s")
            if event.type == "error":
                raise EndpointError(f"{self._endpoint.url}: {short(event.error.message)}")
            yield event
            if event.type == "response.done":
                return
        raise EndpointError(f"{self._endpoint.url}: the session ended before the reply did: ask again")


def _collected(events: Iterable[Any], begun: float) -> SpokenReply:
    """The reply that a response's events hold."""
    text, sound, first = "", b"", None
    for event in events:
        if event.type in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            text += event.delta
        elif event.type == "response.output_audio.delta":
            first = time.perf_counter() - begun if first is None else first
            sound += base64.b64decode(event.delta)
        elif event.type == "response.done" and event.response.status != "completed":
            raise EndpointError(f"the response is {event.response.status}: {_reason(event.response)}")
    samples: Samples | None = np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(2**15) if sound else None
    return SpokenReply(text, samples, RATE if sound else 0, None, first, time.perf_counter() - begun)


def _reason(response: Any) -> str:
    details = response.status_details
    return short(details.error.message if details and details.error and hasattr(details.error, "message") else "")


def _item(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of ours as an item; codes of an assistant stay here."""
    role, content = message["role"], message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    written = "output_text" if role == "assistant" else "input_text"
    made = [
        {"type": "input_audio", "audio": _pcm(part)}
        if part["type"] == "audio"
        else {"type": written, "text": part["text"]}
        for part in parts
        if part["type"] in ("audio", "text")
    ]
    return {"type": "message", "role": role, "content": made}


def _pcm(part: Mapping[str, Any]) -> str:
    """The sound of a part, 16 bit at 24 kHz, in base64."""
    samples = soxr.resample(samples_of(part), SAMPLE_RATE, RATE)
    return base64.b64encode((samples.clip(-1, 1) * (2**15 - 1)).astype("<i2").tobytes()).decode()
