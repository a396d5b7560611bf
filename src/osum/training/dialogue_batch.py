"""Dialogues to training batches: which rows are good enough, and the tensors of both speech and text.

Rows that are no dialogues are asked one of their tasks, as in other runs. Knows nothing of the model's weights.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.dialogue_forms import DialogueManifest
from osum.corpus.dialogues import Dialogue, DialogueTurn
from osum.dialogue.options import MAX_TURNS
from osum.errors import AudioError, LayoutError
from osum.model import OsumProcessor
from osum.model.configuration_osum import IGNORED, round_up
from osum.model.spoken_answer import SpokenAnswer
from osum.tasks import TaskSet
from osum.training.batch import TOKENS, Augmenter, Pick, ReadsClips
from osum.training.config import DialogueOptions, MixturePart
from osum.training.dialogue_layout import DialogueLayout
from osum.training.mixture import Mixture, check_tasks, restricted
from osum.training.recorded import FRAMES
from osum.training.spec_augment import spec_augment
from osum.utterance import Utterance

log = logging.getLogger(__name__)
Row = Dialogue | Utterance
SHORTEST, LONGEST = 0.2, 200.0
"""Seconds of one clip (echat 3.2)."""
MOST_TEXT_IDS, MOST_POSITIONS = 1200, 2000
"""Ids of a reply's text, and of a whole row (echat 3.2)."""
SPEECH_PER_TEXT = 0.8
"""Least speech codes for each text id of what is said aloud (echat 3.2)."""
_OTHERS = re.compile(
    r"chatgpt|gpt-?[34]|\bqwen|通义|\bmoss\b|文心一言|小智|语言模型|language model|<think", re.IGNORECASE
)
"""Replies that name another assistant, or hold marks of a thought, are left out (echat 2.5)."""


def read_dialogue_mixture(
    parts: Mapping[str, MixturePart],
    options: DialogueOptions,
    tasks: TaskSet,
    processor: OsumProcessor,
    sources: Mapping[str, float] | None = None,
) -> Mixture[Row]:
    """Read all manifests; what cannot be trained on is counted by reason, and the first of each is logged.

    Raises:
        InputError: a manifest cannot be read, or names a task that the recipe does not have.
    """
    check_tasks(parts, tasks)
    reader = _Reader(options, tasks, processor, sources or {})
    for name, part in parts.items():
        for line in DialogueManifest(Path(part.manifest), tasks=tasks):
            if line.row is None:
                reader.drop("broken line", f"{line.place}: {line.fault}")
            elif isinstance(line.row, Utterance):
                reader.take_utterance(line.row.with_(source=line.row.source or name), part, line.place)
            else:
                dialogue = replace(line.row, source=line.row.source or name)
                for row in dialogue.prefixes() if options.every_reply else (dialogue,):
                    reader.take(row, part.weight, line.place)
    return reader.mixture()


class _Reader:
    """Collects the rows of a mixture."""

    def __init__(
        self, options: DialogueOptions, tasks: TaskSet, processor: OsumProcessor, sources: Mapping[str, float]
    ) -> None:
        self.streams = {str(name): weight for name, weight in options.streams.items()}
        self.sources, self.tasks = sources, tasks
        self.layout = DialogueLayout(processor, replace(options, thinking={"off": 1.0}, in_turns=0.0))
        self.clips = ClipAudio()
        self.longest = min(LONGEST, processor.max_samples / SAMPLE_RATE)
        self.rows: list[tuple[Row, float, float, int]] = []
        self.dropped: Counter[str] = Counter()

    def mixture(self) -> Mixture[Row]:
        total = len(self.rows) + sum(self.dropped.values())
        for reason, number in self.dropped.items():
            log.warning("left out, %s: %d of %d rows", reason, number, total)
        rows, weights, seconds, lengths = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        groups = tuple(row.stream if isinstance(row, Dialogue) else "s2t" for row in rows)
        return Mixture(rows, weights, seconds, dict(self.dropped), lengths, groups)

    def drop(self, reason: str, what: str) -> None:
        if not self.dropped[reason]:
            log.warning("left out, %s: %s", reason, what)
        self.dropped[reason] += 1

    def take_utterance(self, row: Utterance, part: MixturePart, place: str) -> None:
        """A row that is no dialogue, where a task fits."""
        known = restricted(row, part, self.tasks)
        if known is None or not self.tasks.answerable(known):
            self.drop("no task of the recipe fits", place)
            return
        seconds = self._seconds([known], place)
        if seconds is not None:
            known = known.with_(duration=seconds[0])
            weight = part.weight * self._passes(known.source, "s2t")
            self.rows.append((known, weight, seconds[0], self.layout.clip_tokens(seconds[0])))

    def take(self, row: Dialogue, weight: float, place: str) -> None:
        """A dialogue that passes all filters."""
        row = replace(row, turns=row.turns[-2 * (MAX_TURNS + 1) :])
        seconds = self._seconds(row.clips, place)
        if seconds is None:
            return
        row = replace(row, turns=_with_durations(row.turns, seconds))
        reply = row.reply
        said = reply.text if reply.text is not None else row.question.text or ""
        text_ids = len(self.layout.processor.text_ids(said))
        try:
            laid = self.layout.lay(row, random.Random(0))
            positions = self.layout.positions(laid, [self.layout.clip_tokens(length) for length in seconds])
        except LayoutError as fault:
            self.drop("codes of another model", f"{place}: {fault}")
            return
        if not 0 < text_ids <= MOST_TEXT_IDS or positions > MOST_POSITIONS:
            self.drop(f"more than {MOST_TEXT_IDS} ids of text or {MOST_POSITIONS} in all", f"{place}: {positions}")
        elif reply.codes and text_ids * SPEECH_PER_TEXT >= len(reply.codes):
            self.drop("too little speech for the text", f"{place}: {len(reply.codes)} codes for {text_ids} ids of text")
        elif reply.text and (found := _OTHERS.search(reply.text)):
            self.drop("the reply names another assistant", f"{place}: {found[0]}")
        else:
            self.rows.append((row, weight * self._passes(row.source, row.stream), sum(seconds), positions))

    def _passes(self, source: str | None, stream: str) -> float:
        return self.sources.get(source or "", 1.0) * self.streams.get(stream, 1.0)

    def _seconds(self, clips: Sequence[Utterance], place: str) -> list[float] | None:
        """Seconds of each clip; None where one cannot be taken."""
        try:
            found = [self.clips.duration(clip) if clip.duration is None else clip.duration for clip in clips]
        except AudioError as fault:
            self.drop("audio that cannot be read", f"{place}: {fault}")
            return None
        wrong = [seconds for seconds in found if not SHORTEST <= seconds <= self.longest]
        if wrong:
            self.drop(f"not within {SHORTEST:g} and {self.longest:g} s", f"{place}: {wrong[0]:g} s")
            return None
        return found


def _with_durations(turns: Sequence[DialogueTurn], seconds: Sequence[float]) -> tuple[DialogueTurn, ...]:
    left = iter(seconds)
    return tuple(
        replace(turn, duration=next(left)) if turn.role == "user" and turn.audio is not None else turn for turn in turns
    )


@dataclass(frozen=True)
class _Sample:
    """One row of a batch."""

    text: str
    runs: tuple[Sequence[int], ...]
    answer: SpokenAnswer
    features: list[Tensor]


class DialogueCollator:
    """Makes the tensors of one batch; runs in a worker process.

    Args:
        rows: what `Pick.index` counts.
        audio: reads their sounds.
        processor: renders prompts and answers.
        tasks: what an utterance can be asked.
        weights: task name to how often it is asked.
        options: how dialogues are laid out.
        augmenter: changes waveforms in training; None leaves them as they are.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        audio: ReadsClips,
        processor: OsumProcessor,
        tasks: TaskSet,
        weights: Mapping[str, float],
        options: DialogueOptions,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.data, self.audio, self.processor = rows, audio, processor
        self.tasks, self.weights, self.options, self.augmenter = tasks, weights, options, augmenter
        self.layout = DialogueLayout(processor, options)

    def __call__(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """Model inputs with `labels` (right-padded), `ids`, and `unread`, why rows are missing.

        A batch without any sound has a moment of silence that no row refers to, so that processes that share a model
        run the same parts of it. Where no row can be read, a text stands in that no loss counts, and `ids` is empty.
        """
        samples: list[_Sample] = []
        ids: list[str] = []
        unread: list[str] = []
        for pick in picks:
            row = self.data[pick.index]
            try:
                samples.append(self._sample(row, pick))
                ids.append(row.id)
            except AudioError as fault:
                unread.append(str(fault))
        if not samples:
            text = self.processor.render([{"role": "user", "content": "."}])
            samples = [_Sample(text, (), SpokenAnswer("."), [])]
        features = [clip for sample in samples for clip in sample.features]
        batch: dict[str, Any] = self.processor.batch(
            [sample.text for sample in samples],
            features or [self.processor.log_mel(np.zeros(SAMPLE_RATE // 10, np.float32))],
            [sample.answer for sample in samples],
            padding_side="right",
            audio_index=range(len(features)),
            multiples=(FRAMES, TOKENS),
            given=[run for sample in samples for run in sample.runs],
            text_padding_quirk=self.options.released,
        )
        if not ids:
            batch["labels"] = torch.full_like(batch["labels"], IGNORED)
        return {**batch, "ids": ids, "unread": unread, "num_text_ids": self.processor.speech_ids.first}

    def rows(self, pick: Pick, _first: Pick, seconds: float) -> tuple[int, int]:
        """One row, and its tokens in the form that the pick draws, larger where its kind may use a part of a batch."""
        row = self.data[pick.index]
        if isinstance(row, Utterance):
            sample = self._asked(row, random.Random(pick.seed), [])
            prompt = len(self.processor.joint_ids(sample.text, [self.layout.clip_tokens(seconds)]))
            return 1, round_up(prompt + sum(map(len, self.processor.answer_ids(sample.answer))), TOKENS)
        laid = self.layout.lay(row, random.Random(pick.seed))
        lengths = [self.layout.clip_tokens(clip.duration or 0.0) for clip in row.clips]
        return 1, round_up(round(self.layout.positions(laid, lengths) / laid.form.room), TOKENS)

    def _sample(self, row: Row, pick: Pick) -> _Sample:
        rng = random.Random(pick.seed)
        if isinstance(row, Utterance):
            return self._asked(row, rng, [self._features(row, pick)])
        laid = self.layout.lay(row, rng)
        return _Sample(laid.text, laid.runs, laid.answer, [self._features(clip, pick) for clip in row.clips])

    def _asked(self, row: Utterance, rng: random.Random, features: list[Tensor]) -> _Sample:
        """A row that is no dialogue, asked one task."""
        candidates = self.tasks.answerable(row)
        weights = [self.weights.get(task.name, 0.0) for task in candidates]
        task = rng.choices(candidates, weights if any(weights) else None)[0]
        prompt = rng.choice(self.tasks.prompts(task, rng.choice(self.tasks.languages_of(task))))
        return _Sample(self.processor.request(prompt), (), SpokenAnswer(task.render(row)), features)

    def _features(self, clip: Utterance, pick: Pick) -> Tensor:
        """Log-mel (M, F) of a clip."""
        samples = self.audio.read(clip)
        changes = self.augmenter is not None and self.augmenter.changes(pick.seed)
        if self.augmenter is not None and changes:
            louder, _ = self.augmenter(samples, clip, pick.seed)
            samples = louder if len(louder) <= self.processor.max_samples else samples
        mel = self.processor.log_mel(samples)
        if self.augmenter is not None and changes:
            mel = spec_augment(mel, random.Random(pick.seed), self.augmenter.options.spec)
        return mel
