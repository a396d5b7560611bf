"""A tiny Whisper and a tiny Qwen2, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model.tiny import VOCAB_SIZE, byte_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM, WhisperConfig, WhisperModel

from osum.checkpoints.convert import from_parts


def small_qwen(vocab_size: int) -> Qwen2ForCausalLM:
    text = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        bos_token_id=256,
        eos_token_id=258,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(text)


def small_whisper() -> WhisperModel:
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 60_000}
    return WhisperModel(WhisperConfig(**sizes, **decoder, num_mel_bins=80))


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `whisper` and `qwen`, and `ours` made of them."""
    folder: Path = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    small_whisper().save_pretrained(folder / "whisper")
    small_qwen(VOCAB_SIZE).save_pretrained(folder / "qwen")
    byte_tokenizer().save_pretrained(folder / "qwen")
    from_parts(folder / "whisper", folder / "qwen", folder / "ours")
    return folder
