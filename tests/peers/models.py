"""Tiny random models of the real classes, as folders that `from_pretrained` opens."""

from __future__ import annotations

from pathlib import Path

import torch
from model.tiny import byte_letters
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

WHISPERS_TAGS = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip

WINDOW = 2  # seconds, where Whisper has 30


def write_whisper(folder: Path, languages: tuple[str, ...] = ("en", "zh", "de")) -> Path:
    """A random Whisper of two layers that hears `WINDOW` seconds: one id per byte, then the tags, then the times."""
    tokenizer = WhisperTokenizer(
        vocab={letter: byte for byte, letter in byte_letters().items()}, merges=[], pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(WHISPERS_TAGS)})
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(WINDOW * 50 + 1)])
    id_of = tokenizer.convert_tokens_to_ids
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    sizes |= {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": len(tokenizer)}
    sizes |= {"max_source_positions": WINDOW * 50}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    start = id_of("<|startoftranscript|>")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(
            WhisperConfig(**sizes, **ids, decoder_start_token_id=start, init_std=0.3, max_target_positions=448)
        )
    multilingual = {
        "lang_to_id": {f"<|{code}|>": id_of(f"<|{code}|>") for code in languages},
        "task_to_id": {task: id_of(f"<|{task}|>") for task in ("translate", "transcribe")},
    }
    model.generation_config = GenerationConfig(
        **ids,
        decoder_start_token_id=start,
        no_timestamps_token_id=id_of("<|notimestamps|>"),
        prev_sot_token_id=id_of("<|startofprev|>"),
        alignment_heads=[[0, 0], [1, 1]],
        is_multilingual=bool(languages),
        max_initial_timestamp_index=50,
        max_length=16,
        **(multilingual if languages else {}),
    )
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(chunk_length=WINDOW), tokenizer).save_pretrained(folder)
    return folder
