"""A start for training from Hugging Face parts: a Whisper encoder, a Qwen2 language model, a fresh adaptor."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig, Qwen2ForCausalLM, WhisperModel

from osum.checkpoints.base import Base, write_apart
from osum.checkpoints.convert.convert import ConversionReport
from osum.checkpoints.folder import new_folder
from osum.checkpoints.one_scale import at_one_scale
from osum.checkpoints.tokenizer import load_tokenizer
from osum.errors import ConversionError
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.model.configuration_osum import Layout, encoder_sizes

ANSWER_ENDS = {"prompt_first": "<|endoftext|>", "speech_first": "<|im_end|>", "chatml": "<|im_end|>"}
"""Token that closes an answer in each layout."""


def from_parts(
    whisper: str | Path,
    llm: str | Path,
    out: Path,
    *,
    layout: Layout = "speech_first",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    overwrite: bool = False,
    adaptor: Mapping[str, int] | None = None,
    dropout: float | None = None,
    apart: str = "",
) -> ConversionReport:
    """Join an encoder and a language model; adaptor and speech table start from random values.

    Args:
        whisper: folder or hub name, `openai/whisper-medium`.
        llm: folder or hub name of any Qwen2 or Qwen2.5, with its tokenizer.
        out: new folder.
        layout: order of a request (see `osum.model.configuration_osum.Layout`).
        dtype: of the whole model; None takes the language model's.
        seed: of the adaptor.
        overwrite: replace `out`.
        adaptor: fields of `OsumAdaptorConfig` that differ from the release, such as `num_hidden_layers`.
        dropout: of encoder and adaptor while they learn; None takes the release's.
        apart: the hub's name of the language model, which is then left out (see `osum.checkpoints.base`).

    Raises:
        ConversionError: a part of another kind or without tokenizer, or `out` exists.
    """
    encoder_config = part_config(whisper, "whisper")
    text_config = part_config(llm, "qwen2")
    config = joined_config(encoder_config, text_config, layout)
    for part, fields in ((config.adaptor_config, adaptor or {}), (config.audio_config, {})):
        part.update({**fields, **({} if dropout is None else {"dropout": dropout})})
    config.dtype = dtype or text_config.dtype or torch.float32
    tokenizer = load_tokenizer(llm, config)
    answer_end = tokenizer.get_vocab().get(ANSWER_ENDS[layout], tokenizer.eos_token_id)
    if answer_end is None:
        raise ConversionError(f"the tokenizer of {llm} has neither {ANSWER_ENDS[layout]} nor an eos token: add one")
    with new_folder(Path(out), overwrite) as folder:
        model = joined_model(config, whisper, llm, seed)
        model.generation_config = GenerationConfig(
            eos_token_id=answer_end,
            pad_token_id=answer_end if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        )
        processor = OsumProcessor.for_config(config, tokenizer, answer_end)
        if apart:
            model.load_state_dict(at_one_scale(model.state_dict()))
            write_apart(folder, model, model.state_dict(), Base.of(model, tokenizer, apart), processor)
        else:
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
        num_files = len(list(folder.glob("model*.safetensors")))
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    return ConversionReport("parts", Path(out), sum(map(prod, shapes)), num_files, "none")


def joined_config(encoder: PreTrainedConfig, text: PreTrainedConfig, layout: Layout) -> OsumConfig:
    """The configuration of a model made of a Whisper encoder and a Qwen2."""
    return OsumConfig(
        audio_config=encoder_sizes(encoder),
        # An adaptor position is four encoder frames.
        adaptor_config={"max_source_positions": -(-encoder.max_source_positions // 4)},
        text_config=text.to_dict(),
        layout=layout,
        num_speech_ids=0,
        tie_word_embeddings=text.tie_word_embeddings,
    )


def joined_model(
    config: OsumConfig, whisper: str | Path, llm: str | Path, seed: int = 0
) -> OsumForConditionalGeneration:
    """The model, encoder and language model loaded from their parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = OsumForConditionalGeneration._from_config(config, dtype=config.dtype)
    encoder = WhisperModel.from_pretrained(str(whisper), dtype=config.dtype).encoder
    model.model.audio_tower.load_state_dict(encoder.state_dict())
    text = Qwen2ForCausalLM.from_pretrained(str(llm), dtype=config.dtype)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    model.tie_weights()
    return model


def part_config(name: str | Path, kind: str) -> Any:
    """The configuration of a folder or hub name.

    Raises:
        ConversionError: there is none, or it is not of the kind (`whisper`, `qwen2`).
    """
    try:
        config = AutoConfig.from_pretrained(str(name))
    except (OSError, ValueError) as fault:
        reason = str(fault).strip().splitlines()[0]
        raise ConversionError(f"{name} holds no {kind} model ({reason}): give a folder or hub name") from fault
    if config.model_type != kind:
        raise ConversionError(f"{name} is a {config.model_type} model: a {kind} model is needed here")
    return config
