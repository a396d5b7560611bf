"""Models that talk, asked as recognisers: ours aloud, an endpoint with audio, a cascade, and the emotion of replies."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dialogue.tiny_voice import VOICE, TinyVoice
from engine.tiny_checkpoint import CLIPS
from model.tiny import tiny_model, tiny_processor

import osum.peers.ours_aloud
from osum.corpus.sound_file import wav
from osum.errors import EndpointError, InputError, TaskError
from osum.peers import open_recogniser
from osum.peers.chat_endpoint import ChatEndpoint
from osum.peers.language_model import Endpoint
from osum.peers.recogniser import Options, Question, Recognition
from osum.peers.talking import SpokenReply, WithEmotion
from osum.tasks import OSUM
from osum.utterance import Utterance
from peers.llm_server import Says, Server, completion, fault, nobody, running

TALK = Question("STTC")


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.answer = lambda _: completion("of course")
        yield server


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path, samples in zip(paths, CLIPS, strict=False):
        soundfile.write(path, samples, 16_000)
    return [Utterance(f"of/{path.stem}", str(path)) for path in paths]


def spoken(seconds: float = 0.5) -> Says:
    """A completion whose message is audio with a transcript, as `gpt-audio` gives it."""
    sound = wav(np.zeros(round(24_000 * seconds), np.float32), 24_000)
    audio = {"id": "1", "data": base64.b64encode(sound).decode(), "transcript": "of course", "expires_at": 0}
    body: dict[str, Any] = json.loads(completion("").body)
    body["choices"][0]["message"] |= {"content": None, "audio": audio}
    return Says(json.dumps(body).encode())


def opened(name: str, *settings: str) -> Any:
    return open_recogniser(name, Options(extra=dict(setting.split("=", 1) for setting in settings)))


# An endpoint


def test_an_endpoint_is_sent_the_clip_and_answers_in_text(server: Server, clips: list[Utterance]) -> None:
    model = opened("chat:gpt-audio", f"endpoint={server.url}")
    answers = list(model.recognise(clips, Question("STTC", "Answer in one word.")))
    assert [answer.reply for answer in answers] == ["of course"] * 2
    audio, text = server.asked[0]["messages"][0]["content"]
    sent, rate = soundfile.read(io.BytesIO(base64.b64decode(audio["input_audio"]["data"])), dtype="float32")
    assert (rate, len(sent), text["text"]) == (16_000, len(CLIPS[0]), "Answer in one word.")
    assert "modalities" not in server.asked[0]


def test_a_reply_aloud_is_kept_as_a_file(server: Server, clips: list[Utterance], tmp_path: Path) -> None:
    server.answer = lambda _: spoken()
    model = opened("chat:gpt-audio", f"endpoint={server.url}", "voice=anna", f"replies={tmp_path / 'replies'}")
    first, second = model.recognise(clips, TALK)
    assert (first.reply, first.reply_audio != second.reply_audio) == ("of course", True)
    assert soundfile.info(first.reply_audio).duration == 0.5
    assert server.asked[0]["audio"] == {"voice": "anna", "format": "wav"}


def test_a_reply_without_sound_is_text_alone(server: Server, clips: list[Utterance], tmp_path: Path) -> None:
    model = opened("chat:gpt-audio", f"endpoint={server.url}", "voice=anna", f"replies={tmp_path}")
    assert [answer.reply_audio for answer in model.recognise(clips, TALK)] == [None, None]


def test_earlier_turns_are_sent_as_they_were_said(server: Server, clips: list[Utterance]) -> None:
    model = ChatEndpoint(Endpoint(server.url), "gpt-audio")
    asked = {"role": "user", "content": [{"type": "audio", "path": clips[0].path}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": "yes"}, {"type": "speech", "codes": [1]}]}
    model.reply([{"role": "system", "content": "be kind"}, asked, said, {"role": "user", "content": "why?"}])
    messages = server.asked[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert (messages[2]["content"], messages[3]["content"]) == ("yes", "why?")


@pytest.mark.parametrize("says", [fault(400, "no audio here"), Says(b'{"choices": []}')])
def test_a_refusal_costs_its_clip_alone(server: Server, clips: list[Utterance], says: Says) -> None:
    server.script = [says]
    answers = list(opened("chat:gpt-audio", f"endpoint={server.url}").recognise(clips, TALK))
    assert [answer.error is None for answer in answers] == [False, True]
    assert answers[0].error is not None and answers[0].error.startswith("of/a: ")


def test_audio_that_is_none_is_a_fault(server: Server) -> None:
    body: dict[str, Any] = json.loads(spoken().body)
    body["choices"][0]["message"]["audio"]["data"] = "!!"
    server.answer = lambda _: Says(json.dumps(body).encode())
    with pytest.raises(EndpointError, match="the audio of the reply cannot be read"):
        ChatEndpoint(Endpoint(server.url), "m", "anna").reply([{"role": "user", "content": "hi"}])


def test_nobody_at_the_address_is_a_fault() -> None:
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        ChatEndpoint(Endpoint(nobody(), tries=1, timeout=2), "m").reply([{"role": "user", "content": "hi"}])


# A cascade


def test_a_cascade_reads_answers_and_says(server: Server, clips: list[Utterance], tmp_path: Path) -> None:
    model = opened("cascade:nano", f"endpoint={server.url}", "llm=qwen", f"replies={tmp_path}")
    (answer,) = model.recognise(clips[:1], TALK)
    messages = server.asked[0]["messages"]
    assert ([message["role"] for message in messages], answer.reply) == (["system", "user"], "of course")
    assert answer.reply_audio is not None and soundfile.info(answer.reply_audio).duration > 0.3
    assert model.name == "nano+qwen+espeak"


def test_mandarin_is_not_said_by_what_reads_no_characters(
    server: Server, clips: list[Utterance], tmp_path: Path
) -> None:
    server.answer = lambda _: completion("当然")
    model = opened("cascade:nano", f"endpoint={server.url}", "llm=qwen", f"replies={tmp_path}")
    (answer,) = model.recognise(clips[:1], TALK)
    assert (answer.reply, answer.reply_audio) == ("当然", None)


# Ours


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    tiny_model("chatml").save_pretrained(folder)
    tiny_processor("chatml").save_pretrained(folder)
    (folder / "tasks.json").write_text(json.dumps(OSUM.to_dict()), "utf8")
    return folder


def test_ours_replies_aloud(
    checkpoint: Path, clips: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osum.peers.ours_aloud, "load_synthesizer", lambda *_: TinyVoice())
    VOICE.save(tmp_path / "v.safetensors")
    settings = ("codec=x", f"voice={tmp_path / 'v.safetensors'}", f"replies={tmp_path / 'replies'}")
    model = opened(f"talk:{checkpoint}", *settings)
    # Codes are drawn, and random weights may end before the first: about every second reply says something.
    answers = (answer for _ in range(40) for answer in model.recognise(clips[:1], TALK))
    answer = next(answer for answer in answers if answer.reply_audio is not None)
    assert answer.error is None
    assert model.describe()["voice"] == "v.safetensors"


# The emotion of what was said


class Feels:
    """Names the emotion of a file by its length; the contract of `Recogniser`."""

    name, tasks = "feels", frozenset({"SER"})

    def recognise(self, clips: Any, question: Question) -> Iterator[Recognition]:
        for clip in clips:
            yield Recognition(label="sad" if soundfile.info(clip.path).duration > 0.4 else "happy")

    def prompts(self, task: str) -> tuple[str, ...]:
        return ()

    def describe(self) -> dict[str, Any]:
        return {"model": self.name}


def test_the_sound_of_a_reply_is_given_to_who_names_its_emotion(
    server: Server, clips: list[Utterance], tmp_path: Path
) -> None:
    server.script = [spoken(0.5), completion("of course")]
    talker = opened("chat:m", f"endpoint={server.url}", "voice=anna", f"replies={tmp_path}")
    model = WithEmotion(talker, Feels())
    assert [answer.reply_emotion for answer in model.recognise(clips, TALK)] == ["sad", None]
    assert model.describe()["emotion_by"] == {"model": "feels"}


def test_who_names_no_emotion_is_refused(server: Server) -> None:
    talker = opened("chat:m", f"endpoint={server.url}")
    with pytest.raises(TaskError, match="m recognises no emotion: it answers STTC"):
        WithEmotion(talker, talker)


# Settings


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("chat:m", (), "chat:m has no endpoint: give --set chat.endpoint="),
        ("cascade:nano", ("endpoint=http://127.0.0.1/v1",), "needs a language model"),
        ("cascade:nano", ("endpoint=http://127.0.0.1/v1", "llm=m", "speaker=me"), "speaker 'me' of a cascade"),
        ("talk:nano", ("codec=x",), "set codec=DIR and voice=FILE together"),
        ("chat", (), "'chat' needs a model"),
    ],
)
def test_a_setting_that_is_missing_is_one_line(
    name: str, settings: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSUM_LLM_ENDPOINT", raising=False)
    with pytest.raises(InputError, match=message):
        opened(name, *settings)


def test_a_reply_of_silence_is_kept_as_it_is() -> None:
    reply = SpokenReply("", np.zeros(0, np.float32), 16_000)
    assert soundfile.info(io.BytesIO(wav(reply.samples, 16_000))).frames == 0  # type: ignore[arg-type]
