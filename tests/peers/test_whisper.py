"""Whisper: what stock transformers answers, in order, with word times of the file and the language detected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from model.tiny import byte_letters, noise
from transformers import WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer

from osum.audio import SAMPLE_RATE
from osum.errors import CheckpointError, InputError, TaskError
from osum.peers import open_recogniser
from osum.peers.recogniser import Options, Question, Recogniser
from osum.peers.whisper import timed_units
from osum.scoring import mixed_units
from osum.utterance import Utterance, Word
from peers.models import write_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper") / "tiny-whisper")


@pytest.fixture(scope="module")
def whisper(folder: Path) -> Recogniser:
    return open_recogniser(f"whisper:{folder}", Options(batch_size=3))


@pytest.fixture(scope="module")
def stock(folder: Path) -> tuple[Any, Any]:
    """Model and processor as a user of transformers opens them."""
    return WhisperForConditionalGeneration.from_pretrained(folder).eval(), WhisperProcessor.from_pretrained(folder)


def features(stock: tuple[Any, Any], clip: Utterance) -> torch.Tensor:
    """(1, M, F)"""
    samples = soundfile.read(clip.path, dtype="float32")[0]
    return stock[1](samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features


def test_transcripts_are_those_of_transformers(
    whisper: Recogniser, stock: tuple[Any, Any], noises: list[Utterance]
) -> None:
    one, missing, two, _ = whisper.recognise(noises, Question("ASR", language="de"))
    for answer, clip in ((one, noises[0]), (two, noises[2])):
        ids = stock[0].generate(features(stock, clip), language="de", task="transcribe")
        (text,) = stock[1].batch_decode(ids, skip_special_tokens=True)
        assert text and (answer.raw, answer.text, answer.words) == (text, text.strip(), ())
    assert missing.error and "missing.wav" in missing.error


def test_the_language_is_what_transformers_detects(
    whisper: Recogniser, stock: tuple[Any, Any], noises: list[Utterance]
) -> None:
    one, _, two, _ = whisper.recognise(noises, Question("LID"))
    for answer, clip in ((one, noises[0]), (two, noises[2])):
        detected = stock[0].detect_language(features(stock, clip))
        assert answer.raw == stock[1].tokenizer.decode(detected)
        assert answer.said == {"<|en|>": "en", "<|zh|>": "zh", "<|de|>": None}[answer.raw]
        assert answer.distribution is not None and sum(answer.distribution.values()) == pytest.approx(1)
        assert answer.label == max(answer.distribution, key=answer.distribution.__getitem__)


def test_words_have_times_of_the_file_in_order(whisper: Recogniser, noises: list[Utterance]) -> None:
    (answer,) = whisper.recognise(noises[3:], Question("SRWT", language="zh"))
    assert answer.words and "".join(word.text for word in answer.words) == "".join(mixed_units(answer.text or ""))
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert all(0.5 <= time <= 1.5 for time in times)
    assert [word.start for word in answer.words] == sorted(word.start for word in answer.words)


def test_a_long_clip_goes_through_the_long_form(whisper: Recogniser, noises: list[Utterance], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", noise(5 * SAMPLE_RATE), SAMPLE_RATE)
    clips = [Utterance("long", str(tmp_path / "long.wav")), noises[0]]
    long, short = whisper.recognise(clips, Question("ASR", language="zh"))
    assert long.error is None and short == next(whisper.recognise(noises, Question("ASR", language="zh")))


def test_a_character_of_several_tokens_begins_with_the_first_and_ends_with_the_last() -> None:
    tokenizer = WhisperTokenizer(vocab={letter: byte for byte, letter in byte_letters().items()}, merges=[])
    tokens = [*"oh 你好".encode(), 0xFF, *b"no!!", 0xE4]
    ends = [0.1 * (place + 1) for place in range(len(tokens))]
    segment = {"start": torch.tensor(0.0), "tokens": torch.tensor(tokens), "token_timestamps": torch.tensor(ends)}
    found = timed_units(segment, tokenizer.decode)
    words = [Word("oh", 0.0, 0.2), Word("你", 0.3, 0.6), Word("好", 0.6, 0.9), Word("\ufffdno!!\ufffd", 0.9, 1.5)]
    assert [replace(w, start=round(w.start, 3), end=round(w.end, 3)) for w in found] == words


def test_one_that_knows_english_alone_detects_no_language(noises: list[Utterance], tmp_path: Path) -> None:
    english = open_recogniser(f"whisper:{write_whisper(tmp_path, languages=())}")
    assert english.tasks == {"ASR", "SRWT"}
    assert next(english.recognise(noises, Question("ASR", language="en"))).error is None
    with pytest.raises(TaskError, match="knows English, not 'zh': give a multilingual Whisper"):
        english.recognise(noises, Question("ASR", language="zh"))


def test_what_cannot_be_asked_is_reported(whisper: Recogniser, noises: list[Utterance]) -> None:
    for question, reported in (
        (Question("SER"), "tiny-whisper does not answer 'SER': "),
        (Question("ASR", prompt="Write."), "tiny-whisper takes no prompt"),
        (Question("ASR", language="klingon"), "does not know the language 'klingon'"),
    ):
        with pytest.raises(TaskError, match=reported):
            whisper.recognise(noises, question)


def test_what_cannot_be_opened_is_reported_in_one_line(folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in folder.iterdir():
        (cut / path.name).write_bytes(path.read_bytes()[: 5_000 if path.suffix == ".safetensors" else None])
    for name, reported in ((tmp_path / "absent", "cannot be loaded"), (cut, "cannot be loaded")):
        with pytest.raises(CheckpointError, match=reported) as caught:
            open_recogniser(f"whisper:{name}")
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="holds a model of type 'whisper', not qwen2_audio"):
        open_recogniser(f"qwen2-audio:{folder}")
    with pytest.raises(InputError, match="whisper has no setting 'beams': it has none"):
        open_recogniser(f"whisper:{folder}", Options(extra={"beams": "5"}))


def test_a_description_has_what_is_needed_to_run_it_again(whisper: Recogniser) -> None:
    reported = whisper.describe()
    assert (reported["model"], reported["device"], reported["dtype"], reported["batch_size"]) == (
        "tiny-whisper",
        "cpu",
        "float32",
        3,
    )
    assert len(reported["revision"]) == 12 and {"torch", "transformers"} <= reported["versions"].keys()
