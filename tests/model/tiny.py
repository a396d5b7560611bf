"""A tiny random model and processor for every layout, for any test that needs something to run.

    from model.tiny import tiny_model, tiny_processor
    model, processor = tiny_model("speech_first"), tiny_processor("speech_first")

Text is one id per UTF-8 byte; the control ids follow.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor

LAYOUTS = ("prompt_first", "speech_first", "chatml")
CONTROL_IDS = {"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258}
QWEN_CONTROL_IDS = {"<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645}
VOCAB_SIZE = 264
SYSTEM_PROMPT = "you are tiny"


def byte_tokenizer(control_ids: dict[str, int] | None = None, words: dict[str, int] | None = None) -> object:
    """One id per UTF-8 byte, as in the golden values, and control ids; `words` are tokens of their own."""
    control_ids, words = control_ids or CONTROL_IDS, words or {}
    vocab = {letter: byte for byte, letter in byte_letters().items()} | words | control_ids
    model = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(token, special=True) for token in control_ids])
    model.add_tokens([AddedToken(word, normalized=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=model, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )


def byte_letters() -> dict[int, str]:
    """The printable letter by which byte-level tokenizers write each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def tiny_config(layout: str = "prompt_first", **changes: object) -> OsumConfig:
    """Two encoder layers, one adaptor layer, two layers of Qwen2; 30 s of audio at most."""
    released = layout in {"prompt_first", "chatml"}
    fields: dict[str, object] = {
        "audio_config": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
        "adaptor_config": {"num_hidden_layers": 1, "intermediate_size": 32, "max_source_positions": 375},
        "text_config": {
            "vocab_size": VOCAB_SIZE,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 48,
            "tie_word_embeddings": layout != "prompt_first",
        },
        "layout": layout,
        "num_speech_ids": 7 if released else 0,
        "speech_output": layout == "chatml",
        "tie_word_embeddings": layout != "prompt_first",
        "initializer_range": 0.3,
    }
    return OsumConfig(**{**fields, **changes})


@cache
def _weights(layout: str) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = OsumForConditionalGeneration(tiny_config(layout)).state_dict()
        for name, value in state.items():
            tied = name == "lm_head.weight" and layout != "prompt_first"
            if value.dim() > 1 and "embed_positions" not in name and not tied:
                # Small embeddings: what the layers add must decide, or tied models repeat their last token.
                scale = 0.1 if "embed_tokens" in name else 1.0
                value.normal_(std=scale * value[0].numel() ** -0.5)
    return {name: value.clone() for name, value in state.items()}


def tiny_model(layout: str = "prompt_first", **changes: object) -> OsumForConditionalGeneration:
    """A random model, the same at every call, in `eval` mode; its answers depend on its sound and its text."""
    model = OsumForConditionalGeneration(tiny_config(layout, **changes))
    model.load_state_dict(_weights(layout))
    model.generation_config.eos_token_id = answer_end(layout)
    model.generation_config.pad_token_id = CONTROL_IDS["<|endoftext|>"]
    return model.eval()


def tiny_processor(layout: str = "prompt_first", system_prompt: str | None = None) -> OsumProcessor:
    """The processor that fits `tiny_model(layout)`."""
    return OsumProcessor.for_config(tiny_config(layout), byte_tokenizer(), answer_end(layout), system_prompt)


def answer_end(layout: str) -> int:
    """Id that closes an answer."""
    return CONTROL_IDS["<|endoftext|>" if layout == "prompt_first" else "<|im_end|>"]


def noise(num_samples: int, seed: int = 0) -> NDArray[np.float32]:
    """(S,) quiet noise at 16 kHz."""
    return (np.random.default_rng(seed).standard_normal(num_samples) * 0.1).astype(np.float32)
