"""Whisper as transformers has it: transcripts, word times from its attention, and the language it detects.

Its own way throughout: clips are padded to 30 s, longer ones go through its sequential long form, decoding is greedy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from transformers import WhisperForConditionalGeneration

from osum.audio import SAMPLE_RATE
from osum.errors import TaskError
from osum.peers.clips import LoadedClip, in_batches
from osum.peers.facts import check_no_prompt, check_question
from osum.peers.pretrained import Pretrained, open_pretrained
from osum.peers.recogniser import Options, Question, Recognition
from osum.scoring import mixed_units
from osum.tasks import LANGUAGES
from osum.utterance import Utterance, Word

WORD_TIMES = "SRWT"
WITH_TIMES = {"return_token_timestamps": True, "return_segments": True}
BROKEN = "\ufffd"
"""In a text that ends within a character."""
LONGEST = 4
"""Tokens of one character at most: its bytes in UTF-8. What is broken still then was never whole."""


class Whisper:
    """Answers of a Whisper; they may depend on the batch by the rounding of its sums."""

    def __init__(self, opened: Pretrained) -> None:
        self.name = opened.name
        self._opened = opened
        settings = opened.model.generation_config
        self._languages: Mapping[str, int] = getattr(settings, "lang_to_id", None) or {}
        """`<|en|>` to its id; none where it knows English alone."""
        times = {WORD_TIMES} if getattr(settings, "alignment_heads", None) else set()
        self.tasks = frozenset({"ASR"} | times | ({"LID", "LID-only"} if self._languages else set()))

    @classmethod
    def open(cls, name: str, options: Options) -> Whisper:
        """Open a folder or a hub id; `extra` has no settings here.

        Raises:
            CheckpointError: nothing usable under that name.
            InputError: an unknown device, dtype or setting.
        """
        return cls(open_pretrained(WhisperForConditionalGeneration, name, options))

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`."""
        check_question(self, question)
        check_no_prompt(self, question)
        asked = self._asked(question.language)
        if question.task in ("ASR", WORD_TIMES):
            times = question.task == WORD_TIMES
            return in_batches(clips, self._opened.batch_size, lambda batch: self._transcripts(batch, times, asked))
        return in_batches(clips, self._opened.batch_size, self._languages_of)

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002  (it takes none)
        """See `Recogniser`."""
        return ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        return self._opened.describe()

    def _asked(self, language: str | None) -> dict[str, str]:
        """What `generate` is given as language."""
        if not self._languages:
            if language not in (None, "en"):
                raise TaskError(f"{self.name} knows English, not {language!r}: give a multilingual Whisper")
            return {}
        if language is not None and f"<|{language}|>" not in self._languages:
            raise TaskError(f"{self.name} does not know the language {language!r}: give its code, such as 'en'")
        return {"task": "transcribe"} if language is None else {"task": "transcribe", "language": language}

    def _transcripts(self, batch: Sequence[LoadedClip], times: bool, asked: Mapping[str, Any]) -> list[Recognition]:
        """Short clips together; a long one alone, since it makes windows of its own."""
        longest = self._opened.processor.feature_extractor.chunk_length  # seconds
        short = [loaded for loaded in batch if loaded.seconds <= longest]
        found = iter(self._generated(short, times, asked) if short else ())
        return [
            next(found) if loaded.seconds <= longest else self._generated([loaded], times, asked, long=True)[0]
            for loaded in batch
        ]

    def _generated(
        self, clips: Sequence[LoadedClip], times: bool, asked: Mapping[str, Any], long: bool = False
    ) -> list[Recognition]:
        inputs = self._features(clips, truncation=False, padding="longest") if long else self._features(clips)
        if times:
            asked = {**asked, **WITH_TIMES}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a last window without a frame
            found = self._opened.model.generate(**inputs, **asked, return_timestamps=times or long)
        sequences = found["sequences"] if times else found
        texts = self._opened.processor.tokenizer.batch_decode(sequences, skip_special_tokens=True)
        segments: Sequence[Any] = found["segments"] if times else [()] * len(clips)
        return [
            Recognition(raw=text, text=text.strip(), words=loaded.placed(self._words(parts, loaded.seconds)))
            for text, parts, loaded in zip(texts, segments, clips, strict=True)
        ]

    def _features(self, clips: Sequence[LoadedClip], **settings: Any) -> dict[str, Any]:
        """`input_features` (B, M, F) and the mask of their frames."""
        extracted = self._opened.processor.feature_extractor(
            [loaded.samples for loaded in clips],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            return_attention_mask=True,
            **settings,
        )
        return dict(extracted.to(self._opened.model.device, self._opened.model.dtype))

    def _words(self, segments: Iterable[Mapping[str, Any]], seconds: float) -> Iterator[Word]:
        """Words and Chinese characters of a clip, in order of time and within its length."""
        last, decode = 0.0, partial(self._opened.processor.tokenizer.decode, skip_special_tokens=True)
        for segment in segments:
            for word in timed_units(segment, decode):
                start = min(max(last, word.start), seconds)
                yield Word(word.text, start, min(max(start, word.end), seconds))
                last = start

    @torch.no_grad()
    def _languages_of(self, batch: Sequence[LoadedClip]) -> list[Recognition]:
        """From the first step of the decoder: the likeliest of all languages, and of those of the label set."""
        model = self._opened.model
        features = self._features(batch)["input_features"]  # (B, M, F)
        start = torch.full((len(batch), 1), model.generation_config.decoder_start_token_id, device=model.device)
        logits = model(features, decoder_input_ids=start).logits[:, -1].float()  # (B, V)
        tags, ids = zip(*self._languages.items(), strict=True)
        ours = [self._languages[f"<|{label}|>"] for label in LANGUAGES.labels]
        answers = []
        for row in logits.cpu():
            raw = tags[int(row[list(ids)].argmax())]
            distribution = dict(zip(LANGUAGES.labels, row[ours].double().softmax(0).tolist(), strict=True))
            label = max(distribution, key=distribution.__getitem__)
            answers.append(
                Recognition(raw=raw, said=LANGUAGES.canonical(raw[2:-2]), label=label, distribution=distribution)
            )
        return answers


def timed_units(segment: Mapping[str, Any], decode: Callable[[list[int]], str]) -> Iterator[Word]:
    """The words and Chinese characters of a segment that `generate` returns, with their times.

    1. Tokens are put together until they are whole characters; a token ends where the attention leaves it, which is
       where the next one begins.
    2. A word begins with the token of its first character and ends with that of its last.
    """
    text, spans = "", []  # of each character: start and end of its tokens
    held: list[int] = []
    start = last = float(segment["start"])
    tokens: list[int] = segment["tokens"].tolist()
    for left, token, end in zip(range(len(tokens))[::-1], tokens, segment["token_timestamps"].tolist(), strict=True):
        start = start if held else last
        held.append(token)
        piece = decode(held)
        if BROKEN not in piece or len(held) == LONGEST or not left:
            text, held = text + piece, []
            spans += [(start, end)] * len(piece)
        last = end
    at = 0
    for unit in mixed_units(text):
        at = text.index(unit, at) + len(unit)
        yield Word(unit, round(spans[at - len(unit)][0], 4), round(spans[at - 1][1], 4))
