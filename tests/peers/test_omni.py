"""Qwen2.5-Omni as a dialogue model: what the stock class says of the same inputs, in text and aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model.tiny import noise
from transformers import Qwen2_5OmniForConditionalGeneration

from osum.audio import SAMPLE_RATE
from osum.errors import AudioError, CheckpointError, InputError
from osum.peers import omni, open_recogniser
from osum.peers.omni import RATE, SYSTEM, Omni
from osum.peers.recogniser import Options, Question
from osum.utterance import Utterance
from peers.models import write_omni, write_qwen2_audio

ASKED = [{"role": "user", "content": [{"type": "audio", "audio": noise(12_000)}, {"type": "text", "text": "Why?"}]}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_omni(tmp_path_factory.mktemp("omni") / "tiny-omni")


@pytest.fixture(scope="module")
def model(folder: Path) -> Omni:
    found = open_recogniser(f"omni:{folder}")
    assert isinstance(found, Omni)
    return found


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never stops; the talker's limit is of its class."""
    monkeypatch.setattr(omni, "MAX_NEW_TOKENS", 5)
    stock = Qwen2_5OmniForConditionalGeneration.generate
    limits = {"talker_max_new_tokens": 8, "token2wav_num_steps": 2}
    monkeypatch.setattr(
        Qwen2_5OmniForConditionalGeneration, "generate", lambda *given, **how: stock(*given, **limits, **how)
    )


def test_a_question_is_answered_in_text_and_aloud(model: Omni, noises: list[Utterance], tmp_path: Path) -> None:
    first, again = (model.reply(ASKED) for _ in range(2))
    assert first.text and first.samples is not None and first.sampling_rate == RATE and len(first.samples) > 0
    assert again.text == first.text and np.array_equal(first.samples, again.samples)
    assert model.describe()["voice"] == "Chelsie"
    aloud = Omni(model._opened, folder=tmp_path)
    answers = list(aloud.recognise(noises[:2], Question("STTC")))
    assert answers[0].reply_audio and Path(answers[0].reply_audio).is_file() and answers[1].error


def test_the_thinker_is_that_of_transformers_under_its_system_prompt(model: Omni, folder: Path) -> None:
    stock = Qwen2_5OmniForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer, extractor, template = model._opened.processor
    (said,) = (part["audio"] for part in ASKED[0]["content"] if part["type"] == "audio")  # type: ignore[union-attr]
    features = extractor(said, sampling_rate=SAMPLE_RATE, return_attention_mask=True, return_tensors="pt")
    length = (((features["attention_mask"].sum().item() - 1) // 2 + 1) - 2) // 2 + 1
    talk: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}, *ASKED]
    text = tokenizer.apply_chat_template(talk, chat_template=template, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(text.replace("<|AUDIO|>", "<|AUDIO|>" * length), return_tensors="pt")
    with torch.no_grad():
        ids = stock.thinker.generate(
            **inputs,
            input_features=features["input_features"],
            feature_attention_mask=features["attention_mask"],
            max_new_tokens=5,
            do_sample=False,
        )
    wanted = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    assert Omni(model._opened, voice=None).reply(ASKED).text == wanted


def test_a_peer_that_writes_and_does_not_speak_has_no_sound(model: Omni) -> None:
    reply = Omni(model._opened, voice=None).reply([{"role": "user", "content": "Hello"}])
    assert reply.text and reply.samples is None and reply.first_sound is None


def test_what_cannot_be_is_refused_in_a_line(model: Omni, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="speaks as Chelsie, or none"):
        open_recogniser(f"omni:{folder}", Options(extra={"voice": "Nobody"}))
    with pytest.raises(CheckpointError, match="'qwen2_audio', not qwen2_5_omni"):
        open_recogniser(f"omni:{write_qwen2_audio(tmp_path / 'other')}")
    with pytest.raises(AudioError, match=r"lasts 31\.0 s"):
        model.reply([{"role": "user", "content": [{"type": "audio", "audio": noise(31 * SAMPLE_RATE)}]}])
