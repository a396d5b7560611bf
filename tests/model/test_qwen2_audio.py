"""Qwen2-Audio in the engine: features, sound and ids are those of the stock classes of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peers.models import write_qwen2_audio
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from model.tiny import noise
from osum.errors import AudioError, LayoutError
from osum.model import qwen2_audio
from osum.model.processing_osum import pad_features
from osum.model.qwen2_audio import HostedQwen2Audio, HostedQwen2AudioProcessor

LENGTHS = (1, 399, 400, 15_999, 16_000, 16_160, 31_680, 31_681, 31_840, 31_841, 32_000)
"""Samples; 32,000 is all that the tiny model takes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen2_audio(tmp_path_factory.mktemp("qwen") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> HostedQwen2Audio:
    return qwen2_audio.opened(folder)[0].eval()


@pytest.fixture(scope="module")
def stock(folder: Path) -> Qwen2AudioProcessor:
    return Qwen2AudioProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def processor(model: HostedQwen2Audio, folder: Path) -> HostedQwen2AudioProcessor:
    return qwen2_audio.processor_of(folder, model.config)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_features_of_a_clip_are_the_first_of_the_stock_ones(
    length: int, processor: HostedQwen2AudioProcessor, stock: Qwen2AudioProcessor
) -> None:
    clip = noise(length)
    found = processor.log_mel(clip)
    whole = torch.tensor(stock.feature_extractor(clip, sampling_rate=16_000, return_tensors="np")["input_features"][0])
    shared = min(found.shape[1], whole.shape[1])
    assert torch.allclose(found[:, :shared], whole[:, :shared], atol=1e-5) and not found[:, shared:].any()


def test_the_encoder_gives_what_the_stock_one_gives_of_thirty_seconds(
    model: HostedQwen2Audio, processor: HostedQwen2AudioProcessor, stock: Qwen2AudioProcessor, folder: Path
) -> None:
    clips = [noise(length, length) for length in LENGTHS if length >= 400]
    features, mask = pad_features([processor.log_mel(clip) for clip in clips])
    with torch.no_grad():
        together = model.get_audio_features(features, mask)
    plain = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()
    for clip, found in zip(clips, together, strict=True):
        wanted = _stock_sound(plain, stock, clip)
        assert found.shape == wanted.shape == (model.config.num_audio_tokens(len(clip)), 32)
        assert torch.allclose(found, wanted, atol=1e-5)


def _stock_sound(plain: Qwen2AudioForConditionalGeneration, stock: Qwen2AudioProcessor, clip: object) -> torch.Tensor:
    """The embeddings that the stock model puts in place of its placeholders."""
    inputs = stock(text="x<|AUDIO|>", audio=[clip], sampling_rate=16_000, return_tensors="pt")
    seen = {}
    hook = plain.model.language_model.register_forward_pre_hook(
        lambda _, __, given: seen.update(given), with_kwargs=True
    )
    with torch.no_grad():
        plain(**inputs)
    hook.remove()
    return seen["inputs_embeds"][0, 1:]


def test_a_conversation_has_the_ids_of_the_stock_processor(
    processor: HostedQwen2AudioProcessor, stock: Qwen2AudioProcessor
) -> None:
    clips = [noise(9_000), noise(20_000)]
    sound = {"type": "audio", "audio_url": "a.wav"}
    conversation = [
        {"role": "user", "content": [sound, {"type": "text", "text": "What's that?"}]},
        {"role": "assistant", "content": "Glass."},
        {"role": "user", "content": [sound]},
    ]
    text = stock.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    wanted = stock(text=text, audio=clips, sampling_rate=16_000, return_tensors="pt")["input_ids"][0].tolist()
    lengths = [processor.num_audio_tokens(processor.log_mel(clip).shape[1]) for clip in clips]
    assert processor.render(conversation) == text
    assert processor.joint_ids(text, lengths) == wanted


def test_clips_that_the_text_does_not_name_are_refused(processor: HostedQwen2AudioProcessor) -> None:
    with pytest.raises(LayoutError, match="names 1 clips, 2 were given"):
        processor.joint_ids(processor.request("hi"), [3, 4])
    with pytest.raises(AudioError, match="at most 2 s"):
        processor.log_mel(noise(32_001))
    with pytest.raises(AudioError, match="with samples"):
        processor.log_mel(noise(0))


def test_a_prompt_that_places_the_sound_is_the_whole_text(processor: HostedQwen2AudioProcessor) -> None:
    prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>Generate the caption in English:"
    assert processor.request(prompt) == prompt
    assert processor.end_of(prompt) == 256 and processor.end_of(processor.request("hi")) == 258
    assert processor.request("") == processor.render([{"role": "user", "content": [{"type": "audio"}]}])
