"""OsumProcessor: conversations and waveforms to model inputs, and back to text.

The one renderer: templates, ids, audio placeholders and loss mask live here and nowhere else.
Knows nothing of tasks. Shapes: B conversations, A clips, S samples, M mel bins, F frames, L tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin, WhisperFeatureExtractor
from transformers.utils import CHAT_TEMPLATE_FILE, PROCESSOR_NAME

from osum.errors import AudioError, LayoutError
from osum.model.configuration_osum import IGNORED, OsumConfig, audio_token_length, round_up
from osum.model.spoken_answer import SpeechIds, SpokenAnswer, in_turns
from osum.model.templates import AUDIO, BARE_AUDIO, CHATML, IDS, PLACEHOLDERS, PROMPT_FIRST

Waveform = NDArray[np.float32]
Conversation = Sequence[Mapping[str, Any]]
_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))
_HAS_AUDIO = (AUDIO, BARE_AUDIO)


class OsumProcessor(ProcessorMixin):
    """Tokenizer, log-mel features and the conversation layout of one checkpoint.

    Args:
        feature_extractor: Whisper's, 80 mel bins (specification 1.1); its padding to 30 s is never used.
        tokenizer: any Hugging Face tokenizer of the language model.
        layout: `prompt_first`, `speech_first` or `chatml`.
        audio_bos_token_id: first of the three ids of audio; end and placeholder follow it.
        answer_end_token_id: id that closes an answer (151643 in OSUM, 151645 in OSUM-EChat).
        max_samples: longest clip in samples.
        system_prompt: system line put before conversations that bring none; ChatML layouts only.
        num_speech_ids: speech codes and the id that begins and ends them; 0 where a family never speaks.
        unknown_token_id: id of an answer's text that stands for a label nobody knows: neither read nor learned
            (`&&` of OSUM-EChat, echat 1.5).
    """

    audio_token = AUDIO
    chat_template: str
    chats_plainly = False
    """Whether a conversation is written by the checkpoint's own template alone, without the modes of OSUM-EChat."""

    def __init__(
        self,
        feature_extractor: WhisperFeatureExtractor,
        tokenizer: Any,
        chat_template: str | None = None,
        layout: str = "prompt_first",
        audio_bos_token_id: int = 0,
        answer_end_token_id: int = 0,
        max_samples: int = 480_000,
        system_prompt: str | None = None,
        num_speech_ids: int = 0,
        unknown_token_id: int | None = None,
    ) -> None:
        self.layout = layout
        self.num_speech_ids = num_speech_ids
        self.unknown_token_id = unknown_token_id
        self.audio_bos_token_id = audio_bos_token_id
        self.audio_eos_token_id = audio_bos_token_id + 1
        self.audio_token_id = audio_bos_token_id + 2
        self.answer_end_token_id = answer_end_token_id
        self.max_samples = max_samples
        self.system_prompt = system_prompt
        template = chat_template or (PROMPT_FIRST if layout == "prompt_first" else CHATML)
        super().__init__(feature_extractor, tokenizer, chat_template=template)

    @classmethod
    def for_config(
        cls, config: OsumConfig, tokenizer: Any, answer_end_token_id: int, system_prompt: str | None = None
    ) -> OsumProcessor:
        """The processor that fits a model configuration."""
        audio = config.audio_config
        extractor = WhisperFeatureExtractor(
            feature_size=audio.num_mel_bins, sampling_rate=audio.sampling_rate, hop_length=audio.hop_length
        )
        return cls(
            extractor,
            tokenizer,
            layout=config.layout,
            audio_bos_token_id=config.audio_bos_token_id,
            answer_end_token_id=answer_end_token_id,
            max_samples=config.max_samples,
            system_prompt=system_prompt,
            num_speech_ids=config.num_speech_ids,
        )

    def save_without_tokenizer(self, folder: Path) -> None:
        """Write layout, ids and template; the tokenizer is stored elsewhere."""
        self.to_json_file(folder / PROCESSOR_NAME)
        (folder / CHAT_TEMPLATE_FILE).write_text(self.chat_template, "utf8")

    @classmethod
    def with_tokenizer(cls, folder: Path, tokenizer: Any) -> OsumProcessor:
        """The processor of a folder that `save_without_tokenizer` wrote to."""
        fields, more = cls.get_processor_dict(folder)
        extractor = WhisperFeatureExtractor.from_pretrained(folder)
        return cast(OsumProcessor, cls.from_args_and_dict([extractor, tokenizer], fields, **more))

    @property
    def speech_ids(self) -> SpeechIds:
        """Where speech ids stand: right before the ids of audio."""
        return SpeechIds(self.audio_bos_token_id - self.num_speech_ids, self.num_speech_ids)

    @property
    def marks(self) -> tuple[str, ...]:
        """What steers the model, so that no text of a user may hold it."""
        return (*PLACEHOLDERS, *self.tokenizer.all_special_tokens)

    def num_audio_tokens(self, num_frames: int) -> int:
        """Audio tokens of a clip whose `log_mel` has so many frames."""
        return int(audio_token_length(num_frames))

    def end_of(self, text: str) -> int:
        """The id that ends the answer to a rendered text."""
        return self.answer_end_token_id

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "input_features", "feature_attention_mask", "audio_index"]

    @property
    def max_frames(self) -> int:
        """Mel frames of the longest clip."""
        return self.max_samples // self.feature_extractor.hop_length

    @property
    def pad_token_id(self) -> int:
        """Filler of padded batches; masked everywhere, so any text id serves."""
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.answer_end_token_id

    def log_mel(self, waveform: Waveform) -> Tensor:
        """(S,) samples in [-1, 1] to (M, F) log-mel with F = S // hop (specification 1.1).

        A clip shorter than one analysis window is filled up with silence.

        Raises:
            AudioError: no samples, not one channel, not finite, or longer than the model takes.
        """
        samples = np.asarray(waveform, dtype=np.float32)
        extractor = self.feature_extractor
        if samples.ndim != 1 or samples.size == 0:
            raise AudioError(f"a waveform of shape {samples.shape} was given: it must be (S,), mono, with samples")
        if not np.isfinite(samples).all():
            raise AudioError("the waveform holds NaN or infinite samples: repair or leave out the clip")
        if samples.size > self.max_samples:
            rate = extractor.sampling_rate
            raise AudioError(
                f"{samples.size / rate:.1f} s of audio: the model takes at most {self.max_samples / rate:g} s; cut it"
            )
        if samples.size < extractor.n_fft:
            samples = np.pad(samples, (0, extractor.n_fft - samples.size))
        with torch.autocast("cpu", enabled=False):  # features are float32, whatever surrounds the call
            features = extractor(samples, sampling_rate=extractor.sampling_rate, padding=False, return_tensors="np")
        return torch.from_numpy(np.asarray(features["input_features"][0], dtype=np.float32))

    def request(self, prompt: str, num_audio: int = 1) -> str:
        """The text of one question about `num_audio` clips, audio placeholders in the layout's order."""
        audio = [{"type": "audio"}] * num_audio
        text = [{"type": "text", "text": prompt}]
        parts = audio + text if self.layout == "speech_first" else text + audio
        return self.render([{"role": "user", "content": parts}])

    def render(
        self, conversation: Conversation, add_generation_prompt: bool = True, template: str | None = None
    ) -> str:
        """A conversation to text with one `<|audio|>` per clip, by the checkpoint's template or another one.

        Raises:
            LayoutError: more than one turn or clip in the `prompt_first` layout, which has no template for it.
        """
        parts = [part for message in conversation for part in _parts(message)]
        num_audio = sum(part["type"] == "audio" for part in parts)
        if self.layout == "prompt_first" and (len(conversation) != 1 or num_audio > 1):
            raise LayoutError(
                f"{len(conversation)} turns with {num_audio} clips: the prompt_first layout takes one turn with one "
                "clip; use a checkpoint with a chat layout"
            )
        return self.tokenizer.apply_chat_template(
            list(conversation),
            chat_template=template or self.chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            system_prompt=self.system_prompt,
        )

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        chat_template: str | None = None,
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = True,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Render one conversation or a batch; with `tokenize`, load its audio parts and build model inputs.

        An audio part is `{"type": "audio", "audio": samples (S,) at 16 kHz}` or `{"type": "audio", "path": file}`.

        Raises:
            LayoutError: see `render`.
            AudioError: an audio part without samples or file.
        """
        single = isinstance(conversation[0], Mapping)
        batch: list[Any] = [conversation] if single else list(conversation)
        texts = [self.render(item, add_generation_prompt, chat_template) for item in batch]
        if not tokenize:
            return texts[0] if single else texts
        clips = [
            self._clip(part) for item in batch for turn in item for part in _parts(turn) if part["type"] == "audio"
        ]
        given = [ids for item in batch for turn in item for ids in self._given(turn)]
        inputs = self(text=texts, audio=clips or None, given=given, **kwargs)
        return inputs if return_dict else inputs["input_ids"]

    def text_ids(self, text: str) -> list[int]:
        """Ids of plain text, nothing added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def joint_ids(self, text: str, audio_lengths: Iterable[int], given: Iterable[Sequence[int]] = ()) -> list[int]:
        """Ids of a rendered text: each `<|audio|>` becomes begin, placeholders, end, each `<|ids|>` the ids given.

        The pieces between them are tokenised apart, as in the original (specification 1.5).

        Raises:
            LayoutError: the text names another number of clips, or of given ids, than there are.
        """
        lengths, prepared = list(audio_lengths), list(given)
        found = _PLACEHOLDER.findall(text)
        _check_count("clips", sum(name in _HAS_AUDIO for name in found), len(lengths))
        _check_count("runs of ids", found.count(IDS), len(prepared))
        clips, runs = iter(lengths), iter(prepared)
        first, *pieces = _PLACEHOLDER.split(text)
        ids = self.text_ids(first)
        for name, piece in zip(found, pieces, strict=True):
            ids += next(runs) if name == IDS else self._audio_ids(next(clips), bare=name == BARE_AUDIO)
            ids += self.text_ids(piece)
        return ids

    def _audio_ids(self, length: int, bare: bool) -> list[int]:
        """Placeholders of one clip, between its begin and end unless it is bare."""
        placeholders = [self.audio_token_id] * length
        return placeholders if bare else [self.audio_bos_token_id, *placeholders, self.audio_eos_token_id]

    def answer_ids(self, answer: str | SpokenAnswer) -> tuple[list[int], list[int]]:
        """An answer's ids in two stretches: its text with its end (or both in turns), and its speech.

        Raises:
            LayoutError: a code outside the codebook, or too little speech to take turns with.
        """
        answer = SpokenAnswer(answer) if isinstance(answer, str) else answer
        speech = [] if answer.codes is None else self.speech_ids.of_codes(answer.codes)
        if answer.text is None:
            return [], speech
        if answer.in_turns:
            text = [*self.text_ids(answer.text), self.answer_end_token_id]
            return self.text_ids(answer.thought) + in_turns(text, speech), []
        return [*self.text_ids(answer.thought + answer.text), self.answer_end_token_id], speech

    def __call__(
        self,
        text: str | Sequence[str],
        audio: Waveform | Sequence[Waveform] | None = None,
        *,
        answers: Sequence[str | SpokenAnswer] | None = None,
        given: Sequence[Sequence[int]] = (),
        padding_side: str = "left",
        sampling_rate: int | None = None,
        **_: Any,
    ) -> BatchFeature:
        """Model inputs of a batch of rendered texts.

        Args:
            text: B texts holding one `<|audio|>` per clip (see `request` and `render`).
            audio: A waveforms (S,) in reading order, at the feature extractor's rate.
            answers: B target texts or spoken answers; adds `labels`, which count the answer and its end alone.
            given: joint ids of each `<|ids|>` in reading order.
            padding_side: `left` to generate, `right` to train.
            sampling_rate: rate of `audio` in Hz, checked when given.

        Returns:
            input_ids, attention_mask (B, L); input_features (A, M, F), feature_attention_mask (A, F) where
            there is audio; labels (B, L) where there are answers.

        Raises:
            AudioError: see `log_mel`, or another sampling rate.
            LayoutError: clips and placeholders do not agree.
        """
        if sampling_rate not in (None, self.feature_extractor.sampling_rate):
            raise AudioError(
                f"audio at {sampling_rate} Hz: the model takes {self.feature_extractor.sampling_rate} Hz; resample it"
            )
        texts = [text] if isinstance(text, str) else list(text)
        clips = [] if audio is None else [audio] if isinstance(audio, np.ndarray) and audio.ndim == 1 else list(audio)
        return self.batch(texts, [self.log_mel(clip) for clip in clips], answers, padding_side, given=given)

    def batch(
        self,
        texts: Sequence[str],
        features: Sequence[Tensor],
        answers: Sequence[str | SpokenAnswer] | None = None,
        padding_side: str = "left",
        audio_index: Sequence[int] | None = None,
        multiples: tuple[int, int] = (1, 1),
        *,
        given: Sequence[Sequence[int]] = (),
        text_padding_quirk: bool = False,
    ) -> BatchFeature:
        """As `__call__`, from (M, F) log-mel features already computed.

        `audio_index` names the clip of each placeholder where several questions share one; frames and tokens
        are padded to `multiples`. With `text_padding_quirk` the answers' texts are padded to one length before
        their speech, as OSUM-EChat was trained: a shorter row's first speech id follows a pad (echat 1.5).
        """
        frames, tokens = multiples
        clips = range(len(features)) if audio_index is None else audio_index
        prompts = self._prompts(texts, [audio_token_length(features[clip].shape[-1]) for clip in clips], given)
        targets = self._targets(answers, text_padding_quirk) if answers is not None else [_NOTHING for _ in prompts]
        rows = list(zip(prompts, targets, strict=True))
        data = {
            "input_ids": pad_rows([p + t.ids for p, t in rows], self.pad_token_id, padding_side, tokens),
            "attention_mask": pad_rows([[1] * len(p) + t.mask for p, t in rows], 0, padding_side, tokens),
        }
        if answers is not None:
            labels = [[IGNORED] * len(p) + t.labels for p, t in rows]
            data["labels"] = pad_rows(labels, IGNORED, padding_side, tokens)
        if features:
            padded = pad_features(features, frames, self.max_frames)
            data["input_features"], data["feature_attention_mask"] = padded
        if audio_index is not None:
            data["audio_index"] = torch.tensor(audio_index, dtype=torch.long)
        return BatchFeature(data)

    def _prompts(self, texts: Sequence[str], lengths: Sequence[int], given: Sequence[Sequence[int]]) -> list[list[int]]:
        """Ids of B rendered texts, which take clips and given ids in reading order."""
        found = [_PLACEHOLDER.findall(text) for text in texts]
        counts = [sum(name in _HAS_AUDIO for name in names) for names in found]
        _check_count("clips", sum(counts), len(lengths))
        _check_count("runs of ids", sum(names.count(IDS) for names in found), len(given))
        clips, runs = iter(lengths), iter(given)
        return [
            self.joint_ids(text, islice(clips, count), islice(runs, names.count(IDS)))
            for text, names, count in zip(texts, found, counts, strict=True)
        ]

    def _targets(self, answers: Sequence[str | SpokenAnswer], text_padding_quirk: bool) -> list[_Target]:
        """What each row learns to say; the mark of an unknown label is neither read nor learned."""
        stretches = [self.answer_ids(answer) for answer in answers]
        widest = max(len(text) for text, _ in stretches) if text_padding_quirk else 0
        targets = []
        for answer, (text, speech) in zip(answers, stretches, strict=True):
            unknown = None if isinstance(answer, SpokenAnswer) and answer.in_turns else self.unknown_token_id
            mask = [int(token != unknown) for token in text] + [0] * (widest - len(text)) + [1] * len(speech)
            ids = text + [0] * (widest - len(text)) + speech
            # The original reads text id 0 where it reads nothing, and scores what follows from there (echat 1.5).
            labels = [token if read else IGNORED for token, read in zip(ids, mask, strict=True)]
            targets.append(_Target([token * read for token, read in zip(ids, mask, strict=True)], mask, labels))
        return targets

    def _given(self, message: Mapping[str, Any]) -> Iterator[Sequence[int]]:
        """The joint ids of a message's `ids` parts, then of its `speech` parts: the order in which they are laid."""
        parts = _parts(message)
        yield from (part["ids"] for part in parts if part["type"] == "ids")
        yield from (self.speech_ids.of_codes(part["codes"]) for part in parts if part["type"] == "speech")

    def batch_decode(self, ids: Any, **kwargs: Any) -> list[str]:
        """Answers as text; special ids and everything from the answer's end on are left out."""
        return [self.decode(row, **kwargs) for row in ids]

    def decode(self, ids: Any, **kwargs: Any) -> str:
        """One answer as text; special ids and everything from the answer's end on are left out."""
        row = [int(token) for token in ids]
        if self.answer_end_token_id in row:
            row = row[: row.index(self.answer_end_token_id)]
        text_ids = [token for token in row if token < self.speech_ids.first]
        return self.tokenizer.decode(text_ids, **{"skip_special_tokens": True, **kwargs})

    def _clip(self, part: Mapping[str, Any]) -> Waveform:
        """Samples (S,) of an audio part."""
        if part.get("audio") is not None:
            return np.asarray(part["audio"], dtype=np.float32)
        if not part.get("path"):
            raise AudioError(
                f"audio part {sorted(part)}: it needs 'audio' (samples at 16 kHz) or 'path' (a local file)"
            )
        return self._read(Path(part["path"]))

    def _read(self, path: Path) -> Waveform:
        import soundfile
        import soxr

        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError) as fault:
            raise AudioError(f"{path}: cannot be read as audio ({fault}); give a wav, flac, ogg or mp3 file") from fault
        return soxr.resample(samples.mean(axis=1), rate, self.feature_extractor.sampling_rate)


class _Target(NamedTuple):
    """One row's answer: ids, which of them are read, and what is learned."""

    ids: list[int]
    mask: list[int]
    labels: list[int]


_NOTHING = _Target([], [], [])


def _check_count(what: str, named: int, given: int) -> None:
    if named != given:
        raise LayoutError(f"the text names {named} {what}, {given} were given: make them equal")


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def pad_rows(
    rows: Sequence[Sequence[int]], value: int, side: str, multiple: int = 1, most: int | None = None
) -> Tensor:
    """Ragged rows to (B, L), filled with `value` on one side; L is a multiple, or `most` where that is less."""
    length = _padded(max(map(len, rows)), multiple, most)
    filled = [
        [value] * (length - len(row)) + list(row) if side == "left" else list(row) + [value] * (length - len(row))
        for row in rows
    ]
    return torch.tensor(filled, dtype=torch.long)


def pad_features(features: Sequence[Tensor], multiple: int = 1, most: int | None = None) -> tuple[Tensor, Tensor]:
    """(M, F_i) features to (A, M, F), zero behind each end, and their (A, F) mask; F as L of `pad_rows`."""
    length = _padded(max(feature.shape[-1] for feature in features), multiple, most)
    padded = features[0].new_zeros(len(features), features[0].shape[0], length)
    mask = torch.zeros(len(features), length, dtype=torch.long)
    for row, feature in enumerate(features):
        padded[row, :, : feature.shape[-1]] = feature
        mask[row, : feature.shape[-1]] = 1
    return padded, mask


def _padded(longest: int, multiple: int, most: int | None) -> int:
    wanted = round_up(longest, multiple)
    return wanted if most is None else max(longest, min(wanted, most))
