"""Texts that become sound: by espeak-ng, and by an endpoint over real HTTP."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from peers.llm_server import nobody
from stub_server import Says

from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Line
from osum.errors import CheckpointError, EndpointUnusableError, InputError, RecipeError
from osum.pipeline.row import Row
from osum.pipeline.run import run
from osum.pipeline.synthesizers import EspeakNg, Kokoro, SpeechMade, SynthesizerOptions
from osum.utterance import Utterance
from pipeline.speech_server import refusal, speaking
from pipeline.stage import files_of, plan, rows_of

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt install espeak-ng")


def line(name: str, text: str, **fields: Any) -> Line:
    return Line(name, Utterance(name, "-", text=text, **fields))


def endpoint(url: str, **more: Any) -> dict[str, Any]:
    voices = {"anna": "female", "bob": "male"}
    reported = {"kind": "endpoint", "url": url, "model": "tts", "voices": voices, "tries": 2, **more}
    return {"speak": {"synthesizer": reported, "parallel": 1}}


@needs_espeak
def test_a_text_is_spoken_in_a_voice_that_fits_with_the_times_of_its_words(tmp_path: Path) -> None:
    lines = [
        line("0", "the train leaves at nine", labels={"gender": "female"}),
        line("1", "one two three", labels={"gender": "male", "emotion": "sad"}),
        line("2", "5 trains"),
    ]
    summary = run(plan("speak"), lines, tmp_path / "out")
    assert summary.steps[-1][1].dropped == {"cannot be spoken": 1}
    first, second = (line.utterance for line in read_lines(tmp_path / "out"))
    assert [word.text for word in first.words] == ["the", "train", "leaves", "at", "nine"]
    assert (first.labels["gender"], second.labels["gender"]) == ("female", "male")
    assert first.extra["synthetic"] and first.speaker == first.extra["voice"] and first.language == "en"
    assert len(Row(first).samples) > 16_000 and first.words[-1].end <= (first.duration or 0)


def read_lines(out: Path) -> list[Any]:
    from osum.corpus.readers import Manifest

    return list(Manifest(out / "corpus"))


@needs_espeak
def test_a_text_sounds_the_same_whatever_was_said_before() -> None:
    voice = EspeakNg(SynthesizerOptions(voices={"croak": ""}))
    said = SpeechMade("over the hills and far away", "en", 0.3)
    first = voice.speak(said).samples
    voice.speak(SpeechMade("something else", "en", 0.7))
    assert np.array_equal(voice.speak(said).samples, first)


@needs_espeak
def test_a_speech_shard_is_the_same_after_a_stop(tmp_path: Path) -> None:
    lines = [line(str(at), f"this is sentence {name}") for at, name in enumerate(("one", "two", "three"))]
    run(plan("speak"), lines, tmp_path / "whole")
    for path in (tmp_path / "whole/answers").rglob("*.jsonl"):
        kept = tmp_path / "out/answers" / path.relative_to(tmp_path / "whole/answers")
        kept.parent.mkdir(parents=True)
        kept.write_bytes(path.read_bytes().splitlines(keepends=True)[1])  # as if killed: one of three answers
    run(plan("speak"), lines, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_an_endpoint_speaks_and_what_it_was_paid_for_is_kept(tmp_path: Path) -> None:
    lines = [line("0", "hello there my friend", labels={"gender": "male", "emotion": "sad"}), line("1", "bye bye now")]
    with speaking() as server:
        run(plan(endpoint(server.url, instruct=True)), lines, tmp_path / "out")
        assert len(server.asked) == 2  # both on /v1/audio/speech, since any other path is a fault
        assert server.asked[0]["voice"] == "bob" and server.asked[0]["instructions"] == "A male speaker. Sound sad"
        run(
            plan(endpoint(server.url, instruct=True), "decode"),
            lines,
            tmp_path / "two",
            answers=tmp_path / "out/answers",
        )
        assert len(server.asked) == 2
    assert rows_of(tmp_path / "out")[0]["speaker"] == "bob"


def test_a_row_with_sound_is_not_spoken(tmp_path: Path) -> None:
    (clip,) = [row for row in read_manifest(Path(__file__).parents[2] / "samples/manifest.jsonl") if "jfk" in row.id]
    with speaking() as server:
        run(plan(endpoint(server.url)), [Line("a", clip)], tmp_path / "out")
        assert server.asked == [] and rows_of(tmp_path / "out")[0]["id"] == clip.id


def test_faults_that_pass_are_tried_again_and_no_sound_costs_its_row(tmp_path: Path) -> None:
    with speaking() as server:
        server.script = [refusal(503, b"busy"), Says(b"this is no sound"), refusal(400, b"not this")]
        lines = [line("0", "one is broken"), line("1", "two is refused"), line("2", "three is spoken")]
        summary = run(plan(endpoint(server.url)), lines, tmp_path / "out")
    assert summary.steps[-1][1].dropped == {"the synthesizer refused": 2}
    assert [row["id"] for row in rows_of(tmp_path / "out")] == ["2"]


@pytest.mark.parametrize("script", [[refusal(401, b"who are you")], [refusal(500), refusal(500)]])
def test_an_endpoint_that_answers_nobody_ends_the_run(tmp_path: Path, script: list[Says]) -> None:
    with speaking() as server:
        server.script = list(script)
        with pytest.raises(EndpointUnusableError):
            run(plan(endpoint(server.url)), [line("0", "hello")], tmp_path / "out")
        run(plan(endpoint(server.url)), [line("0", "hello")], tmp_path / "out")
    assert len(rows_of(tmp_path / "out")) == 1


def test_an_endpoint_that_is_down_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(EndpointUnusableError, match="start again when it does"):
        run(plan(endpoint(nobody(), tries=1)), [line("0", "hello")], tmp_path / "out")


def test_a_synthesizer_needs_its_options() -> None:
    with pytest.raises(RecipeError, match="endpoint needs url"):
        SynthesizerOptions(kind="endpoint")


class StubKokoro:
    """As kokoro-onnx's class; it says what it was given, and cannot say numbers."""

    def __init__(self, *_: str) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get_voices(self) -> list[str]:
        return ["af_sky", "am_michael", "zf_xiaoxiao", "zm_yunxi"]

    def create(self, text: str, **how: Any) -> tuple[np.ndarray, int]:
        if text.isdigit():
            raise ValueError("no phonemes")
        self.asked.append((text, how))
        return np.full(2400, 0.1, np.float32), 24_000


@pytest.fixture
def kokoro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kokoro:
    for name in ("kokoro-v1.0.onnx", "voices-v1.0.bin"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "kokoro_onnx", SimpleNamespace(Kokoro=StubKokoro))
    monkeypatch.setitem(sys.modules, "misaki", SimpleNamespace())
    spelled = SimpleNamespace(ZHG2P=lambda: lambda text: (f"phonemes of {text}", None))
    monkeypatch.setitem(sys.modules, "misaki.zh", spelled)
    return Kokoro(SynthesizerOptions(kind="kokoro", model=str(tmp_path)))


def test_kokoro_takes_texts_in_english_and_phonemes_in_mandarin(kokoro: Kokoro) -> None:
    spoken = kokoro.speak(SpeechMade("hello", "en", 0.1, gender="male", age="old"))
    assert (spoken.voice, spoken.gender, len(spoken.samples)) == ("kokoro am_michael", "male", 1600)
    assert kokoro.speak(SpeechMade("你好", "zh", 0.9, gender="female")).voice == "kokoro zf_xiaoxiao"
    assert kokoro._model.asked == [
        ("hello", {"voice": "am_michael", "speed": 0.9, "lang": "en-us"}),
        ("phonemes of 你好", {"voice": "zf_xiaoxiao", "speed": 1.0, "is_phonemes": True}),
    ]
    with pytest.raises(InputError, match="kokoro cannot say '42'"):
        kokoro.speak(SpeechMade("42", "en", 0.1))


def test_a_folder_without_kokoros_files_is_named(tmp_path: Path, kokoro: Kokoro) -> None:
    (tmp_path / "voices-v1.0.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no \*.onnx and voices\*.bin"):
        kokoro.speak(SpeechMade("hello", "en", 0.1))
