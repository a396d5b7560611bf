"""Tiny random models of the real classes, as folders that `from_pretrained` opens."""

from __future__ import annotations

from pathlib import Path

import torch
from model.tiny import CONTROL_IDS, byte_letters, byte_tokenizer
from transformers import (
    GenerationConfig,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
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
    """A random Whisper of two layers that takes `WINDOW` seconds: one id per byte, then the tags, then the times."""
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


def write_qwen2_audio(folder: Path) -> Path:
    """A random Qwen2-Audio of two layers that takes `WINDOW` seconds: one id per byte, then the control tokens."""
    ids = CONTROL_IDS | {"<|AUDIO|>": 259, "<|audio_bos|>": 260, "<|audio_eos|>": 261}
    tokenizer = byte_tokenizer(ids)
    audio = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    audio |= {"num_mel_bins": 128, "max_source_positions": WINDOW * 50}
    text = {"model_type": "qwen2", "vocab_size": 264, "hidden_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48, "initializer_range": 0.3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2AudioForConditionalGeneration(
            Qwen2AudioConfig(
                audio_config={"model_type": "qwen2_audio_encoder", **audio, "initializer_range": 0.3},
                text_config=text,
                audio_token_index=ids["<|AUDIO|>"],
                initializer_range=0.3,
            )
        )
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    model.generation_config = GenerationConfig(**ends, do_sample=True, top_k=20, repetition_penalty=1.1)
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=WINDOW)
    Qwen2AudioProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder
