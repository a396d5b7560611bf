"""Qwen2-Audio: what stock transformers answers to the same conversation, in order, alone as in a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from model.tiny import noise
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from osum.audio import SAMPLE_RATE
from osum.errors import AudioError, InputError, TaskError
from osum.peers import open_recogniser, qwen2_audio
from osum.peers.qwen2_audio import Qwen2Audio
from osum.peers.recogniser import Options, Question
from osum.utterance import Utterance
from peers.models import write_qwen2_audio

SER = "Recognize the emotion with keywords in English:"
WHOLE = {"role": "system", "content": "You are a helpful assistant."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen2_audio(tmp_path_factory.mktemp("qwen") / "tiny-qwen")


@pytest.fixture(scope="module")
def qwen(folder: Path) -> Qwen2Audio:
    opened = open_recogniser(f"qwen2-audio:{folder}", Options(batch_size=4))
    assert isinstance(opened, Qwen2Audio)
    return opened


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never stops."""
    monkeypatch.setattr(qwen2_audio, "MAX_NEW_TOKENS", 6)


def stock(folder: Path, text: str, *clips: Utterance) -> str:
    """The answer as a user of transformers gets it."""
    model = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    audio = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips]
    inputs = processor(text=text, audio=audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=6, min_new_tokens=1, do_sample=False)
    return processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]


def turn(folder: Path, num_audios: int, text: str | None) -> str:
    """A user's turn in the chat template."""
    content = [{"type": "audio", "audio_url": "a.wav"}] * num_audios + (
        [{"type": "text", "text": text}] if text else []
    )
    conversation = [WHOLE, {"role": "user", "content": content}]
    return AutoProcessor.from_pretrained(folder).apply_chat_template(conversation, add_generation_prompt=True)


def test_analysis_is_that_of_transformers_alone_and_in_a_batch(
    qwen: Qwen2Audio, folder: Path, noises: list[Utterance]
) -> None:
    one, missing, two, stretch = qwen.recognise(noises, Question("SER"))
    assert (one.raw, one.prompt) == (stock(folder, turn(folder, 1, SER), noises[0]), SER)
    assert one.raw and one.said is None and one.problems == ("names no label of emotion",)
    assert [one, missing, two, stretch] == [a for clip in noises for a in qwen.recognise([clip], Question("SER"))]
    assert missing.error and "missing.wav" in missing.error and len({one.raw, two.raw, stretch.raw}) > 1


def test_voice_chat_has_no_words_of_ours(qwen: Qwen2Audio, folder: Path, noises: list[Utterance]) -> None:
    (answer,) = qwen.recognise(noises[:1], Question("STTC"))
    assert answer.prompt is None and answer.raw == stock(folder, turn(folder, 1, None), noises[0])
    assert answer.reply == answer.raw.strip()


def test_several_clips_are_taken_in_one_turn(qwen: Qwen2Audio, folder: Path, noises: list[Utterance]) -> None:
    clips = [noises[0], noises[2]]
    samples = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips]
    assert qwen.chat(samples, "Which is longer?") == stock(folder, turn(folder, 2, "Which is longer?"), *clips)
    assert qwen.chat(samples[::-1], "Which is longer?") != qwen.chat(samples, "Which is longer?")


def test_the_base_model_is_asked_as_its_scores_were_made(folder: Path, noises: list[Utterance]) -> None:
    base = open_recogniser(f"qwen2-audio:{folder}", Options(extra={"mode": "base"}))
    (answer,) = base.recognise(noises[:1], Question("ASR", language="zh"))
    assert answer.prompt == "Detect the language and recognize the speech: <|zh|>"
    assert answer.raw == stock(folder, f"<|audio_bos|><|AUDIO|><|audio_eos|>{answer.prompt}", noises[0])
    assert answer.text == " ".join(answer.raw.split()) and base.describe()["mode"] == "base"


def test_a_prompt_is_taken_as_it_is(qwen: Qwen2Audio, folder: Path, noises: list[Utterance]) -> None:
    (answer,) = qwen.recognise(noises[:1], Question("S2TT", "Say it in German."))
    assert answer.reply == stock(folder, turn(folder, 1, "Say it in German."), noises[0]).strip()
    with pytest.raises(TaskError, match="needs the language to translate into"):
        qwen.recognise(noises, Question("S2TT"))


def test_what_it_would_ignore_is_an_error(qwen: Qwen2Audio, noises: list[Utterance], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", noise(3 * SAMPLE_RATE), SAMPLE_RATE)
    long, one = qwen.recognise([Utterance("long", str(tmp_path / "long.wav")), noises[0]], Question("SGC"))
    assert long.error == "long: lasts 3.0 s, and tiny-qwen takes 2 s at once: cut it" and one.error is None
    with pytest.raises(AudioError, match=r"lasts 3\.0 s"):
        qwen.chat([noise(3 * SAMPLE_RATE)])


def test_an_unknown_mode_is_reported(folder: Path) -> None:
    with pytest.raises(InputError, match="mode 'plain': choose chat or base"):
        open_recogniser(f"qwen2-audio:{folder}", Options(extra={"mode": "plain"}))
