"""A realtime endpoint as a dialogue model: the SDK's client against a real server of ours with `nano`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from server.conftest import SAMPLES
from server.test_realtime import KEY, Live

from osum.errors import EndpointError, InputError
from osum.peers import open_recogniser
from osum.peers.realtime_endpoint import RATE, RealtimeEndpoint
from osum.peers.recogniser import Options, Question
from osum.utterance import Utterance

QUESTION = {"role": "user", "content": [{"type": "audio", "path": str(SAMPLES / "en_child_girl.flac")}]}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    server = Live()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSUM_LLM_KEY", KEY)


def opened(live: Live, **extra: str) -> RealtimeEndpoint:
    found = open_recogniser("realtime:nano", Options(extra={"endpoint": live.url, **extra}))
    assert isinstance(found, RealtimeEndpoint)
    return found


def test_a_recording_is_answered_aloud_and_the_first_sound_is_timed(live: Live, tmp_path: Path) -> None:
    model = opened(live, replies=str(tmp_path))
    reply = model.reply([QUESTION])
    assert reply.text and reply.samples is not None and reply.sampling_rate == RATE
    assert reply.first_sound is not None and 0 < reply.first_sound <= reply.seconds
    (answer,) = model.recognise([Utterance("q", QUESTION["content"][0]["path"])], Question("STTC"))  # type: ignore[index]
    assert answer.reply == reply.text.strip() and answer.reply_audio is not None
    assert soundfile.info(answer.reply_audio).samplerate == RATE


def test_text_alone_has_no_sound(live: Live) -> None:
    reply = opened(live, voice="none").reply([QUESTION])
    assert reply.text and reply.samples is None and reply.first_sound is None


def test_a_response_that_fails_is_an_error_of_that_conversation(live: Live) -> None:
    model = opened(live)
    with pytest.raises(EndpointError, match="replies to speech alone"):
        model.reply([{"role": "user", "content": "hello"}])
    assert model.reply([QUESTION]).text


def test_a_wrong_key_and_nobody_are_errors_in_a_line(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSUM_LLM_KEY", "wrong")
    with pytest.raises(EndpointError, match=r"HTTP 40[13]"):
        opened(live).reply([QUESTION])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    with pytest.raises(EndpointError):
        open_recogniser("realtime:nano", Options(extra={"endpoint": nobody})).reply([QUESTION])  # type: ignore[attr-defined]
    monkeypatch.delenv("OSUM_LLM_ENDPOINT", raising=False)
    with pytest.raises(InputError, match="has no endpoint"):
        open_recogniser("realtime:nano", Options())
