"""Contract of `/v1/audio/transcriptions`: every body of serving.md 1, by the stock SDK and by raw requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from osum.listening.recognizer import Recognizer
from osum.results.subtitle_options import SubtitleOptions
from osum.results.subtitles import render_srt, render_vtt
from server.conftest import LAUGH, MAX_SECONDS, SAMPLES, WORDS, wav

ZH = SAMPLES / "zh_sentence_2.flac"
LONG = SAMPLES / "en_adult_female_zh_accent.flac"


def post(raw: httpx2.Client, file: Any = WORDS, **fields: Any) -> httpx2.Response:
    """A form as curl sends it."""
    content = file.read_bytes() if isinstance(file, Path) else file
    return raw.post("/v1/audio/transcriptions", data={"model": "nano", **fields}, files={"file": ("a", content)})


def error_of(response: httpx2.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return {"status": response.status_code, **error}


# Bodies


def test_json_has_the_text_of_the_model_its_language_and_usage(raw: httpx2.Client, nano: Recognizer) -> None:
    body = post(raw).json()
    row = nano.transcribe(WORDS)
    assert body == {
        "text": row.text,
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": pytest.approx(1.36, abs=0.01)},
    }


def test_the_stock_client_reads_it_by_the_name_of_the_model_it_loses(client: OpenAI, nano: Recognizer) -> None:
    with ZH.open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert answer.text == nano.transcribe(ZH).text
    assert answer.usage is not None and answer.usage.type == "duration"


def test_text_is_the_bare_text(client: OpenAI, nano: Recognizer) -> None:
    with WORDS.open("rb") as file:
        answer = client.audio.transcriptions.create(model="nano", file=file, response_format="text")
    assert answer == f"{nano.transcribe(WORDS).text}\n"


@pytest.mark.parametrize(("shape", "render"), [("srt", render_srt), ("vtt", render_vtt)])
def test_subtitles_are_those_of_the_library(raw: httpx2.Client, nano: Recognizer, shape: str, render: Any) -> None:
    row = nano.label(LONG, tasks="ASR", word_times=True)
    answer = post(raw, LONG, response_format=shape)
    assert answer.text == render(row, SubtitleOptions(max_line_width=42, max_line_count=2))
    assert answer.text.count("-->") >= 1
    assert answer.headers["content-type"].startswith(("application/x-subrip", "text/vtt"))


@pytest.mark.parametrize(
    ("granularities", "present", "absent"),
    [
        ([], {"segments"}, {"words"}),
        (["segment"], {"segments"}, {"words"}),
        (["word"], {"words"}, {"segments"}),
        (["word", "segment"], {"words", "segments"}, set()),
    ],
)
def test_verbose_json_has_what_whisper_1_has(
    raw: httpx2.Client, granularities: list[str], present: set[str], absent: set[str]
) -> None:
    fields = {"timestamp_granularities[]": granularities} if granularities else {}
    body = post(raw, response_format="verbose_json", **fields).json()
    assert set(body) == {"task", "language", "duration", "text", "usage"} | present
    assert not absent & set(body)
    assert (body["task"], body["language"]) == ("transcribe", "english")
    assert body["duration"] == pytest.approx(1.36, abs=0.01)


def test_words_are_those_of_the_text_with_their_times(raw: httpx2.Client, nano: Recognizer) -> None:
    body = post(raw, response_format="verbose_json", **{"timestamp_granularities[]": "word"}).json()
    row = nano.label(WORDS, tasks="ASR", word_times=True)
    assert [word["word"] for word in body["words"]] == [word.text for word in row.words] == body["text"].split()
    for word, wanted in zip(body["words"], row.words, strict=True):
        assert set(word) == {"word", "start", "end"}
        assert (word["start"], word["end"]) == (
            pytest.approx(wanted.start, abs=2e-3),
            pytest.approx(wanted.end, abs=2e-3),
        )


def test_a_segment_has_every_field_of_whisper_and_a_space_before_its_text(raw: httpx2.Client) -> None:
    body = post(raw, response_format="verbose_json").json()
    (segment,) = body["segments"]
    assert set(segment) == {
        "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
        "no_speech_prob",
    }  # fmt: skip
    assert segment["text"] == f" {body['text']}" and segment["tokens"]
    assert segment["avg_logprob"] < 0 < segment["compression_ratio"]


def test_log_probabilities_spell_the_text(raw: httpx2.Client) -> None:
    body = post(raw, ZH, **{"include[]": "logprobs"}).json()
    content = bytes(byte for each in body["logprobs"] for byte in each["bytes"])
    assert content.decode().replace(" ", "") == body["text"].replace(" ", "")
    assert all(set(each) == {"token", "bytes", "logprob"} and each["logprob"] <= 0 for each in body["logprobs"])


def test_labels_of_any_task_come_under_one_key(raw: httpx2.Client, nano: Recognizer) -> None:
    body = post(raw, LAUGH, response_format="verbose_json", **{"tasks[]": ["VED", "emotion"]}).json()
    row = nano.label(LAUGH, tasks="ASR,VED,SER,LID")
    assert body["osum"]["labels"]["event"] == row.labels["event"] == "laugh"
    assert body["osum"]["answers"]["VED"]["probability"] == pytest.approx(row.summary["VED"].probability, abs=1e-4)
    assert body["osum"]["events"][0]["event"] == "laugh"


def test_candidates_of_the_language_bound_which_is_named(raw: httpx2.Client) -> None:
    body = post(raw, response_format="verbose_json", **{"languages[]": ["zh", "fr"]}).json()
    assert body["language"] == "chinese"


def test_what_changes_nothing_is_accepted_and_named(raw: httpx2.Client) -> None:
    fields = {
        "prompt": "names: Ann",
        "keywords[]": ["Ann"],
        "chunking_strategy": '{"type":"server_vad","threshold":0.4}',
    }
    body = post(raw, temperature="0", **fields).json()
    assert body["osum"]["ignored"] == ["prompt", "keywords", "chunking_strategy[threshold]"]


def test_chunking_by_the_fields_of_the_stock_client_is_read(client: OpenAI) -> None:
    with WORDS.open("rb") as file:
        answer = client.audio.transcriptions.create(
            model="nano", file=file, chunking_strategy={"type": "server_vad", "silence_duration_ms": 300}
        )
    assert answer.osum["ignored"] == ["chunking_strategy[silence_duration_ms]"]  # type: ignore[attr-defined]


# Streams


def test_a_stream_of_the_stock_client_adds_up_to_its_text(client: OpenAI, nano: Recognizer) -> None:
    with LONG.open("rb") as file:
        stream = client.audio.transcriptions.create(model="nano", file=file, stream=True)
        events = list(stream)
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) > 2
    assert events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text == nano.transcribe(LONG).text


def test_a_stream_is_lines_of_data_and_an_end(raw: httpx2.Client) -> None:
    answer = post(raw, ZH, stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, end = [line for line in answer.text.split("\n\n") if line]
    assert end == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {"type", "text", "languages", "usage"} <= set(events[-1])


def test_a_stream_that_cannot_begin_is_refused_with_a_status(raw: httpx2.Client) -> None:
    assert error_of(post(raw, b"no sound at all", stream="true"))["status"] == 415


# Refusals


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "xml"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"response_format": "verbose_json", "timestamp_granularities[]": "phone"}, "timestamp_granularities"),
        ({"include[]": "logprobs", "response_format": "srt"}, "include"),
        ({"temperature": "7"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "maybe"}, "stream"),
        ({"stream": "true", "response_format": "vtt"}, "stream"),
        ({"language": "../../etc"}, "language"),
        ({"chunking_strategy": "[1]"}, "chunking_strategy"),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "x"},
            "chunking_strategy[threshold]",
        ),
        ({"tasks[]": "PITCH"}, "tasks"),
        ({"known_speaker_names[]": ["a", "b", "c", "d", "e"]}, "known_speaker_names"),
        ({"seed": "-4"}, "seed"),
        ({"model": ["nano", "nano"]}, "model"),
    ],
)
def test_a_bad_parameter_is_named(raw: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    error = error_of(post(raw, **fields))
    assert (error["status"], error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert len(error["message"].splitlines()) == 1


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with WORDS.open("rb") as file, pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="gpt-9", file=file)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.request_id is not None and caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    "file", [b"not audio", b"RIFF\x00\x00\x00\x00WAVE", b"\xff\xfb\x90" + bytes(300), b"OggS" + bytes(90)]
)
def test_what_cannot_be_decoded_is_415_and_names_no_path(raw: httpx2.Client, file: bytes) -> None:
    error = error_of(post(raw, file))
    assert (error["status"], error["param"]) == (415, "file")
    assert not re.search(r"/tmp|0x[0-9a-f]{6}|osum-", error["message"])


def test_a_body_over_the_limit_is_413_before_it_is_read(raw: httpx2.Client) -> None:
    assert error_of(post(raw, bytes(4 * 2**20)))["status"] == 413


def test_a_body_of_unknown_length_is_counted(raw: httpx2.Client) -> None:
    def pieces() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(64):
            yield bytes(2**16)

    answer = raw.post(
        "/v1/audio/transcriptions", content=pieces(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert error_of(answer)["status"] == 413


@pytest.mark.parametrize(
    ("hours", "rate", "kind"),
    [(0.05, 16_000, {"format": "ogg", "subtype": "OPUS"}), (10, 1_000, {"format": "flac"})],
    ids=["opus", "flac of ten hours"],
)
def test_a_small_file_of_many_hours_is_refused_while_it_is_decoded(
    raw: httpx2.Client, hours: float, rate: int, kind: dict[str, str]
) -> None:
    bomb = wav(hours * 3600, rate, level=0.0, **kind)
    assert len(bomb) < 2**18
    error = error_of(post(raw, bomb))
    assert (error["status"], error["code"]) == (413, "audio_too_long")


def test_a_header_that_forges_its_rate_is_counted_by_its_samples(raw: httpx2.Client) -> None:
    honest = bytearray(wav(MAX_SECONDS - 2))
    honest[24:28] = (1_000).to_bytes(4, "little")  # 16 times as long
    error = error_of(post(raw, bytes(honest)))
    assert (error["status"], error["code"]) == (413, "audio_too_long")


def test_translations_are_refused_by_a_model_that_cannot(client: OpenAI) -> None:
    with WORDS.open("rb") as file, pytest.raises(openai.BadRequestError) as caught, pytest.warns(DeprecationWarning):
        client.audio.translations.create(model="nano", file=file)
    assert (caught.value.param, caught.value.code) == ("model", "unsupported_model")
