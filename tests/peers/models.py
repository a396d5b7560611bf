"""Tiny random models of the real classes, as folders that `from_pretrained` opens."""

from __future__ import annotations

from pathlib import Path

import torch
from model.tiny import CONTROL_IDS, byte_letters, byte_tokenizer
from transformers import (
    GenerationConfig,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from osum.model.templates import CHATML

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


def write_omni(folder: Path) -> Path:
    """A random Qwen2.5-Omni, thinker, talker and what makes its sound: one id per byte, then the control tokens."""
    marks = (
        "<|AUDIO|>",
        "<|audio_bos|>",
        "<|audio_eos|>",
        "<|IMAGE|>",
        "<|VIDEO|>",
        "<|vision_bos|>",
        "<|vision_eos|>",
    )
    ids = CONTROL_IDS | {mark: 259 + at for at, mark in enumerate(marks)}
    tokenizer = byte_tokenizer(ids)
    tokenizer.chat_template = CHATML.replace("<|audio|>", "<|audio_bos|><|AUDIO|><|audio_eos|>")
    places = {f"{name}_token_index": ids[f"<|{name.upper()}|>"] for name in ("audio", "image", "video")}
    places |= {"audio_start_token_id": 260, "audio_end_token_id": 261}
    places |= {"vision_start_token_id": 264, "vision_end_token_id": 265}
    decoder = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2}
    decoder |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
    thinker = {
        **places,
        "audio_config": {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
        | {"num_mel_bins": 128, "max_source_positions": 1500, "n_window": 100, "output_dim": 32},
        "vision_config": {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32}
        | {"fullatt_block_indexes": [0]},
        "text_config": {**decoder, "vocab_size": 320, "num_hidden_layers": 2, "initializer_range": 0.3}
        | {"tie_word_embeddings": False},
    }
    talker = {**places, **decoder, "vocab_size": 8448, "num_hidden_layers": 1, "head_dim": 16, "embedding_size": 32}
    talker |= {"tts_text_start_token_id": 266, "tts_text_end_token_id": 267, "tts_text_pad_token_id": 268}
    dit = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16, "emb_dim": 16}
    dit |= {"num_embeds": 8449, "enc_emb_dim": 16, "enc_dim": 8, "enc_channels": [16, 16, 16, 16, 48]}
    dit |= {"enc_attention_channels": 8, "enc_se_channels": 8, "look_ahead_layers": [0], "look_backward_layers": [0]}
    vocoder = {"upsample_initial_channel": 16, "upsample_rates": [5, 3, 16], "upsample_kernel_sizes": [11, 7, 32]}
    vocoder |= {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2_5OmniForConditionalGeneration(
            Qwen2_5OmniConfig(
                thinker_config=thinker,
                talker_config=talker,
                token2wav_config={"dit_config": dit, "bigvgan_config": vocoder},
            )
        )
        speaker = {"bos_token": 266, "cond": torch.randn(1, 16), "ref_mel": torch.randn(1, 30, 80)}
    model.generation_config = GenerationConfig(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    model.thinker.generation_config = model.generation_config
    model.save_pretrained(folder)
    torch.save({"Chelsie": speaker}, folder / "spk_dict.pt")
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
