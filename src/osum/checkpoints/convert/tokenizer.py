"""The tokenizer and processor of a converted folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, GenerationConfig

from osum.checkpoints.convert.release import RELEASES
from osum.checkpoints.folder import read_sidecar
from osum.errors import ConversionError
from osum.model import OsumConfig, OsumProcessor


def add_tokenizer(folder: str | Path, tokenizer: str | Path) -> OsumProcessor:
    """Write tokenizer and processor into a converted folder.

    Args:
        folder: a folder that `convert` wrote.
        tokenizer: folder or hub name of the language model's tokenizer.

    Raises:
        ConversionError: no tokenizer there, or one with more ids than the model has rows.
    """
    config = OsumConfig.from_pretrained(folder)
    answer_end = GenerationConfig.from_pretrained(folder).eos_token_id
    release = RELEASES.get(read_sidecar(Path(folder)).get("release", ""))
    processor = OsumProcessor.for_config(
        config, load_tokenizer(tokenizer, config), answer_end, (release.system_prompt or None) if release else None
    )
    processor.save_pretrained(folder)
    return processor


def load_tokenizer(tokenizer: str | Path, config: OsumConfig) -> Any:
    """A Hugging Face tokenizer whose ids all have a row in the model."""
    try:
        loaded = AutoTokenizer.from_pretrained(str(tokenizer))
    except (OSError, ValueError, KeyError) as fault:
        reason = str(fault).strip().splitlines()[0]
        raise ConversionError(
            f"{tokenizer} holds no tokenizer ({reason}): give a folder with tokenizer.json, or a hub name"
        ) from fault
    largest, text = max(loaded.get_vocab().values()), cast(Any, config.text_config)
    if largest >= text.vocab_size:
        raise ConversionError(
            f"{tokenizer} has ids up to {largest}, the model {text.vocab_size} rows: "
            "give the tokenizer that the model was trained with"
        )
    return loaded
