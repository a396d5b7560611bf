"""A Whisper that answers the tasks: what stage 1 of the release trains in place of an OSUM (specification 5).

Each task has a tag of its own next to Whisper's, and one pass answers one task:

    <|startoftranscript|><|en|><|SER|><|notimestamps|>good morning<happy><|endoftext|>

The tags are added to the tokenizer, with new rows in the table of embeddings; the original re-used ids of unrelated
words. ASR keeps Whisper's own `<|transcribe|>`. Clips have their true lengths, as in an OSUM: stock
transformers pads to 30 s, and the encoder of an OSUM, for which this one is made, never does.
Shapes as in `osum.model.encoder`; R answers, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import WhisperProcessor
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPERS_LANGUAGES

from osum.model.configuration_osum import IGNORED, OsumAudioConfig, encoder_sizes
from osum.model.encoder import OsumEncoder, length_mask
from osum.model.processing_osum import OsumProcessor, pad_features, pad_rows

START, TRANSCRIBE, NO_TIMES = "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
"""Whisper's own tags that every row needs."""
LANGUAGE = "language"
"""The label set of the task that asks which language is spoken."""


class AskedTask(Protocol):
    """What a task is known by here."""

    @property
    def name(self) -> str:
        """Such as `SER`."""

    @property
    def transcript(self) -> str:
        """`timed` where the answer holds word times."""

    @property
    def label_sets(self) -> Sequence[Any]:
        """Of the labels in the answer, each with a name."""


def tag_of(task: AskedTask) -> str:
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

    def tags(self, task: AskedTask, language: str | None) -> str:
        """What stands before an answer.

        The language is left out where it is not known, where it is none of Whisper's, and where the task asks for it.
        Word times are text, so a task that wants them lacks `<|notimestamps|>`, and Whisper's own times are not used.
        """
        spoken = f"<|{language}|>"
        known = language in WHISPERS_LANGUAGES and spoken in self.tokenizer.get_added_vocab()
        known = known and LANGUAGE not in {labels.name for labels in task.label_sets}
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
        layer.register_forward_pre_hook(_mask_encoder, with_kwargs=True)


def _mask_encoder(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Transformers' decoder hands its layers no mask of the encoder's frames."""
    kwargs["encoder_attention_mask"] = kwargs.pop("encoder_mask")
    return args, kwargs


def decoder_states(model: Any, input_ids: Tensor, attention_mask: Tensor, encoded: Tensor, lengths: Tensor) -> Tensor:
    """(R, L, D): what the head sees at each token of rows (R, L), over their clips (R, T, D) of lengths (R,)."""
    decoder = model.model.decoder
    tokens = decoder.embed_tokens(input_ids)  # (R, L, D)
    return decoder(
        inputs_embeds=tokens,
        attention_mask=attention_mask,
        encoder_hidden_states=encoded,
        encoder_mask=create_bidirectional_mask(model.config, tokens, length_mask(lengths, encoded.shape[1]), encoded),
        use_cache=False,
    ).last_hidden_state
