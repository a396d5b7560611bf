"""Opening the tokenizer of a language model as its file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import cached_file

from osum.errors import ConversionError
from osum.model import OsumConfig

PROBES = ("the city, 12.5 of it", "今天天气很好。", "it's  <0.12>hello<0.50>\nworld")
"""Texts that tokenizers of other kinds cut differently: spaces, numbers, characters, tags."""


def load_tokenizer(tokenizer: str | Path, config: OsumConfig) -> Any:
    """A Hugging Face tokenizer whose ids all have a row in the model, as its `tokenizer.json` says.

    transformers takes the class of a model's type (`Qwen2Tokenizer`) for whatever stands beside that model, and that
    class keeps of the file only vocabulary and merges: a tokenizer of another kind would lose spaces and characters.
    """
    try:
        loaded = AutoTokenizer.from_pretrained(str(tokenizer))
        if not _is_as_written(loaded, str(tokenizer)):
            loaded = PreTrainedTokenizerFast.from_pretrained(str(tokenizer))
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


def _is_as_written(loaded: Any, name: str) -> bool:
    """Whether a tokenizer cuts and joins text as its file says; one without a file is as its class says."""
    path = cached_file(name, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
    if path is None or not hasattr(loaded, "backend_tokenizer"):
        return True
    written = Tokenizer.from_file(str(path))
    ids = [written.encode(text).ids for text in PROBES]
    cut = [loaded.backend_tokenizer.encode(text).ids for text in PROBES]
    joined = [loaded.backend_tokenizer.decode(some, skip_special_tokens=False) for some in ids]
    return cut == ids and joined == [written.decode(some, skip_special_tokens=False) for some in ids]
