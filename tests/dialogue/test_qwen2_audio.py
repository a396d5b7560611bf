"""Qwen2-Audio with our engine: the four examples of its page are answered as by stock transformers; labels as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from model.tiny import noise
from peers.models import write_qwen2_audio
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

import osum
from osum.errors import AudioError, InputError, LayoutError

NEW = 8
BASE = "<|audio_bos|><|AUDIO|><|audio_eos|>Generate the caption in English:"
HOW = osum.TalkOptions(generation=osum.GenerationOptions(max_new_tokens=NEW))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen2_audio(tmp_path_factory.mktemp("qwen") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> osum.Model:
    return osum.load(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Local files in place of those of the page: glass, throat clearing, speech."""
    paths = []
    for number, name in enumerate(("glass", "throat", "speech")):
        paths.append(str(tmp_path_factory.mktemp("clips") / f"{name}.wav"))
        soundfile.write(paths[-1], noise(12_000 + 7_001 * number, number), 16_000)
    return paths


class Stock:
    """The page's own code, greedy; its `audios=` is `audio=` today."""

    def __init__(self, folder: Path) -> None:
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()
        self.processor: Any = Qwen2AudioProcessor.from_pretrained(folder)

    def __call__(self, texts: list[str], paths: list[str]) -> list[str]:
        audio = [soundfile.read(path, dtype="float32")[0] for path in paths]
        inputs = self.processor(
            text=texts, audio=audio, sampling_rate=16_000, return_tensors="pt", padding=True, padding_side="left"
        )
        ids = self.model.generate(**inputs, max_new_tokens=NEW, do_sample=False, repetition_penalty=1.0)
        return self.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def talk(self, *conversations: list[dict[str, Any]]) -> list[str]:
        parts = [part for talk in conversations for turn in talk for part in turn["content"] if "path" in part]
        texts = [
            self.processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
            for talk in conversations
        ]
        return self(texts, [part["path"] for part in parts])


@pytest.fixture(scope="module")
def stock(folder: Path) -> Iterator[Stock]:
    yield Stock(folder)


def user(path: str | None = None, text: str | None = None) -> dict[str, Any]:
    sound = [] if path is None else [{"type": "audio", "path": path}]
    return {"role": "user", "content": [*sound, *([] if text is None else [{"type": "text", "text": text}])]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def voice_chat(clips: list[str]) -> list[dict[str, Any]]:
    return [user(clips[0]), assistant("Yes, the speaker is female and in her twenties."), user(clips[2])]


def analysis(clips: list[str]) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        user(clips[0], "What's that sound?"),
        assistant("It is the sound of glass shattering."),
        user(text="What can you do when you hear that?"),
        assistant("Stay alert and cautious, and check if anyone is hurt or if there is any damage to property."),
        user(clips[2], "What does the person say?"),
    ]


def pair(clips: list[str]) -> list[list[dict[str, Any]]]:
    first = user(clips[0], "What's that sound?")
    return [
        [first, assistant("It is the sound of glass shattering."), user(clips[1], "What can you hear?")],
        [user(clips[2], "What does the person say?")],
    ]


def test_voice_chat_is_that_of_transformers(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    (wanted,) = stock.talk(voice_chat(clips))
    assert model.reply(voice_chat(clips), HOW).text == wanted.strip() and wanted


def test_audio_analysis_is_that_of_transformers(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    (wanted,) = stock.talk(analysis(clips))
    assert model.reply(analysis(clips), HOW).text == wanted.strip()


def test_a_batch_changes_no_reply(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    together = [reply.text for reply in model.replies(pair(clips), HOW)]
    assert together == [model.reply(talk, HOW).text for talk in pair(clips)]
    assert together == [text.strip() for text in stock.talk(*pair(clips))]


def test_the_base_prompt_is_taken_as_it_is(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    (wanted,) = stock([BASE], clips[:1])
    assert model.ask(clips[0], BASE, HOW.generation) == wanted


def test_beams_are_those_of_transformers(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    text = stock.processor.apply_chat_template([user(clips[0], "Why?")], add_generation_prompt=True, tokenize=False)
    audio = soundfile.read(clips[0], dtype="float32")[0]
    inputs = stock.processor(text=text, audio=[audio], sampling_rate=16_000, return_tensors="pt")
    ids = stock.model.generate(**inputs, max_new_tokens=NEW, num_beams=3, do_sample=False, repetition_penalty=1.0)
    wanted = stock.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    assert model.ask(clips[0], "Why?", osum.GenerationOptions(max_new_tokens=NEW, num_beams=3)) == wanted


def test_the_probability_of_a_label_is_that_of_its_words(model: osum.Model, stock: Stock, clips: list[str]) -> None:
    answer = model.label(clips[0], tasks="SGC", withhold=False).summary["SGC"]
    (prompt,) = model.prompts("SGC")
    text = stock.processor.apply_chat_template([user(clips[0], prompt)], add_generation_prompt=True, tokenize=False)
    scores = torch.tensor([_log_p(stock, text, word, clips[0]) for word in ("female", "male")])
    assert answer.distribution is not None
    assert [*answer.distribution.values()] == pytest.approx(scores.softmax(0).tolist(), abs=1e-4)


def _log_p(stock: Stock, text: str, word: str, path: str) -> float:
    """Log-probability of a word behind a prompt, by one pass of the stock model."""
    audio = soundfile.read(path, dtype="float32")[0]
    inputs = stock.processor(text=text + word, audio=[audio], sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        log_probs = stock.model(**inputs).logits[0].log_softmax(-1)
    ids = inputs["input_ids"][0]
    size = len(stock.processor.tokenizer(word)["input_ids"])
    return sum(log_probs[at - 1, ids[at]].item() for at in range(len(ids) - size, len(ids)))


def test_all_questions_share_one_pass_of_the_encoder_and_answer_as_alone(model: osum.Model, clips: list[str]) -> None:
    before = model.engine.counts.clips
    together = model.label(clips[0], withhold=False)
    assert model.engine.counts.clips == before + 1 and {*together.summary} == {"VED", "SER", "SGC", "SAP", "LID"}
    for task, answer in together.summary.items():
        alone = model.label(clips[0], tasks=task, withhold=False).summary[task]
        assert alone.raw == answer.raw and alone.distribution == pytest.approx(answer.distribution, abs=1e-4)


def test_a_batch_changes_no_label(model: osum.Model, clips: list[str]) -> None:
    for row, path in zip(model.label(clips, tasks="SER,ASR"), clips, strict=True):
        alone = model.label(path, tasks="SER,ASR")
        assert (row.text, row.error) == (alone.text, None)
        assert row.summary["SER"].label == alone.summary["SER"].label


def test_a_long_recording_is_answered_by_windows(model: osum.Model) -> None:
    row = model.label((noise(16_000 * 5), 16_000), tasks="ASR,SGC", withhold=False)
    assert row.duration == 5.0 and len(row.segments) >= 3 and row.segments[-1].end == 5.0
    assert all("SGC" in segment.labels for segment in row.segments)


def test_what_it_cannot_do_is_refused_in_a_line(model: osum.Model, clips: list[str]) -> None:
    with pytest.raises(InputError, match=r"holds '<\|AUDIO\|>', which steers the model"):
        model.reply([user(text="a <|AUDIO|> b")])
    with pytest.raises(InputError, match="thinking, turns and the release's ways are of OSUM-EChat"):
        model.reply([user(clips[0])], osum.TalkOptions(thinking="tag"))
    with pytest.raises(LayoutError, match="no speech head"):
        model.reply([user(clips[0])], osum.TalkOptions(aloud=True))
    with pytest.raises(AudioError, match="at most 2 s"):
        model.reply([{"role": "user", "content": [{"type": "audio", "audio": np.zeros(40_000, np.float32)}]}])


def test_the_examples_of_the_guide_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("glass", "cough", "speech")):
        soundfile.write(tmp_path / f"{name}.wav", noise(12_000, number), 16_000)
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[2] / "docs/peers.md").read_text("utf8")
    code = guide.split("<!-- run by tests/dialogue/test_qwen2_audio.py -->\n```python\n")[1].split("```")[0]
    calls = [line for line in code.splitlines() if line and not line.startswith(("import", "def", " "))]
    assert len(calls) <= 10
    exec(code.replace("Qwen/Qwen2-Audio-7B-Instruct", str(folder)), {})
    assert len(capsys.readouterr().out.splitlines()) >= 5
