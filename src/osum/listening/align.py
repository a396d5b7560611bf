"""Align: times of the words of a text that is known, for clips of at most one window.

1. A checkpoint that keeps its letters head is read by Viterbi: each word lasts from its first letter to its last.
2. Any other answers its task of word times with the words fixed, so that only the digits are decoded.
3. What neither can time, such as a number without letters, is spread between its neighbours and marked.

Shapes: B clips, M mel bins, F mel frames, T encoder frames, N letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from osum.audio import SAMPLE_RATE
from osum.engine.engine import Engine
from osum.engine.forced import Forced
from osum.engine.request import Ask, Request
from osum.errors import LayoutError, MissingExtraError
from osum.listening.feeding import Piece
from osum.listening.sound_time import SoundTime
from osum.listening.viterbi import best_paths
from osum.listening.word_times import LEAST, Span, TextUnit, in_file, placed, spans_of, units_of
from osum.model.configuration_osum import encoder_length
from osum.model.letters import LetterHead, letters_of
from osum.model.processing_osum import pad_features
from osum.tasks import Task, TaskSet
from osum.utterance import Segment, Word

PEAK = 2
"""Frames that a letter lasts on either side of the frames in which CTC says it, where they are blank."""


@dataclass(frozen=True, eq=False)  # tensors have no truth value
class Spoken:
    """A clip and what is said in it."""

    features: Tensor
    """Log-mel (M, F)."""
    seconds: float
    units: Sequence[TextUnit]

    @property
    def sound(self) -> SoundTime:
        """The clock that runs where there is sound."""
        return SoundTime([(self.features, self.seconds)])

    @property
    def has_room(self) -> bool:
        """Whether there are units, and time for all of them to have a length; without it nothing can be measured."""
        return bool(self.units) and len(self.units) * LEAST < self.seconds


def timed_task(tasks: TaskSet) -> Task | None:
    """The task that gives word times and nothing else; None where a checkpoint has none."""
    return next((task for task in tasks.values() if task.transcript == "timed" and not task.label_sets), None)


class Aligner:
    """Word times by one checkpoint.

    Args:
        engine: that runs it.
        head: its letters head, where it keeps one.
        task: its task of word times, where it has one.
        prompt: in which that is asked.
    """

    def __init__(self, engine: Engine, head: LetterHead | None, task: Task | None, prompt: str = "") -> None:
        self._engine, self._head, self._task, self._prompt = engine, head, task, prompt
        extractor = engine.processor.feature_extractor
        self._frame = 2 * extractor.hop_length / extractor.sampling_rate
        """Seconds of a frame of the encoder, which is two of its features."""

    @property
    def able(self) -> bool:
        """Whether the checkpoint can measure any time."""
        return self._head is not None or self._task is not None

    def __call__(self, clips: Sequence[Spoken]) -> list[tuple[Word, ...]]:
        """The words of each clip in seconds of the clip, in order, apart, none of no length."""
        measured = self._by_letters(clips)
        left = [at for at, spans in enumerate(measured) if spans is None and clips[at].has_room]
        for at, spans in zip(left, self._by_digits([clips[at] for at in left]), strict=True):
            measured[at] = spans
        return [
            placed([u.text for u in clip.units], spans or [None] * len(clip.units), clip.seconds, clip.sound)
            for clip, spans in zip(clips, measured, strict=True)
        ]

    @property
    def by_letters(self) -> bool:
        """Whether words are timed by the letters head."""
        return self._head is not None

    @torch.inference_mode()
    def _by_letters(self, clips: Sequence[Spoken]) -> list[list[Span | None] | None]:
        """By the letters head; None for what it cannot read."""
        spelled = [self._spelled(clip.units) for clip in clips]
        found: list[list[Span | None] | None] = [None] * len(clips)
        read = [at for at, words in enumerate(spelled) if words]
        if self._head is None or not read:
            return found
        features, mask = pad_features([clips[at].features for at in read])
        frames = mask.sum(-1)
        tower, device = self._engine.model.model.audio_tower, self._engine.device
        states = tower(features.to(device, tower.conv1.weight.dtype), frames.to(device))  # (B, T, D)
        log_probs = self._head(states.float()).log_softmax(-1)  # (B, T, N)
        targets = [[letter for word in spelled[at] for letter in word] for at in read]
        lengths = encoder_length(frames).tolist()
        for at, length, path in zip(read, lengths, best_paths(log_probs, lengths, targets), strict=True):
            if path is not None:
                found[at] = self._words(spelled[at], path[1], length)
        return found

    def _spelled(self, units: Sequence[TextUnit]) -> list[list[int]]:
        """Letters of each word; nothing where there is no way to spell any of them."""
        try:
            spelled = letters_of([unit.spoken for unit in units]) if self._head is not None else []
        except MissingExtraError:
            return []
        return spelled if any(spelled) else []

    def _words(
        self, spelled: Sequence[Sequence[int]], spans: Sequence[tuple[int, int]], length: int
    ) -> list[Span | None]:
        """Spans of words in seconds from the frames of their letters."""
        edges = [0, *(edge for span in spans for edge in span), length]
        found: list[Span | None] = []
        at = 0
        for word in spelled:
            if not word:
                found.append(None)
                continue
            (first, _), (_, last) = spans[at], spans[at + len(word) - 1]
            before, behind = first - edges[2 * at], edges[2 * (at + len(word)) + 1] - last
            early, late = min(PEAK, before / 2), min(PEAK, behind / 2)
            found.append(((first - early) * self._frame, (last + late) * self._frame))
            at += len(word)
        return found

    def _by_digits(self, clips: Sequence[Spoken]) -> list[list[Span | None]]:
        """By the task of word times, its words fixed."""
        if self._task is None:
            return [[None] * len(clip.units) for clip in clips]
        text = self._engine.processor.request(self._prompt)
        asked = [self._request(number, clip, text) for number, clip in enumerate(clips)]
        results = self._engine.run((each for each in asked if each is not None), ahead=max(1, len(clips)))
        replies = {result.id: result.replies[0].text for result in results if result.error is None}
        return [
            spans_of(self._task.parse(replies[number]).words, clip.units)
            if number in replies
            else [None] * len(clip.units)
            for number, clip in enumerate(clips)
        ]

    def _request(self, number: int, clip: Spoken, text: str) -> Request | None:
        """The question about a clip; None where nothing of it is said, or times cannot be forced."""
        words = tuple(unit.spoken for unit in clip.units if unit.spoken)
        processor = self._engine.processor
        try:
            longest = Forced(words, processor.text_ids, processor.answer_end_token_id).longest if words else 0
        except LayoutError:
            longest = 0
        if not longest:
            return None
        return Request(number, (clip.features,), (Ask(text, longest, self._task, words=words),))


def with_words(windows: Sequence[tuple[Piece, Segment]], aligner: Aligner, own: bool) -> list[Segment]:
    """Segments with the times of the words of their text.

    Those that they have stay where the text is the timed answer's `own`; and where no letters head knows better, unless
    another window shares some of their seconds: it may have none, and both are compared.
    """
    asked: dict[int, Spoken] = {}
    for at, (piece, segment) in enumerate(windows):
        keeps = bool(segment.words) and (own or not (aligner.by_letters or piece.shares))
        if segment.text and not keeps and piece.features is not None:
            asked[at] = Spoken(piece.features, piece.num_samples / SAMPLE_RATE, units_of(segment.text))
    found = dict(zip(asked, aligner(list(asked.values())), strict=True)) if asked else {}
    return [
        replace(segment, words=in_file(found[at], segment.start, segment.confidences)) if at in found else segment
        for at, (_, segment) in enumerate(windows)
    ]
