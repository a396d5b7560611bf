"""Contract of `/v1/chat/completions` and `/v1/audio/speech`: `nano` on a real server, a tiny model that converses."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import soundfile
from dialogue.tiny_voice import VOICE, TinyVoice
from engine.tiny_checkpoint import checkpoint_of
from fastapi.testclient import TestClient
from openai import OpenAI
from peers.models import write_qwen2_audio

from osum.listening.recognizer import Recognizer, load
from osum.server.app import create_app
from osum.server.options import ServerOptions
from osum.server.voices import FORMATS, PCM_RATE, Voices, encoded
from server.conftest import WORDS

PART = {"type": "input_audio", "input_audio": {"data": base64.b64encode(WORDS.read_bytes()).decode(), "format": "wav"}}
SAID = [{"role": "user", "content": [PART]}]
WHAT = {"type": "text", "text": "What is that?"}
WRITTEN = [{"role": "user", "content": "hello"}]
OPTIONS: dict[str, Any] = {"max_tokens": 24, "temperature": 0}


@pytest.fixture(scope="module")
def talking() -> Iterator[OpenAI]:
    """The stock client of a server in this process, whose model converses and speaks."""
    models = {"tiny": Recognizer(checkpoint_of("chatml"))}
    options = ServerOptions(allowed_hosts=("testserver",), num_readers=1)
    with TestClient(create_app(models, options, Voices(TinyVoice(), {"tiny": VOICE}))) as inner:
        yield OpenAI(base_url="http://testserver/v1", api_key="none", http_client=inner, max_retries=0)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """The stock client of a server with a tiny Qwen2-Audio, which takes 2 s at once."""
    folder = write_qwen2_audio(tmp_path_factory.mktemp("qwen") / "tiny")
    with TestClient(create_app({"qwen": load(folder)}, ServerOptions(allowed_hosts=("testserver",)))) as inner:
        yield OpenAI(base_url="http://testserver/v1", api_key="none", http_client=inner, max_retries=0)


# Qwen2-Audio


def test_a_qwen2_audio_is_served_with_several_recordings_in_one_talk(hosted: OpenAI) -> None:
    turns = [*SAID, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": [PART, WHAT]}]
    answers = [
        hosted.chat.completions.create(model="qwen", messages=talk, **OPTIONS)  # type: ignore[arg-type]
        for talk in (turns, turns[2:])
    ]
    assert all(answer.choices[0].message.content for answer in answers)
    assert [answer.usage.prompt_tokens_details.audio_tokens for answer in answers] == [68, 34]  # type: ignore[union-attr]
    answer = hosted.audio.transcriptions.create(model="qwen", file=("a.flac", WORDS.read_bytes()))
    assert isinstance(answer.text, str)


# nano


def test_a_recording_is_replied_to(client: OpenAI, nano: Recognizer) -> None:
    answer = client.chat.completions.create(model="nano", messages=SAID)  # type: ignore[arg-type]
    (choice,) = answer.choices
    assert choice.message.content == nano.chat(WORDS)
    assert (choice.finish_reason, choice.message.role, answer.object) == ("stop", "assistant", "chat.completion")
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.audio_tokens == nano.engine.model.config.num_audio_tokens(21_760)


def test_a_text_with_a_recording_is_asked_about_it_word_for_word(client: OpenAI, nano: Recognizer) -> None:
    question = nano.prompts("SGC")[0]
    content = [{"type": "text", "text": question}, PART]
    answer = client.chat.completions.create(model="nano", messages=[{"role": "user", "content": content}])  # type: ignore[list-item]
    assert answer.choices[0].message.content == nano.ask(WORDS, question)


def test_a_reply_aloud_can_be_referred_to(client: OpenAI, nano: Recognizer) -> None:
    voice = {"voice": "alloy", "format": "flac"}
    answer = client.chat.completions.create(model="nano", messages=SAID, modalities=["text", "audio"], audio=voice)  # type: ignore[arg-type, call-overload]
    message = answer.choices[0].message
    assert message.content is None and message.audio.transcript == nano.chat(WORDS)
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(message.audio.data)))
    assert len(samples) > 1000 and message.audio.expires_at > answer.created
    again = [*SAID, {"role": "assistant", "audio": {"id": message.audio.id}}, *SAID]
    assert client.chat.completions.create(model="nano", messages=again).choices[0].message.content  # type: ignore[arg-type]


# A model that converses


def test_the_pieces_of_a_stream_are_the_whole_reply(talking: OpenAI) -> None:
    whole = talking.chat.completions.create(model="tiny", messages=WRITTEN, **OPTIONS)  # type: ignore[arg-type]
    stream = talking.chat.completions.create(
        model="tiny", messages=WRITTEN, stream=True, stream_options={"include_usage": True}, **OPTIONS  # type: ignore[arg-type]
    )  # fmt: skip
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == [] and last.usage == whole.usage


def test_a_thought_is_apart_from_the_reply(talking: OpenAI) -> None:
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    asked: dict[str, Any] = {"model": "tiny", "messages": SAID, "extra_body": thinking, **OPTIONS}
    message = talking.chat.completions.create(**asked).choices[0].message
    thought = message.reasoning_content  # type: ignore[attr-defined]
    assert thought and thought not in (message.content or "")
    deltas = [chunk.choices[0].delta for chunk in talking.chat.completions.create(stream=True, **asked)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == thought


def test_a_stream_aloud_has_transcript_sound_and_its_end(talking: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": SAID, "modalities": ["text", "audio"], **OPTIONS}
    asked["audio"] = {"voice": "ash", "format": "pcm16"}
    whole = talking.chat.completions.create(**asked).choices[0].message.audio
    assert whole is not None
    deltas = [chunk.choices[0].delta for chunk in talking.chat.completions.create(stream=True, **asked)]
    sounds = [sound for delta in deltas if (sound := delta.to_dict().get("audio"))]
    assert "".join(sound.get("transcript", "") for sound in sounds) == whole.transcript
    assert len({sound["id"] for sound in sounds if "id" in sound}) == 1
    assert "expires_at" in sounds[-1]
    pcm = b"".join(base64.b64decode(sound.get("data", "")) for sound in sounds)
    assert len(pcm) == pytest.approx(len(base64.b64decode(whole.data)), abs=4800)


def test_a_text_is_spoken(talking: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "voice": "alloy", "input": "good morning", "extra_body": {"seed": 2}}
    sound = talking.audio.speech.create(response_format="wav", **asked).read()
    samples, rate = soundfile.read(io.BytesIO(sound))
    assert len(samples) and rate == TinyVoice.sampling_rate
    with talking.audio.speech.with_streaming_response.create(response_format="pcm", **asked) as streamed:
        assert len(b"".join(streamed.iter_bytes())) > 0


def test_a_model_that_does_not_speak_refuses_to(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="nano", voice="alloy", input="hello")
    assert caught.value.code == "unsupported_model"


# Refusals


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"n": 2}, "n"),
        ({"modalities": ["video"]}, "modalities"),
        ({"modalities": ["audio"], "audio": {"voice": "a", "format": "midi"}}, "audio.format"),
        ({"modalities": ["audio"], "audio": {"voice": "a", "format": "mp3"}, "stream": True}, "audio.format"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "audio": {"id": "gone"}}, *SAID]}, "messages[0].audio.id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": -3}, "temperature"),
        ({"chat_template_kwargs": {"thinking": "aloud"}}, "chat_template_kwargs.thinking"),
    ],
)
def test_a_bad_conversation_is_named(raw: httpx2.Client, changes: dict[str, Any], param: str) -> None:
    answer = raw.post("/v1/chat/completions", json={"model": "nano", "messages": SAID, **changes})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("kind", FORMATS)
def test_sound_is_written_in_every_format(kind: str) -> None:
    tone = np.sin(np.arange(8_000, dtype=np.float32) / 5) / 2
    content = encoded(tone, 16_000, kind)
    if kind.startswith("pcm"):
        assert len(content) == 2 * PCM_RATE // 2
    elif kind == "aac":
        assert content[:2] in (b"\xff\xf1", b"\xff\xf9")
    else:
        samples, rate = soundfile.read(io.BytesIO(content))
        assert len(samples) / rate == pytest.approx(0.5, abs=0.1)
