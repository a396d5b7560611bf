"""From utterances to training batches: which clips, which questions, and the tensors of both.

Everything random is drawn from the seed of a sample, so a batch is the same whatever the number of
workers. Knows nothing of the model's weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count, groupby, islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import as_clip
from osum.corpus.packed import Float32
from osum.errors import AudioError
from osum.model import OsumProcessor
from osum.model.configuration_osum import IGNORED, audio_token_length, round_up
from osum.model.letters import letters
from osum.model.processing_osum import pad_features
from osum.tasks import LabelSet, Task, TaskSet, normalise_target
from osum.training.augment import DEFAULT, Augmentation, augment
from osum.training.recorded import FRAMES, RecordedStates
from osum.training.spec_augment import STATES, mask, spec_augment
from osum.utterance import Utterance

BLUR = 0.06
"""Standard deviation of the logarithm of what lengths are multiplied with before clips are sorted by them."""
CTC_PAD = -1
"""Fills ragged CTC targets."""
CTC_UNKNOWN = -2
"""Stands first in the targets of a clip whose transcript is not known; an empty transcript is known."""
LABEL_UNKNOWN = IGNORED
"""Stands for a label that a clip does not have; cross-entropy leaves it out."""
TOKENS = 8
"""Batches are padded to multiples of so many tokens, and of `FRAMES`: few shapes need few kernels."""


@dataclass(frozen=True)
class Pick:
    """One clip of a batch and the seed of all that is random about it."""

    index: int
    seed: int


Rows = Callable[[Pick, Pick, float], tuple[int, int]]
"""Of a pick, the first pick of its batch, and its seconds: rows of text that ask about it, tokens of the longest."""


class BucketSampler(Sampler[list[Pick]]):
    """An endless row of batches of clips of like length, at most `seconds` of audio and `tokens` each, both padded.

    In every epoch a clip stands `weight` times on average: 1.5 is once, and twice in every other
    epoch. Nothing is dropped; the order depends on the seed alone. Of several processes each takes
    its share of the row, so that together they see what one would. One clip that is too much stands alone.

    Args:
        durations: seconds of each clip.
        weights: passes over it per epoch.
        seconds: of one batch, at most.
        seed: of the order.
        process: which of the processes this is.
        num_processes: how many share the row.
        tokens: of one batch, at most; 0 is no limit.
        rows: what a pick needs of them.
        lengths: what clips are sorted by; their durations without it.
        groups: of each clip; a batch has clips of one group. One without it.
    """

    def __init__(
        self,
        durations: Sequence[float],
        weights: Sequence[float],
        seconds: float,
        seed: int,
        process: int = 0,
        num_processes: int = 1,
        tokens: int = 0,
        rows: Rows = lambda _pick, _first, _seconds: (0, 0),
        lengths: Sequence[float] = (),
        groups: Sequence[str] = (),
    ) -> None:
        self.durations = durations
        self.lengths = lengths or durations
        self.groups = groups or [""] * len(durations)
        self.weights = weights
        self.seconds = seconds
        self.seed = seed
        self.process = process
        self.num_processes = num_processes
        self.tokens = tokens
        self.rows = rows
        self.first = 0
        """Batches of the row, all processes together, that were already seen (resuming)."""

    def __iter__(self) -> Iterator[list[Pick]]:
        row = chain.from_iterable(map(self.epoch, count()))
        return islice(row, self.first + self.process, None, self.num_processes)

    def epoch(self, number: int) -> list[list[Pick]]:
        """All batches of one epoch."""
        rng = random.Random(f"{self.seed}/{number}")
        picks = [
            Pick(index, rng.randrange(2**31))
            for index, weight in enumerate(self.weights)
            for _ in range(math.floor(weight) + (rng.random() < weight % 1))
        ]
        # Lengths are blurred: clips of one length come from few sources, and a batch should mix them.
        picks.sort(key=lambda pick: self.lengths[pick.index] * math.exp(rng.gauss(0, BLUR)))
        picks.sort(key=lambda pick: self.groups[pick.index])
        parts = (list(part) for _, part in groupby(picks, key=lambda pick: self.groups[pick.index]))
        batches = [batch for part in parts for batch in self._cut(part)]
        rng.shuffle(batches)
        return batches

    def _cut(self, picks: list[Pick]) -> Iterator[list[Pick]]:
        batch: list[Pick] = []
        longest, rows, width = 0.0, 0, 0
        for pick in picks:
            longest = max(longest, self.durations[pick.index])
            more, tokens = self._rows(pick, batch[0] if batch else pick)
            rows, width = rows + more, max(width, tokens)
            if batch and (longest * (len(batch) + 1) > self.seconds or rows * width > self.tokens > 0):
                yield batch
                batch, longest = [], self.durations[pick.index]
                rows, width = self._rows(pick, pick)
            batch.append(pick)
        if batch:
            yield batch

    def _rows(self, pick: Pick, first: Pick) -> tuple[int, int]:
        return self.rows(pick, first, self.durations[pick.index]) if self.tokens else (0, 0)


@dataclass(frozen=True)
class QuestionDraw:
    """How questions are drawn for a clip: how many, and how likely each task is."""

    per_clip: int
    weights: Mapping[str, float]
    """Task name to weight; a task that is not named is not asked."""
    timed_share: float = 0.0
    """Share of batches that ask for word times alone: their long answers would pad all others."""

    def timed(self, picks: Sequence[Pick]) -> bool:
        """Whether a batch asks for word times."""
        return random.Random(f"timed/{picks[0].seed}").random() < self.timed_share

    def asked(self, candidates: Sequence[Task], timed: bool) -> list[Task]:
        """The tasks to draw from: word times alone in a timed batch, and none in another."""
        return [
            task for task in candidates if self.weights.get(task.name, 0) > 0 and (task.transcript == "timed") == timed
        ]

    def draw(self, candidates: Sequence[Task], timed: bool, rng: random.Random) -> list[Task]:
        """Different tasks, at most `per_clip`, drawn by weight."""
        left = self.asked(candidates, timed)
        drawn: list[Task] = []
        while left and len(drawn) < self.per_clip:
            task = rng.choices(left, [self.weights[item.name] for item in left])[0]
            drawn.append(task)
            left.remove(task)
        return drawn


class Collate(Protocol):
    """What makes the tensors of a batch, in a worker process."""

    def __call__(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """The batch, with `ids` of its clips and `unread`, why others are missing."""

    def rows(self, pick: Pick, first: Pick, seconds: float) -> tuple[int, int]:
        """See `Rows`."""


class ReadsClips(Protocol):
    """What gives the waveform of a row: `ClipAudio`, `PackedAudio`."""

    def read(self, utterance: Utterance) -> Float32:
        """(S,) at 16 kHz."""


class Augmenter:
    """All changes of training clips, with the noises of a data set.

    Args:
        noises: recordings (S,) to put below clips.
        share: of the clips that are changed at all.
        options: how often and how strongly each change is made to those.
    """

    def __init__(self, noises: Sequence[Float32], share: float = 1.0, options: Augmentation = DEFAULT) -> None:
        self.noises = noises
        self.share = share
        self.options = options

    @classmethod
    def from_rows(
        cls, rows: Sequence[Utterance], audio: ReadsClips, share: float = 1.0, options: Augmentation = DEFAULT
    ) -> Augmenter:
        """Take noises (no speech, no event) out of the training rows themselves."""
        noises = []
        for row in rows:
            if row.text == "" and row.labels.get("event") == "none":
                with suppress(AudioError):  # reported when the row is trained on
                    noises.append(audio.read(row))
        return cls(noises, share, options)

    def changes(self, seed: int) -> bool:
        """Whether the clip of a seed is one to change."""
        return random.Random(f"augment/{seed}").random() < self.share

    def __call__(self, samples: Float32, utterance: Utterance, seed: int) -> tuple[Float32, Utterance]:
        """A changed clip (S,), and its utterance with the word times moved."""
        samples, words = augment(samples, np.random.default_rng(seed), utterance.words, self.noises, self.options)
        return samples, utterance.with_(words=words)


class Collator:
    """Makes the tensors of one batch; runs in a worker process.

    Args:
        utterances: rows that `Pick.index` counts.
        audio: their packed waveforms.
        processor: renders requests and answers.
        tasks: what can be asked.
        questions: how it is drawn.
        augmenter: changes waveforms in training; None leaves them as they are.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        audio: ReadsClips,
        processor: OsumProcessor,
        tasks: TaskSet,
        questions: QuestionDraw,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.utterances = utterances
        self.audio = audio
        self.processor = processor
        self.tasks = tasks
        self.questions = questions
        self.augmenter = augmenter
        self.recorded: RecordedStates | None = None
        """What a frozen encoder gave for the clips, in place of their features."""
        self._rows: dict[tuple[int, bool], tuple[int, int]] = {}
        self._requests: dict[str, int] = {}

    def __call__(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """Model inputs with `labels` (right-padded), the targets of auxiliary losses, `ids`, and `unread`.

        `ctc_targets` (A, U) are letters, `token_targets` (A, U) the transcript's text ids, `label_targets` (A, K) the
        clip's place in each label set of the tasks; `unread` says why clips are missing.

        Without a question the inputs are the clips alone: the encoder learns by itself. Where no clip at all can be
        read a moment of silence stands for them that no loss counts, and `ids` is empty: processes that share a model
        must make every pass together.
        """
        features: list[Tensor] = []
        texts: list[str] = []
        answers: list[str] = []
        clip_of: list[int] = []
        transcripts: list[list[int]] = []
        spoken: list[list[int]] = []
        named: list[list[int]] = []
        ids: list[str] = []
        timed = self.questions.timed(picks)
        unread: list[str] = []
        for pick in picks:
            try:
                utterance, loaded = self._load(pick) if self.recorded is None else self._recorded(self.recorded, pick)
                candidates = self.candidates(utterance)
            except AudioError as fault:
                unread.append(str(fault))
                continue
            rng = random.Random(pick.seed)
            drawn = self.questions.draw(candidates, timed, rng) or self.questions.draw(candidates, not timed, rng)
            for task in drawn:
                texts.append(self.request(task, utterance, rng))
                answers.append(task.render(utterance))
                clip_of.append(len(features))
            features.append(loaded if isinstance(loaded, Tensor) else self._features(loaded, pick, rng))
            said = None if utterance.text is None else normalise_target(utterance.text)
            transcripts.append([CTC_UNKNOWN] if said is None else letters(said))
            spoken.append([CTC_UNKNOWN] if said is None else self.processor.text_ids(said))
            named.append([_place(labels, utterance) for labels in self.tasks.label_sets.values()])
            ids.append(utterance.id)
        if not features:
            features = [self._silence()]
            transcripts = spoken = [[CTC_UNKNOWN]]
            named = [[LABEL_UNKNOWN] * len(self.tasks.label_sets)]
            if self.questions.per_clip:
                task, utterance = next(iter(self.tasks.values())), self.utterances[picks[0].index]
                texts, answers, clip_of = [self.request(task, utterance, random.Random(0))], [""], [0]
        batch: dict[str, Any] = {
            "ctc_targets": _ragged(transcripts),
            "token_targets": _ragged(spoken),
            "label_targets": torch.tensor(named),
            "ids": ids,
            "unread": unread,
        }
        if texts:
            batch |= self.processor.batch(
                texts, features, answers, padding_side="right", audio_index=clip_of, multiples=(FRAMES, TOKENS)
            )
            if not ids:
                batch["labels"].fill_(IGNORED)
        else:
            padded = pad_features(features, FRAMES, self.processor.max_frames)
            batch["input_features"], batch["feature_attention_mask"] = padded
        return batch

    def rows(self, pick: Pick, first: Pick, seconds: float) -> tuple[int, int]:
        """Questions about a clip in a batch that begins with `first`, and tokens of the longest that can be drawn.

        By the manifest: what augmentation adds is not known yet.
        """
        key = pick.index, self.questions.timed([first])
        if key not in self._rows:
            self._rows[key] = self._measured(*key, round(seconds * SAMPLE_RATE))
        return self._rows[key]

    def _measured(self, index: int, timed: bool, samples: int) -> tuple[int, int]:
        utterance = as_clip(self.utterances[index], samples)
        try:
            candidates = self.candidates(utterance)
        except AudioError:
            return 0, 0
        asked = self.questions.asked(candidates, timed) or self.questions.asked(candidates, not timed)
        widths = (
            self.request_length(task, utterance, samples) + len(self.processor.text_ids(task.render(utterance))) + 1
            for task in asked
        )
        return min(self.questions.per_clip, len(asked)), round_up(max(widths, default=0), TOKENS)

    def request_length(self, task: Task, _utterance: Utterance, samples: int) -> int:
        """Tokens of the longest request for a task, audio included."""
        if task.name not in self._requests:
            languages = self.tasks.languages_of(task)
            prompts = [prompt for language in languages for prompt in self.tasks.prompts(task, language)]
            lengths = (len(self.processor.joint_ids(self.processor.request(prompt), [0])) for prompt in prompts)
            self._requests[task.name] = max(lengths)
        return self._requests[task.name] + audio_token_length(samples // self.processor.feature_extractor.hop_length)

    def candidates(self, utterance: Utterance) -> Sequence[Task]:
        """The tasks to draw from.

        Raises:
            AudioError: the clip cannot be used.
        """
        return self.tasks.answerable(utterance)

    def request(self, task: Task, _utterance: Utterance, rng: random.Random) -> str:
        """The text that asks for a task: one of its prompts, in any language that it has."""
        prompt = rng.choice(self.tasks.prompts(task, rng.choice(self.tasks.languages_of(task))))
        return self.processor.request(prompt)

    def _changes(self, pick: Pick) -> bool:
        return self.augmenter is not None and self.augmenter.changes(pick.seed)

    def copy(self, index: int, copy: int, seed: int) -> tuple[Utterance, Tensor]:
        """A row and its log-mel features (M, F): as it is, or, for any copy but 0, changed by a seed of its own.

        Raises:
            AudioError: the clip cannot be read.
        """
        pick = Pick(index, random.Random(f"copy/{seed}/{index}/{copy}").randrange(2**31))
        utterance, waveform = self._read(index)
        if copy and self.augmenter is not None:
            utterance, waveform = self._changed(utterance, waveform, pick)
        return utterance, self.processor.log_mel(waveform)

    def _recorded(self, recorded: RecordedStates, pick: Pick) -> tuple[Utterance, Tensor]:
        rng = random.Random(f"copies/{pick.seed}")
        utterance, states = recorded.read(pick.index, rng.randrange(recorded.copies))
        return utterance, mask(states, rng, STATES, fill=0.0) if self._changes(pick) else states

    def _features(self, waveform: Float32, pick: Pick, rng: random.Random) -> Tensor:
        mel = self.processor.log_mel(waveform)
        if self.augmenter is not None and self._changes(pick):
            mel = spec_augment(mel, rng, self.augmenter.options.spec)
        return mel

    def _silence(self) -> Tensor:
        """Features of a moment of silence, (M, F), or zeros (D, F) in place of an encoder's output."""
        mel = self.processor.log_mel(np.zeros(SAMPLE_RATE // 10, np.float32))
        return mel if self.recorded is None else self.recorded.nothing(mel.shape[-1])

    def _load(self, pick: Pick) -> tuple[Utterance, Float32]:
        utterance, waveform = self._read(pick.index)
        return self._changed(utterance, waveform, pick) if self._changes(pick) else (utterance, waveform)

    def _read(self, index: int) -> tuple[Utterance, Float32]:
        utterance = self.utterances[index]
        waveform = self.audio.read(utterance)
        if utterance.start is not None or utterance.end is not None:
            utterance = as_clip(utterance, len(waveform))
        return utterance, waveform

    def _changed(self, utterance: Utterance, waveform: Float32, pick: Pick) -> tuple[Utterance, Float32]:
        assert self.augmenter is not None, "only an augmenter changes clips"
        louder, changed = self.augmenter(waveform, utterance, pick.seed)
        # Slowed and padded, a long clip may no longer fit.
        return (changed, louder) if len(louder) <= self.processor.max_samples else (utterance, waveform)


def _place(labels: LabelSet, utterance: Utterance) -> int:
    label = utterance.labels.get(labels.name)
    return labels.labels.index(label) if label in labels.labels else LABEL_UNKNOWN


def _ragged(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(1, *map(len, rows)) if rows else 1
    return torch.tensor([[*row, *[CTC_PAD] * (longest - len(row))] for row in rows], dtype=torch.long)
