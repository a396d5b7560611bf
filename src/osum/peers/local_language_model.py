"""A language model of a local folder, run by transformers: many requests at once, one answer for each.

1. The messages go through the model's chat template; requests of like length share a batch, padded on the left.
2. Each answer is drawn by a random generator of its own, seeded by its request (Gumbel-max: the token with the largest
   score plus noise follows the softmax of the scores). What it is batched with does not change it, to rounding.
3. An answer is held to its schema while it is written; one that gets too long is asked for again with the next seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from osum.checkpoints.locate import first_line
from osum.errors import CheckpointError, EndpointError
from osum.listening.placement import DTYPES, placement
from osum.peers.completion import Completion, CompletionRequest, Message
from osum.peers.shaped_answer import ShapedAnswer

ANSWERS = 3
"""Of one request, until one fits its schema."""


class LocalLanguageModel:
    """A causal language model with a chat template.

    Args:
        folder: as transformers saves a model; nothing is fetched.
        device, dtype: empty for the best that there is.
        batch_size: requests that are answered at the same time.

    Raises:
        CheckpointError: the folder holds no such model.
    """

    def __init__(self, folder: Path, device: str = "", dtype: str = "", batch_size: int = 16) -> None:
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

        self._device, kind = placement(device or None, dtype or None)
        try:
            # As its file says: the class that AutoTokenizer takes for a model's type may read it otherwise.
            self._tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(
                str(folder), padding_side="left", local_files_only=True
            )
            model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=DTYPES[kind], local_files_only=True)
        except (OSError, ValueError, KeyError) as fault:
            raise CheckpointError(
                f"{folder} cannot be opened as a language model ({first_line(fault)}): name a folder that transformers "
                "saved"
            ) from fault
        if self._tokenizer.chat_template is None:
            raise CheckpointError(f"{folder} has no chat template: take a model that was tuned to answer")
        self._model, self._name, self._batch_size = model.to(self._device).eval(), folder.name, batch_size
        self._quotes = {number for token, number in self._tokenizer.get_vocab().items() if '"' in token}
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    def ask(self, requests: Sequence[CompletionRequest]) -> list[Completion | EndpointError]:
        """For each request an answer that fits its schema, or why there is none."""
        found: list[Completion | EndpointError] = [EndpointError("not asked")] * len(requests)
        left = list(range(len(requests)))
        for attempt in range(ANSWERS):
            asked = [replace(requests[at], seed=requests[at].seed + attempt) for at in left]
            for at, request, message in zip(left, asked, self._said(asked), strict=True):
                found[at] = _read(message, request)
            left = [at for at in left if str(found[at]).startswith(_UNFIT)]
        return found

    def _said(self, requests: Sequence[CompletionRequest]) -> list[Message]:
        """An answer to each request, read or not; those of like length share a batch."""
        prompts = [
            self._tokenizer.apply_chat_template(list(request.messages), tokenize=False, add_generation_prompt=True)
            for request in requests
        ]
        order = sorted(range(len(requests)), key=lambda at: len(prompts[at]))
        said: dict[int, Message] = {}
        for first in range(0, len(order), self._batch_size):
            batch = order[first : first + self._batch_size]
            messages = self._generate([prompts[at] for at in batch], [requests[at] for at in batch])
            said.update(zip(batch, messages, strict=True))
        return [said[at] for at in range(len(requests))]

    @torch.inference_mode()
    def _generate(self, prompts: list[str], requests: Sequence[CompletionRequest]) -> list[Message]:
        inputs = self._tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(self._device)
        size, longest = inputs["input_ids"].shape[1], max(request.max_tokens for request in requests)
        shapes = [self._shape(request) for request in requests]
        drawn = _Drawn(requests, shapes, self._ends, self._tokenizer.all_special_ids)
        made = self._model.generate(
            **inputs, do_sample=False, max_new_tokens=longest, logits_processor=[drawn],
            temperature=None, top_p=None, top_k=None, pad_token_id=self._tokenizer.pad_token_id,
        )  # fmt: skip
        ends = torch.isin(made[:, size:], torch.tensor(self._ends, device=made.device))  # (B, L)
        return [
            self._message(made[at, size:], ends[at], int(inputs["attention_mask"][at].sum()), request, shape)
            for at, (request, shape) in enumerate(zip(requests, shapes, strict=True))
        ]

    def _shape(self, request: CompletionRequest) -> ShapedAnswer | None:
        if request.schema is None:
            return None

        def encode(text: str) -> list[int]:
            return list(self._tokenizer.encode(text, add_special_tokens=False))

        return ShapedAnswer(request.schema, encode, self._tokenizer.decode, self._quotes)

    @property
    def _ends(self) -> list[int]:
        known = self._model.generation_config.eos_token_id
        return known if isinstance(known, list) else [self._tokenizer.eos_token_id if known is None else known]

    def _message(
        self, made: Tensor, ends: Tensor, prompt: int, request: CompletionRequest, shape: ShapedAnswer | None
    ) -> Message:
        """What was generated, (L,) ids with a mark at each end, until the first end or the most tokens."""
        places = ends.nonzero()
        count = min(int(places[0]) if len(places) else len(made), request.max_tokens)
        text = self._tokenizer.decode(made[:count], skip_special_tokens=True) if shape is None else shape.text
        whole = count < request.max_tokens if shape is None else shape.done
        return Message(text, None, "stop" if whole else "length", self._name, (prompt, count))


_UNFIT = "answers out of schema"


def _read(message: Message, request: CompletionRequest) -> Completion | EndpointError:
    try:
        return message.reply(request, ())
    except ValueError as fault:
        return EndpointError(f"{_UNFIT} ({ANSWERS} of them), the last: {fault}")
    except EndpointError as fault:
        return fault


class _Drawn:
    """A processor of scores (B, V) by which greedy decoding draws: what a schema does not allow is ruled out, and noise
    of each request's own generator is added."""

    def __init__(
        self,
        requests: Sequence[CompletionRequest],
        shapes: Sequence[ShapedAnswer | None],
        ends: Sequence[int],
        special: Sequence[int],
    ) -> None:
        self._heat = [request.temperature for request in requests]
        self._drawn = [torch.Generator().manual_seed(int(request.digest[:15], 16)) for request in requests]
        self._shapes, self._ends, self._special = shapes, ends, [*ends, *special]
        self._begun = False

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.float()
        for at, (heat, shape) in enumerate(zip(self._heat, self._shapes, strict=True)):
            if shape is not None:
                self._shape(scores[at], shape, int(ids[at, -1]))
            if heat:
                noise = torch.empty(scores.shape[1]).exponential_(generator=self._drawn[at]).log_().neg_()
                scores[at] = scores[at] / heat + noise.to(scores.device)
        self._begun = True
        return scores

    def _shape(self, scores: Tensor, shape: ShapedAnswer, last: int) -> None:
        """Rule out, in scores (V,), what may not follow the last token."""
        if self._begun and shape.allowed() != []:
            shape.add(last)
        allowed = shape.allowed()
        if allowed is None:
            scores[self._special] = -torch.inf
        else:
            allowed = allowed or list(self._ends)
            kept = scores[allowed]
            scores.fill_(-torch.inf)
            scores[allowed] = kept
