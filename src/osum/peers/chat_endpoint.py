"""A model behind an OpenAI-compatible endpoint that takes and gives audio: `chat:MODEL` with `--set endpoint=URL`.

Audio goes as `input_audio` (WAV, base64); the reply comes as text, or as `message.audio` where `--set voice=NAME` asks
for it. The key is read from the environment as that of `LanguageModel`.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from osum.corpus.sound_file import wav
from osum.errors import EndpointError, InputError, MissingExtraError
from osum.peers.completion import short
from osum.peers.language_model import ENDPOINT_VARIABLE, Endpoint
from osum.peers.recogniser import Options
from osum.peers.talking import DialogueModel, Messages, SpokenReply, folder_of, samples_of

MAX_TOKENS = 1024


class ChatEndpoint(DialogueModel):
    """One model of an endpoint; see `DialogueModel`."""

    def __init__(self, endpoint: Endpoint, model: str, voice: str | None = None, folder: Path | None = None) -> None:
        super().__init__(model, folder)
        try:
            import openai
        except ImportError as missing:
            raise MissingExtraError("openai", "eval") from missing
        self._endpoint, self._voice, self._openai = endpoint, voice, openai
        self._client: Any = openai.OpenAI(
            api_key=endpoint.key or "none",
            base_url=endpoint.url,
            timeout=endpoint.timeout,
            max_retries=endpoint.tries - 1,
        )

    @classmethod
    def open(cls, name: str, options: Options) -> ChatEndpoint:
        """Open it; `extra` holds `endpoint`, and may hold `voice` and `replies`.

        Raises:
            InputError: no endpoint, or one that is no address.
        """
        url = options.extra.get("endpoint") or os.environ.get(ENDPOINT_VARIABLE, "")
        if not url:
            raise InputError(
                f"chat:{name} has no endpoint: give --set chat.endpoint=http://HOST/v1, or set {ENDPOINT_VARIABLE}"
            )
        return cls(Endpoint.from_environment(url), name, options.extra.get("voice"), folder_of(options))

    def reply(self, conversation: Messages) -> SpokenReply:
        """See `DialogueModel`.

        Raises:
            EndpointError: the endpoint refuses, does not answer, or answers something that is no reply.
        """
        asked: dict[str, Any] = {
            "model": self.name,
            "messages": [_message(message) for message in conversation],
            "temperature": 0,
            "max_completion_tokens": MAX_TOKENS,
        }
        if self._voice is not None:
            asked |= {"modalities": ["text", "audio"], "audio": {"voice": self._voice, "format": "wav"}}
        begun = time.perf_counter()
        try:
            found = self._client.chat.completions.create(**asked)
        except self._openai.OpenAIError as fault:
            raise EndpointError(f"{self._endpoint.url}: {short(str(fault))}") from fault
        if not found.choices:
            raise EndpointError(f"{self._endpoint.url}: answered without a choice: ask another model")
        message = found.choices[0].message
        samples, rate = _sound(message.audio.data) if message.audio else (None, 0)
        text = message.content or (message.audio.transcript if message.audio else "")
        return SpokenReply(text or "", samples, rate, seconds=time.perf_counter() - begun)

    def describe(self) -> Mapping[str, Any]:
        """See `DialogueModel`."""
        return {"model": self.name, "endpoint": self._endpoint.url, "voice": self._voice, "decoding": "temperature 0"}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of ours in OpenAI's form; codes of an assistant stay here."""
    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": content}
    parts = [part for part in content if part["type"] != "speech"]
    if message["role"] != "user":
        return {"role": message["role"], "content": "".join(part["text"] for part in parts)}
    return {"role": "user", "content": [_part(part) for part in parts]}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    data = base64.b64encode(wav(samples_of(part))).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def _sound(data: str) -> tuple[Any, int]:
    try:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data, validate=True)), dtype="float32")
    except (binascii.Error, soundfile.LibsndfileError) as fault:
        raise EndpointError(
            f"the audio of the reply cannot be read ({short(str(fault))}): ask for text alone"
        ) from fault
    return (samples if samples.ndim == 1 else samples.mean(axis=1)), rate
