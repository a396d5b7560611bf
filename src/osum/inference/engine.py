"""Engine: the only caller of the model. Clips and tasks in, raw answers and probabilities out.

A clip is encoded once; its audio embeddings serve every task. Knows nothing of files or windows.
Shapes: R rows (one request each), L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, set_seed
from transformers.generation import GenerationConfig

from osum.inference.checkpoint import Checkpoint
from osum.inference.options import GenerationOptions
from osum.model.encoder import length_mask
from osum.model.modeling_osum import positions
from osum.model.processing_osum import pad_features, pad_rows
from osum.tasks import Task

Samples = NDArray[np.float32]

BASE_TOKENS = 40
"""Longest answer for no audio at all."""
TOKENS_PER_SECOND = {"plain": 12, "timed": 90, "none": 0}
"""Added to it per second of audio: fast speech, and with times before and after each word."""
REPLY_TOKENS = 120
"""Added for a reply, whose length does not depend on the audio."""
ROWS_PER_PASS = 64
"""Rows of one forward pass; bounds memory, never answers."""
OPTIONS_PER_PASS = 128
"""Options scored in one forward pass, each with a copy of its row's cache; bounds memory likewise."""


@dataclass(frozen=True)
class Request:
    """One question about one clip of a batch."""

    clip: int
    prompt: str
    max_new_tokens: int


@dataclass(frozen=True)
class Encoded:
    """Audio embeddings of a batch of clips, each (T_i, D)."""

    audio: tuple[Tensor, ...]


class Engine:
    """Runs one checkpoint on one device."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = checkpoint.model
        self.processor = checkpoint.processor
        self.device = self.model.device
        self.end = self.processor.answer_end_token_id
        self.num_text = self.model.config.text_config.vocab_size
        self.speech_ids = list(range(self.num_text, self.model.config.vocab_size))

    @torch.inference_mode()
    def encode(self, clips: Sequence[Samples]) -> Encoded:
        """Waveforms (S_i,) at the model's rate to audio embeddings.

        Raises:
            AudioError: a clip is empty, not finite, or longer than the model takes.
        """
        features, mask = pad_features([self.processor.log_mel(clip) for clip in clips])
        return Encoded(self.model.get_audio_features(features.to(self.device), mask.to(self.device)))

    def token_limit(self, task: Task, seconds: float, options: GenerationOptions) -> int:
        """Longest answer of a task about a clip of `seconds`; depends on nothing else in the batch."""
        if options.max_new_tokens is not None:
            return options.max_new_tokens
        reply = REPLY_TOKENS if task.reply else 0
        return BASE_TOKENS + reply + int(TOKENS_PER_SECOND[task.transcript] * seconds)

    @torch.inference_mode()
    def answer(self, encoded: Encoded, requests: Sequence[Request], options: GenerationOptions) -> list[str]:
        """The raw answer of each request, in order."""
        answers = [""] * len(requests)
        for chunk in _chunks([request.max_new_tokens for request in requests], same=options.num_beams > 1):
            for index, text in zip(chunk, self._generate(encoded, [requests[i] for i in chunk], options), strict=True):
                answers[index] = text
        return answers

    def _generate(self, encoded: Encoded, requests: Sequence[Request], options: GenerationOptions) -> list[str]:
        inputs = self._inputs(encoded, [(request.clip, request.prompt, []) for request in requests])
        if options.do_sample and options.seed is not None:
            set_seed(options.seed)
        config = GenerationConfig(
            **options.to_generate(),
            max_new_tokens=max(request.max_new_tokens for request in requests),
            suppress_tokens=self.speech_ids or None,
            eos_token_id=self.end,
            pad_token_id=self.processor.pad_token_id,
        )
        ids = self.model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
        return [
            self.processor.decode(row[: request.max_new_tokens]) for row, request in zip(ids, requests, strict=True)
        ]

    @torch.inference_mode()
    def choose(
        self, encoded: Encoded, prefixes: Sequence[tuple[int, str, str]], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-probabilities of continuations: for each (clip, prompt, answer so far), one per option.

        An option is scored as the whole tag after the answer, from the first token in which the
        options differ, because a tag's `<` may melt into the token before it.
        """
        scores: list[list[float]] = []
        while len(scores) < len(prefixes):
            chunk = slice(len(scores), len(scores) + _fitting(options[len(scores) :]))
            scores += self._choose(encoded, prefixes[chunk], options[chunk])
        return scores

    def _choose(
        self, encoded: Encoded, prefixes: Sequence[tuple[int, str, str]], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        shared, tails = [], []
        for (_, _, answer), texts in zip(prefixes, options, strict=True):
            rows = [self._answer_ids(answer, text) for text in texts]
            same = _common(rows)
            shared.append(rows[0][:same])
            tails.append([row[same:] for row in rows])
        inputs = self._inputs(
            encoded, [(clip, prompt, ids) for (clip, prompt, _), ids in zip(prefixes, shared, strict=True)]
        )
        mask = inputs["attention_mask"]
        out = self.model(inputs_embeds=inputs["inputs_embeds"], attention_mask=mask, use_cache=True, logits_to_keep=1)
        log_probs = self._log_probs(out.logits[:, -1])  # (R, V)
        row_of = torch.tensor([row for row, tail in enumerate(tails) for _ in tail], device=self.device)
        flat = [ids for tail in tails for ids in tail]
        values = log_probs[row_of, torch.tensor([ids[0] for ids in flat], device=self.device)]  # (N,)
        if max(map(len, flat)) > 1:
            values = values + self._follow(out.past_key_values, mask, row_of, flat)
        split = torch.split(values, [len(tail) for tail in tails])
        return [part.tolist() for part in split]

    def _follow(self, cache: DynamicCache, mask: Tensor, row_of: Tensor, flat: list[list[int]]) -> Tensor:
        """Log-probability of every token but the first of N tails, each behind its row of the cache: (N,)."""
        longest = max(map(len, flat))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in flat], device=self.device)  # (N, C)
        real = length_mask(torch.tensor([len(row) for row in flat], device=self.device), longest)
        cache.batch_select_indices(row_of)
        full = torch.cat([mask[row_of], real.long()], dim=1)  # (N, L + C)
        out = self.model(
            input_ids=ids, attention_mask=full, position_ids=positions(full)[:, -longest:], past_key_values=cache
        )
        log_probs = self._log_probs(out.logits[:, :-1])  # (N, C - 1, V)
        steps = log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1)
        return (steps * real[:, 1:]).sum(1)

    @torch.inference_mode()
    def empty_probability(self, encoded: Encoded, clips: Sequence[int], prompt: str) -> list[float]:
        """Probability that the answer to a prompt ends before it begins, per clip."""
        inputs = self._inputs(encoded, [(clip, prompt, []) for clip in clips])
        out = self.model(
            inputs_embeds=inputs["inputs_embeds"], attention_mask=inputs["attention_mask"], logits_to_keep=1
        )
        return self._log_probs(out.logits[:, -1])[:, self.end].exp().tolist()

    def _log_probs(self, logits: Tensor) -> Tensor:
        """(..., V) over the text ids alone: an answer is text even where a model can speak (echat 1.6)."""
        return logits[..., : self.num_text].float().log_softmax(-1)

    def _answer_ids(self, answer: str, option: str) -> list[int]:
        return self.processor.text_ids(answer + option)

    def _inputs(self, encoded: Encoded, rows: Sequence[tuple[int, str, list[int]]]) -> dict[str, Any]:
        """Left-padded ids, mask and embeddings of (clip, prompt, answer ids so far) rows."""
        processor = self.processor
        ids = [
            processor.joint_ids(processor.request(prompt), [len(encoded.audio[clip])]) + answer
            for clip, prompt, answer in rows
        ]
        input_ids = pad_rows(ids, processor.pad_token_id, "left").to(self.device)  # (R, L)
        mask = pad_rows([[1] * len(row) for row in ids], 0, "left").to(self.device)
        embeds = self.model.model.embed_ids(input_ids)
        audio = torch.cat([encoded.audio[clip] for clip, _, _ in rows])  # (sum T_i, D)
        holes = (input_ids == processor.audio_token_id)[..., None]
        return {
            "input_ids": input_ids,
            "attention_mask": mask,
            "inputs_embeds": embeds.masked_scatter(holes, audio.to(embeds.dtype)),
        }


def _chunks(limits: Sequence[int], same: bool) -> Iterator[list[int]]:
    """Rows that decode together: of like token limits, as a batch decodes as long as its longest.

    With `same`, of equal limits: beams that a longer limit lets go on may end elsewhere.
    """
    order = sorted(range(len(limits)), key=limits.__getitem__)
    for _, group in groupby(order, key=lambda row: limits[row] if same else 0):
        rows = list(group)
        yield from (rows[first : first + ROWS_PER_PASS] for first in range(0, len(rows), ROWS_PER_PASS))


def _fitting(options: Sequence[Sequence[str]]) -> int:
    """How many leading rows are scored in one pass; at least one."""
    totals = accumulate(map(len, options[:ROWS_PER_PASS]))
    return max(1, sum(total <= OPTIONS_PER_PASS for total in totals))


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many leading ids all rows share; at least one id of each row is left over."""
    shortest = min(map(len, rows)) - 1
    for place in range(shortest):
        if len({row[place] for row in rows}) > 1:
            return place
    return shortest
