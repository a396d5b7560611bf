"""A Whisper that learns the tasks: what a run of `kind: whisper` trains in place of an OSUM (specification 5, stage 1).

Each task has a tag of its own next to Whisper's, and one pass answers one task:

    <|startoftranscript|><|en|><|SER|><|notimestamps|>good morning<happy><|endoftext|>

The tags are added to the tokenizer, with new rows in the table of embeddings; the original re-used ids of unrelated
words. ASR keeps Whisper's own `<|transcribe|>`. Clips have their true lengths, as in every other run: stock
transformers pads to 30 s, and the encoder of an OSUM, for which this one is made, never does.
Shapes as in `osum.model.encoder`; R answers, L tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPERS_LANGUAGES

from osum.checkpoints.convert.parts import encoder_sizes, part_config
from osum.errors import AudioError, RecipeError
from osum.model import OsumAudioConfig, OsumProcessor
from osum.model.configuration_osum import IGNORED, encoder_length
from osum.model.encoder import OsumEncoder, length_mask
from osum.model.processing_osum import pad_features, pad_rows
from osum.tasks import LANGUAGES, Task, TaskSet
from osum.training.batch import Collator
from osum.training.checkpoint import opening
from osum.training.config import TrainConfig
from osum.training.learn import LORA, parts_of
from osum.training.objective import Objective
from osum.utterance import Utterance

START, TRANSCRIBE, NO_TIMES = "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
"""Whisper's own tags that every row needs."""


def tag_of(task: Task) -> str:
    """The token that asks for a task; `<|transcribe|>` is what Whisper knows ASR by."""
    return TRANSCRIBE if task.name == "ASR" else f"<|{task.name}|>"


class WhisperTaskProcessor(OsumProcessor):
    """Whisper's tokenizer and features behind the interface that training asks; saved as Whisper's own processor.

    Args:
        feature_extractor: of the Whisper.
        tokenizer: of the Whisper, with the tags of the tasks.
        max_samples: longest clip in samples.
        max_tokens: longest row of tokens that the decoder reads, tags and end included.
    """

    def __init__(
        self, feature_extractor: Any, tokenizer: Any, max_samples: int = 480_000, max_tokens: int = 448
    ) -> None:
        super().__init__(
            feature_extractor, tokenizer, answer_end_token_id=tokenizer.eos_token_id, max_samples=max_samples
        )
        self.max_tokens = max_tokens

    def tags(self, task: Task, language: str | None) -> str:
        """What stands before an answer.

        The language is left out where it is not known, where it is none of Whisper's, and where the task asks for it.
        Word times are text, so a task that wants them lacks `<|notimestamps|>`, and Whisper's own times are not used.
        """
        spoken = f"<|{language}|>"
        known = language in WHISPERS_LANGUAGES and spoken in self.tokenizer.get_added_vocab()
        known = known and LANGUAGES.name not in {labels.name for labels in task.label_sets}
        return START + (spoken if known else "") + tag_of(task) + ("" if task.transcript == "timed" else NO_TIMES)

    def fits(self, answer: str) -> bool:
        """Whether an answer, with four tags and the end, fits into the decoder."""
        room = self.max_tokens - 5
        return len(answer.encode()) <= room or len(self.text_ids(answer)) <= room  # no token is less than a byte

    def batch(
        self,
        texts: Sequence[str],
        features: Sequence[Tensor],
        answers: Sequence[Any] | None = None,
        padding_side: str = "right",
        audio_index: Sequence[int] | None = None,
        multiples: tuple[int, int] = (1, 1),
        **_: Any,
    ) -> dict[str, Tensor]:
        """`tags` and answers to input_ids, attention_mask, labels (R, L), with the clips (B) and audio_index (R,)."""
        prompts = [self.text_ids(text) for text in texts]
        targets = [[*self.text_ids(answer), self.answer_end_token_id] for answer in answers or ()]
        rows = [prompt + target for prompt, target in zip(prompts, targets, strict=True)]
        masked = [[IGNORED] * len(prompt) + target for prompt, target in zip(prompts, targets, strict=True)]
        frames, frame_mask = pad_features(features, multiples[0], self.max_frames)
        length = multiples[1], self.max_tokens
        return {
            "input_ids": pad_rows(rows, self.answer_end_token_id, padding_side, *length),
            "attention_mask": pad_rows([[1] * len(row) for row in rows], 0, padding_side, *length),
            "labels": pad_rows(masked, IGNORED, padding_side, *length),
            "input_features": frames,
            "feature_attention_mask": frame_mask,
            "audio_index": torch.tensor(range(len(features)) if audio_index is None else audio_index),
        }

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> Any:
        """Write a `WhisperProcessor`."""
        return WhisperProcessor(self.feature_extractor, self.tokenizer).save_pretrained(save_directory, **kwargs)


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
    def listener(self) -> OsumEncoder:
        """The encoder: the decoder attends to its frames (B, T, D)."""
        return self.tower

    @property
    def embedding_width(self) -> int:
        """Width of the frames."""
        return int(self.tower.config.hidden_size)

    def embedding_length(self, frames: Tensor) -> Tensor:
        """Feature frames (B,) to encoder frames (B,)."""
        return encoder_length(frames)

    def encode(self, features: Tensor, mask: Tensor) -> None:
        """Run the encoder, without a question."""
        self.tower(features, mask.sum(-1))

    def states(self, **inputs: Tensor) -> Tensor:
        """(R, L, D): what the model's head sees at each token of a batch."""
        lengths = inputs["feature_attention_mask"].sum(-1)  # (B,)
        encoded = self.tower(inputs["input_features"], lengths)[inputs["audio_index"]]  # (R, T, D)
        real = length_mask(encoder_length(lengths), encoded.shape[1])[inputs["audio_index"]]  # (R, T)
        decoder = self.model.model.decoder
        tokens = decoder.embed_tokens(inputs["input_ids"])  # (R, L, D)
        return decoder(
            inputs_embeds=tokens,
            attention_mask=inputs["attention_mask"],
            encoder_hidden_states=encoded,
            encoder_mask=create_bidirectional_mask(self.model.config, tokens, real, encoded),
            use_cache=False,
        ).last_hidden_state

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


def take_true_lengths(model: Any) -> None:
    """Replace the encoder of a Whisper by ours with its weights, and let the decoder look at real frames alone.

    Transformers' encoder takes 30 s and nothing else; on 30 s the two are equal.
    """
    config = model.config
    sizes = OsumAudioConfig(**encoder_sizes(config), dropout=config.dropout, attention_dropout=config.attention_dropout)
    encoder = OsumEncoder(sizes)
    encoder.load_state_dict(model.model.encoder.state_dict())
    model.model.encoder = encoder
    model._no_split_modules = [*model._no_split_modules, *encoder._no_split_modules]
    for layer in model.model.decoder.layers:
        layer.register_forward_pre_hook(_mask_encoder_states, with_kwargs=True)


def _mask_encoder_states(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Transformers' decoder hands its layers no mask of the encoder's frames."""
    kwargs["encoder_attention_mask"] = kwargs.pop("encoder_mask")
    return args, kwargs
