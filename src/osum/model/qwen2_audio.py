"""Qwen2-Audio for the engine: the class of transformers with its weights, its layout, and no padding to 30 s.

1. A clip's log-mel has two frames of the silence behind it. The two convolutions read no further than these, so the
   encoder needs none of the silence up to 30 s that the stock processor adds.
2. The states behind each clip's end are masked, and pairs of states are averaged, as in `Qwen2AudioEncoder`.
3. A conversation is written by the checkpoint's own template. `<|AUDIO|>` is repeated once per audio token.

Example, 1 s of sound: 100 frames and 2 of silence, 50 states, 25 audio tokens. The stock encoder makes 1,500 states.

Knows nothing of tasks or files. Shapes: A clips, S samples, M mel bins, F frames, T states, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor
from transformers.masking_utils import create_bidirectional_mask

from osum.errors import LayoutError
from osum.model.processing_osum import Conversation, OsumProcessor, Waveform
from osum.model.spoken_answer import SpeechIds

SILENT_FRAMES = 2
"""Frames behind a clip's end that the convolutions read."""
_HOP = 160  # samples; the release's extractor has no other


@dataclass(frozen=True)
class HostedConfig:
    """What the engine asks of a configuration."""

    text_config: Any
    audio_config: Any
    audio_token_id: int
    speech_output: bool = False
    layout: str = "chatml"

    @property
    def vocab_size(self) -> int:
        """Width of the logits."""
        return int(self.text_config.vocab_size)

    @property
    def max_samples(self) -> int:
        """Longest clip in samples."""
        return 2 * int(self.audio_config.max_source_positions) * _HOP

    def num_audio_tokens(self, num_samples: int) -> int:
        """Audio tokens of a waveform of so many samples."""
        return num_tokens(-(-num_samples // _HOP))


class HostedQwen2Audio(nn.Module):
    """A stock model as `EngineModel`; weights and `generate` are the stock ones."""

    speech_head = None

    def __init__(self, stock: Qwen2AudioForConditionalGeneration) -> None:
        super().__init__()
        self.stock = stock
        config = stock.config
        self.config = HostedConfig(config.text_config, config.audio_config, config.audio_token_id)

    @property
    def model(self) -> Any:
        """See `EngineModel`."""
        return self.stock.model

    @property
    def lm_head(self) -> Any:
        """See `EngineModel`."""
        return self.stock.lm_head

    @property
    def device(self) -> torch.device:
        """See `EngineModel`."""
        return self.stock.device

    @property
    def dtype(self) -> torch.dtype:
        """See `EngineModel`."""
        return self.stock.dtype

    @property
    def num_text_ids(self) -> int:
        """See `EngineModel`."""
        return self.config.vocab_size

    def embed_ids(self, input_ids: Tensor) -> Tensor:
        """See `EngineModel`."""
        embeds: Tensor = self.stock.get_input_embeddings()(input_ids)
        return embeds

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As in transformers."""
        return self.stock.generate(*args, **kwargs)

    def get_audio_features(
        self, input_features: Tensor, feature_attention_mask: Tensor, **_: Any
    ) -> tuple[Tensor, ...]:
        """What its `log_mel` makes, (A, M, F), and the mask (A, F), to one (T_i, D) for each clip."""
        tower = self.model.audio_tower
        frames = feature_attention_mask.sum(-1) - SILENT_FRAMES  # (A,)
        lengths = (frames - 1) // 2 + 1  # (A,) states
        states = gelu(tower.conv1(input_features.to(tower.conv1.weight.dtype)))
        states = gelu(tower.conv2(states)).transpose(1, 2)  # (A, T, D)
        states = states[:, : int(lengths.max())]
        states = states + tower.embed_positions.weight[: states.shape[1]]
        read = torch.arange(states.shape[1], device=states.device) < lengths[:, None]  # (A, T)
        mask = create_bidirectional_mask(tower.config, states, read.long())
        for layer in tower.layers:
            states = layer(states, mask)
        pooled = tower.avg_pooler(states.transpose(1, 2)).transpose(1, 2)  # (A, T // 2, D)
        sound = self.model.multi_modal_projector(tower.layer_norm(pooled))
        return tuple(row[: length // 2] for row, length in zip(sound, lengths.tolist(), strict=True))


class HostedQwen2AudioProcessor(OsumProcessor):
    """Its processor: the checkpoint's own template, extractor and tokenizer.

    Args:
        feature_extractor: of the stock processor, as are the next two.
        tokenizer: of Qwen2.
        chat_template: how a conversation is written.
        marks: what stands before, for, and behind a clip in a text.
        config: of the model.
    """

    chats_plainly = True

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        chat_template: str,
        marks: tuple[str, str, str],
        config: HostedConfig,
    ) -> None:
        self._audio = marks
        self._num_text_ids = config.vocab_size
        super().__init__(
            feature_extractor,
            tokenizer,
            chat_template=chat_template,
            layout=config.layout,
            answer_end_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
            max_samples=config.max_samples,
        )
        self.audio_bos_token_id, self.audio_token_id, self.audio_eos_token_id = map(
            tokenizer.convert_tokens_to_ids, self._audio
        )
        self._text_end = tokenizer.convert_tokens_to_ids("<|endoftext|>")

    @property
    def marks(self) -> tuple[str, ...]:
        """See `OsumProcessor.marks`."""
        return (*super().marks, *self._audio)

    @property
    def speech_ids(self) -> SpeechIds:
        """Nothing is said aloud."""
        return SpeechIds(self._num_text_ids, 0)

    @property
    def max_frames(self) -> int:
        """Mel frames of the longest clip, with those of the silence behind it."""
        return self.max_samples // _HOP + SILENT_FRAMES

    def num_audio_tokens(self, num_frames: int) -> int:
        """See `OsumProcessor.num_audio_tokens`."""
        return num_tokens(num_frames - SILENT_FRAMES)

    def log_mel(self, waveform: Waveform) -> Tensor:
        """(S,) samples to (M, F + 2), F = ceil(S / hop): what the stock processor gives for as many frames.

        Raises:
            AudioError: no samples, not one channel, not finite, or longer than the model takes.
        """
        samples = np.asarray(waveform, dtype=np.float32)
        extractor, most = self.feature_extractor, self.max_samples
        frames = -(-max(len(samples), extractor.n_fft) // _HOP) + SILENT_FRAMES
        if 0 < samples.size <= most and samples.ndim == 1:
            samples = np.pad(samples, (0, min(frames * _HOP + extractor.n_fft, most) - len(samples)))
        features = super().log_mel(samples)[:, :frames]  # (M, at most F + 2)
        # Behind 30 s the stock convolution reads zeros.
        return torch.nn.functional.pad(features, (0, frames - features.shape[1]))

    def request(self, prompt: str, num_audio: int = 1) -> str:
        """The text of one question; no prompt asks by the sound alone (voice chat).

        A prompt that places the sound itself is the whole text, as base models are asked:
        `<|audio_bos|><|AUDIO|><|audio_eos|>Generate the caption in English:`.
        """
        if self._audio[1] in prompt:
            return prompt
        sounds = [{"type": "audio"}] * num_audio
        return self.render(
            [{"role": "user", "content": [*sounds, *([{"type": "text", "text": prompt}] if prompt else [])]}]
        )

    def render(
        self, conversation: Conversation, add_generation_prompt: bool = True, template: str | None = None
    ) -> str:
        """A conversation to text by the checkpoint's template, as the stock processor writes it."""
        text: str = self.tokenizer.apply_chat_template(
            list(conversation),
            chat_template=template or self.chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        return text

    def joint_ids(self, text: str, audio_lengths: Iterable[int], given: Iterable[Sequence[int]] = ()) -> list[int]:
        """Ids of a rendered text, `<|AUDIO|>` once for each audio token; `given` must be empty.

        Raises:
            LayoutError: the text names another number of clips than there are.
        """
        lengths, sound = list(audio_lengths), self._audio[1]
        first, *pieces = text.split(sound)
        if len(pieces) != len(lengths) or list(given):
            raise LayoutError(f"the text names {len(pieces)} clips, {len(lengths)} were given: make them equal")
        return self.text_ids(first + "".join(sound * n + piece for n, piece in zip(lengths, pieces, strict=True)))

    def end_of(self, text: str) -> int:
        """See `OsumProcessor.end_of`: a prompt without the template's turns is continued as a text."""
        return self.answer_end_token_id if "<|im_start|>" in text else self._text_end


def num_tokens(num_frames: int) -> int:
    """Audio tokens of so many frames: pairs of states, a last one alone left out."""
    return ((num_frames - 1) // 2 + 1) // 2


def opened(folder: Any, **how: Any) -> tuple[HostedQwen2Audio, dict[str, Any]]:
    """The weights of a folder, and what is missing or does not fit."""
    stock, info = Qwen2AudioForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True, ignore_mismatched_sizes=True, **how
    )
    return HostedQwen2Audio(stock), info


def processor_of(folder: Any, config: HostedConfig) -> HostedQwen2AudioProcessor:
    """The processor of a folder."""
    stock: Any = Qwen2AudioProcessor.from_pretrained(folder)
    audio = (stock.audio_bos_token, stock.audio_token, stock.audio_eos_token)
    return HostedQwen2AudioProcessor(stock.feature_extractor, stock.tokenizer, stock.chat_template, audio, config)
