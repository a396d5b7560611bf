"""A run of `kind: whisper`: a Whisper that learns the tasks in place of an OSUM (specification 5, stage 1).

The model is that of `osum.model.whisper_tasks`; here are its batches, its losses and where it begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from osum.checkpoints.convert.parts import part_config
from osum.errors import AudioError, RecipeError
from osum.model.configuration_osum import encoder_length
from osum.model.encoder import OsumEncoder
from osum.model.whisper_tasks import (
    NO_TIMES,
    START,
    TRANSCRIBE,
    WhisperTaskProcessor,
    decoder_states,
    tag_of,
    take_true_lengths,
)
from osum.tasks import Task, TaskSet
from osum.training.batch import Collator
from osum.training.checkpoint import opening
from osum.training.config import TrainConfig
from osum.training.learn import LORA, parts_of
from osum.training.objective import Encoded, Objective
from osum.utterance import Utterance


class WhisperCollator(Collator):
    """Asks for a task by its tag."""

    processor: WhisperTaskProcessor

    def candidates(self, utterance: Utterance) -> Sequence[Task]:
        """The tasks whose answers the decoder has room for.

        Raises:
            AudioError: there is none.
        """
        tasks = [task for task in super().candidates(utterance) if self.processor.fits(task.render(utterance))]
        if not tasks:
            raise AudioError(
                f"no answer of {utterance.id!r} fits into the {self.processor.max_tokens} tokens of the decoder: cut it"
            )
        return tasks

    def request(self, task: Task, utterance: Utterance, _rng: random.Random) -> str:
        """The tags of a task and of the clip's language."""
        return self.processor.tags(task, utterance.language)

    def request_length(self, task: Task, utterance: Utterance, _samples: int) -> int:
        """The number of tags; the decoder reads no audio."""
        return len(self.processor.text_ids(self.processor.tags(task, utterance.language)))


class WhisperObjective(Objective):
    """The losses of a Whisper that `start` made."""

    model: Any

    @property
    def tower(self) -> OsumEncoder:
        """The encoder of the model."""
        return cast(OsumEncoder, self.model.model.encoder)

    @property
    def embedding_width(self) -> int:
        """Width of the frames."""
        return int(self.tower.config.hidden_size)

    def embedding_length(self, frames: Tensor) -> Tensor:
        """Feature frames (B,) to encoder frames (B,)."""
        return encoder_length(frames)

    def encoded(self, features: Tensor, mask: Tensor) -> Encoded:
        """Log-mel (A, M, F) to the encoder's states (A, T, D), which the decoder attends to as they are."""
        states = self.tower(features, mask.sum(-1))
        return Encoded(states, None, states)

    def states(self, batch: Mapping[str, Any], embedded: Tensor, lengths: Tensor) -> Tensor:
        """(R, L, D): what the model's head sees at each token of a batch."""
        clips = batch["audio_index"]
        return decoder_states(self.model, batch["input_ids"], batch["attention_mask"], embedded[clips], lengths[clips])

    @property
    def num_text_ids(self) -> int:
        """All ids: a Whisper says nothing aloud."""
        return self.model.config.vocab_size

    def logits(self, states: Tensor) -> Tensor:
        """(N, D) to (N, V)."""
        return self.model.proj_out(states)


def start(config: TrainConfig, source: Path | None, tasks: TaskSet) -> tuple[Any, WhisperTaskProcessor]:
    """The Whisper of a folder, with a tag for each task and an encoder that takes true lengths.

    Raises:
        RecipeError: no folder, or an option that a Whisper cannot follow.
        ConversionError: the folder holds no Whisper.
        CheckpointError: its weights or its tokenizer cannot be read.
    """
    if source is None:
        raise RecipeError(
            f"model is {config.model!r}: kind whisper begins with a Whisper; give model=openai/whisper-medium"
        )
    if LORA in parts_of(config.learn) or config.quantize or config.answered_clips or config.token_weight:
        raise RecipeError(
            f"learn is {config.learn!r}, quantize is {config.quantize!r}, answered_clips is {config.answered_clips}, "
            f"token_weight is {config.token_weight:g}: a Whisper learns without lora or 4 bits, has no adaptor, and is "
            "validated by its loss; set learn=full quantize='' answered_clips=0 token_weight=0"
        )
    architecture = part_config(source, "whisper")
    with opening(source):
        model = WhisperForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
        written = WhisperProcessor.from_pretrained(source)
    add_tags(model, written.tokenizer, map(tag_of, tasks.values()))
    take_true_lengths(model)
    processor = WhisperTaskProcessor(
        written.feature_extractor,
        written.tokenizer,
        max_samples=model.model.encoder.config.max_samples,
        max_tokens=architecture.max_target_positions,
    )
    return model, processor


@torch.no_grad()
def add_tags(model: Any, tokenizer: Any, tags: Iterable[str]) -> None:
    """Give every tag an id and a row; a new one begins as a copy of `<|transcribe|>`.

    Raises:
        RecipeError: the tokenizer is of a Whisper that knows English alone, and has no tags of tasks.
    """
    known = tokenizer.get_vocab()
    if missing := [tag for tag in (START, TRANSCRIBE, NO_TIMES) if tag not in known]:
        raise RecipeError(
            f"the tokenizer has no {missing[0]}: give a multilingual Whisper, such as openai/whisper-medium"
        )
    new = [tag for tag in tags if tag not in known]
    tokenizer.add_tokens(new, special_tokens=True)
    size = max(tokenizer.get_vocab().values()) + 1
    if size > model.config.vocab_size:
        model.resize_token_embeddings(size, mean_resizing=False)
    for table in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:  # one where they are tied
        table[tokenizer.convert_tokens_to_ids(new)] = table[known[TRANSCRIBE]].clone()
