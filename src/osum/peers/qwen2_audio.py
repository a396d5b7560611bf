"""Qwen2-Audio as transformers has it: analysis under a prompt, and voice chat without one.

`mode=chat` speaks to the instruction-tuned release through its chat template. `mode=base` puts the prompt behind the
sound and nothing around, as the published scores of the base model were made
(https://github.com/QwenLM/Qwen2-Audio/tree/main/eval_audio). Decoding is greedy in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import Qwen2AudioForConditionalGeneration

from osum.audio import SAMPLE_RATE
from osum.errors import AudioError, InputError, TaskError
from osum.peers.clips import LoadedClip, Samples, in_batches
from osum.peers.facts import check_question
from osum.peers.pretrained import Pretrained, open_pretrained
from osum.peers.recogniser import Options, Question, Recognition
from osum.tasks import OSUM, QWEN2_AUDIO
from osum.tasks.free_answer import read_label, read_transcript
from osum.utterance import Utterance

MODES = ("chat", "base")
VOICE_CHAT, TRANSLATION = "STTC", "S2TT"
SPOKEN_TO = "You are a helpful assistant."
"""The system prompt of its page."""
MAX_NEW_TOKENS = 256
"""Of its evaluation, as is at least one."""


class Qwen2Audio:
    """Free answers of a Qwen2-Audio, read by `osum.tasks.free_answer`; they may depend on the batch by rounding."""

    def __init__(self, opened: Pretrained, mode: str = "chat") -> None:
        if mode not in MODES:
            raise InputError(f"mode {mode!r}: choose {' or '.join(MODES)}; chat is for the instruction-tuned release")
        self.name = opened.name
        self.tasks = frozenset({*QWEN2_AUDIO, TRANSLATION})
        self._opened = opened
        self._mode = mode
        extractor = opened.processor.feature_extractor
        self._max_seconds: float = extractor.n_samples / extractor.sampling_rate

    @classmethod
    def open(cls, name: str, options: Options) -> Qwen2Audio:
        """Open a folder or a hub id; `extra` may hold `mode`, `chat` or `base`.

        Raises:
            CheckpointError: nothing usable under that name.
            InputError: an unknown device, dtype, setting or mode.
        """
        opened = open_pretrained(Qwen2AudioForConditionalGeneration, name, options)
        return cls(opened, options.extra.get("mode", MODES[0]))

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`. A clip longer than it takes at once is an error: the rest would be lost."""
        check_question(self, question)
        prompt = self._prompt(question)
        return in_batches(clips, self._opened.batch_size, lambda batch: self._answers(batch, question.task, prompt))

    def prompts(self, task: str) -> tuple[str, ...]:
        """See `Recogniser`; none for voice chat and for translation, where the benchmark says into what."""
        return tuple(filter(None, QWEN2_AUDIO.prompts(task, "en"))) if task in QWEN2_AUDIO else ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        return {**self._opened.describe(), "mode": self._mode}

    def chat(self, audios: Sequence[Samples], text: str | None = None) -> str:
        """The answer to one turn of a user: any number of clips (S,) at 16 kHz, and perhaps a text.

        Raises:
            AudioError: a clip is longer than it takes at once.
        """
        for samples in audios:
            if (fault := self._too_long(len(samples) / SAMPLE_RATE)) is not None:
                raise AudioError(fault)
        return self._generate([self._chat_turn(len(audios), text)], audios)[0]

    def _prompt(self, question: Question) -> str | None:
        if question.prompt is not None or question.task == VOICE_CHAT:
            return question.prompt
        if question.task == TRANSLATION:
            raise TaskError(f"{self.name} needs the language to translate into: give the question a prompt")
        prompt = self.prompts(question.task)[0]
        return f"{prompt} <|{question.language}|>" if question.task == "ASR" and question.language else prompt

    def _answers(self, batch: Sequence[LoadedClip], task: str, prompt: str | None) -> list[Recognition]:
        faults = [self._too_long(loaded.seconds) for loaded in batch]
        good = [loaded for loaded, fault in zip(batch, faults, strict=True) if fault is None]
        turns = [self._chat_turn(1, prompt) if self._mode == "chat" else self._base_turn(prompt)] * len(good)
        raws = iter(self._generate(turns, [loaded.samples for loaded in good]) if good else ())
        return [
            _recognition(next(raws), task, prompt) if fault is None else Recognition(error=f"{loaded.clip.id}: {fault}")
            for loaded, fault in zip(batch, faults, strict=True)
        ]

    def _too_long(self, seconds: float) -> str | None:
        if seconds <= self._max_seconds:
            return None
        return f"lasts {seconds:.1f} s, and {self.name} takes {self._max_seconds:g} s at once: cut it"

    def _chat_turn(self, num_audios: int, text: str | None) -> str:
        content: list[dict[str, str]] = [{"type": "audio", "audio_url": ""} for _ in range(num_audios)]
        content += [] if text is None else [{"type": "text", "text": text}]
        turns = [{"role": "system", "content": SPOKEN_TO}, {"role": "user", "content": content}]
        written: str = self._opened.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return written

    @staticmethod
    def _base_turn(prompt: str | None) -> str:
        return f"<|audio_bos|><|AUDIO|><|audio_eos|>{prompt or ''}"

    @torch.no_grad()
    def _generate(self, turns: Sequence[str], audios: Sequence[Samples]) -> list[str]:
        """The answer to each turn; the clips of all of them in reading order."""
        model, processor = self._opened.model, self._opened.processor
        clips = {"audio": list(audios), "sampling_rate": SAMPLE_RATE} if audios else {}
        inputs = processor(text=list(turns), **clips, padding=True, padding_side="left", return_tensors="pt")
        inputs = inputs.to(model.device, model.dtype)
        ids = model.generate(**inputs, min_new_tokens=1, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)  # (B, L)
        answers: list[str] = processor.batch_decode(
            ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return answers


def _recognition(raw: str, task: str, prompt: str | None) -> Recognition:
    if task == "ASR":
        return Recognition(raw=raw, prompt=prompt, text=read_transcript(raw))
    if task in (VOICE_CHAT, TRANSLATION):
        return Recognition(raw=raw, prompt=prompt, reply=raw.strip())
    said, problems = read_label(raw, OSUM[task].label_sets[0])
    return Recognition(raw=raw, prompt=prompt, said=said, problems=problems)
