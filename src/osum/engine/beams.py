"""Beam search by the stock `generate`, for the original's settings and for comparison.

Shapes: R rows, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.generation import GenerationConfig

from osum.engine.options import GenerationOptions
from osum.model import OsumProcessor
from osum.model.interface import EngineModel
from osum.model.processing_osum import pad_rows


def search(
    model: EngineModel,
    processor: OsumProcessor,
    rows: Sequence[tuple[list[int], Tensor]],
    limit: int,
    options: GenerationOptions,
) -> list[list[int]]:
    """The answers to joint ids with their audio (sum T_i, D), ends included, all of the same limit.

    Seeded sampling leaves the random numbers of the caller as they were.
    """
    ids = pad_rows([row for row, _ in rows], processor.pad_token_id, "left").to(model.device)  # (R, L)
    mask = pad_rows([[1] * len(row) for row, _ in rows], 0, "left").to(model.device)
    embeds = model.embed_ids(ids)  # (R, L, D)
    holes = (ids == processor.audio_token_id)[..., None]
    embeds = embeds.masked_scatter(holes, torch.cat([audio for _, audio in rows]).to(embeds.dtype))
    config = GenerationConfig(
        **options.to_generate(),
        max_new_tokens=limit,
        suppress_tokens=list(range(model.config.text_config.vocab_size, model.config.vocab_size)) or None,
        eos_token_id=processor.answer_end_token_id,
        pad_token_id=processor.pad_token_id,
    )
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=options.seed is not None):
        if options.do_sample and options.seed is not None:
            torch.manual_seed(options.seed)
        found = model.generate(input_ids=ids, attention_mask=mask, inputs_embeds=embeds, generation_config=config)
    answers: list[list[int]] = found[:, ids.shape[1] :].tolist()
    return answers
