"""The tokenizer and processor of a converted folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from transformers.utils import cached_file

from osum.checkpoints.convert.release import RELEASES
from osum.checkpoints.folder import read_sidecar
from osum.errors import ConversionError
from osum.model import OsumConfig, OsumProcessor

_PROBES = ("the city, 12.5 of it", "今天天气很好。", "it's  <0.12>hello<0.50>\nworld")
"""Texts that tokenizers of other kinds cut differently: spaces, numbers, characters, tags."""


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
    ids = [written.encode(text).ids for text in _PROBES]
    cut = [loaded.backend_tokenizer.encode(text).ids for text in _PROBES]
    joined = [loaded.backend_tokenizer.decode(some, skip_special_tokens=False) for some in ids]
    return cut == ids and joined == [written.decode(some, skip_special_tokens=False) for some in ids]
