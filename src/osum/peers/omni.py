"""Qwen2.5-Omni as transformers has it: a thinker that writes the reply and a talker that says it, `omni:FOLDER_OR_ID`.

Text is decoded greedily. The talker draws, as the release does, from a fixed seed for each reply.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.utils import cached_file

from osum.audio import SAMPLE_RATE
from osum.errors import AudioError, CheckpointError, InputError
from osum.peers.pretrained import Pretrained, open_pretrained
from osum.peers.recogniser import Options
from osum.peers.talking import DialogueModel, Messages, SpokenReply, folder_of, samples_of

SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
    "visual inputs, as well as generating text and speech."
)
"""The release speaks under this system prompt alone (its model card)."""
RATE = 24_000
"""Hz of what token2wav makes."""
MAX_NEW_TOKENS = 256
VOICE = "Chelsie"
_SPEAKERS = "spk_dict.pt"


class _Weights:
    """How its weights are opened: the class's own way returns no list of what is missing."""

    config_class = Qwen2_5OmniConfig

    @staticmethod
    def from_pretrained(name: str, **how: Any) -> tuple[Any, Mapping[str, Any]]:
        """The model with its speakers, and what is missing."""
        opener: Any = PreTrainedModel.from_pretrained
        model, info = opener.__func__(Qwen2_5OmniForConditionalGeneration, name, **how)
        speakers = cached_file(name, _SPEAKERS, local_files_only=how["local_files_only"])
        model.load_speakers(speakers)  # by torch.load with weights_only=True
        return model, info


class Omni(DialogueModel):
    """One Qwen2.5-Omni; see `DialogueModel`.

    Args:
        opened: model and processor.
        voice: of its speakers; None writes alone.
        folder: see `DialogueModel`.
    """

    def __init__(self, opened: Pretrained, voice: str | None = VOICE, folder: Path | None = None) -> None:
        super().__init__(opened.name, folder)
        speakers = opened.model.speaker_map
        if voice is not None and voice not in speakers:
            raise InputError(f"voice {voice!r}: {opened.name} speaks as {', '.join(speakers)}, or none for text alone")
        self._opened, self._voice = opened, voice

    @classmethod
    def open(cls, name: str, options: Options) -> Omni:
        """Open a folder or a hub id; `extra` may hold `voice` (`none` writes alone) and `replies`.

        Raises:
            CheckpointError: nothing usable under that name.
            InputError: an unknown device, dtype or voice.
        """
        opened = open_pretrained(_Weights, name, options, _processor)
        if not opened.model.has_talker:
            raise CheckpointError(f"{name!r} has no talker: give the whole model, not its thinker alone")
        voice = options.extra.get("voice", VOICE)
        return cls(opened, None if voice == "none" else voice, folder_of(options))

    @torch.no_grad()
    def reply(self, conversation: Messages) -> SpokenReply:
        """See `DialogueModel`."""
        begun = time.perf_counter()
        inputs = self._inputs(conversation)
        how: dict[str, Any] = {"thinker_max_new_tokens": MAX_NEW_TOKENS, "thinker_do_sample": False}
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            if self._voice is None:
                ids, wave = (
                    self._opened.model.generate(**inputs, **how, generation_mode="text", speaker=self._any),
                    None,
                )
            else:
                ids, wave = self._opened.model.generate(**inputs, **how, speaker=self._voice)
        said = self._opened.processor[0].batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[
            0
        ]
        seconds = time.perf_counter() - begun
        if wave is None or not len(wave):
            return SpokenReply(said, seconds=seconds)
        return SpokenReply(said, wave.cpu().numpy(), RATE, first_sound=seconds, seconds=seconds)

    def describe(self) -> Mapping[str, Any]:
        """See `DialogueModel`."""
        return {**self._opened.describe(), "voice": self._voice, "decoding": "thinker greedy, talker seed 0"}

    @property
    def _any(self) -> str:
        return next(iter(self._opened.model.speaker_map))

    def _inputs(self, conversation: Messages) -> Any:
        """What the thinker takes, as the stock processor makes it of texts and sounds."""
        turns = [dict(message) for message in conversation]
        if turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": SYSTEM}]})
        tokenizer, extractor, template = self._opened.processor
        text = tokenizer.apply_chat_template(turns, chat_template=template, add_generation_prompt=True, tokenize=False)
        contents = (turn["content"] for turn in turns if not isinstance(turn["content"], str))
        sounds = [samples_of(part) for content in contents for part in content if part["type"] == "audio"]
        if not sounds:
            return tokenizer(text, return_tensors="pt").to(self._opened.model.device)
        if too_long := next((len(one) for one in sounds if len(one) > extractor.n_samples), None):
            limit = extractor.n_samples / SAMPLE_RATE
            raise AudioError(f"lasts {too_long / SAMPLE_RATE:.1f} s, and {self.name} takes {limit:g} s at once: cut it")
        found = extractor(
            sounds, sampling_rate=SAMPLE_RATE, padding="max_length", return_attention_mask=True, return_tensors="pt"
        )
        mask = found["attention_mask"]  # (A, F)
        sign = tokenizer.convert_ids_to_tokens(self._opened.model.config.thinker_config.audio_token_index)
        first, *pieces = text.split(sign)
        lengths = (((mask.sum(-1) - 1) // 2 + 1 - 2) // 2 + 1).tolist()
        expanded = first + "".join(sign * length + piece for length, piece in zip(lengths, pieces, strict=True))
        inputs = tokenizer(expanded, return_tensors="pt")
        inputs |= {
            "input_features": found["input_features"].to(self._opened.model.dtype),
            "feature_attention_mask": mask,
        }
        return inputs.to(self._opened.model.device)


def _processor(name: str, **how: Any) -> tuple[Any, Any, str]:
    """Tokenizer, features and template: the stock processor needs torchvision too, for pictures."""
    tokenizer = AutoTokenizer.from_pretrained(name, **how)
    file = cached_file(name, "chat_template.json", _raise_exceptions_for_missing_entries=False, **how)
    template = json.loads(Path(file).read_text("utf8"))["chat_template"] if file else tokenizer.chat_template
    return tokenizer, WhisperFeatureExtractor.from_pretrained(name, **how), template
