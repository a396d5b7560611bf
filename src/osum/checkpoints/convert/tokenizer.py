"""The tokenizer and processor of a converted folder."""

from __future__ import annotations

from pathlib import Path

from transformers import GenerationConfig

from osum.checkpoints.convert.release import RELEASES
from osum.checkpoints.folder import read_sidecar
from osum.checkpoints.tokenizer import load_tokenizer
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
