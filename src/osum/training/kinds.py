"""What differs between the models that a run can train: how one starts, what it reads, and what it minimises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.errors import RecipeError
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.tasks import TaskSet
from osum.training import whisper
from osum.training.augment import Augmentation
from osum.training.batch import Augmenter, Collate, Collator, Questions
from osum.training.config import Part, TrainConfig
from osum.training.dialogue_batch import DialogueCollator, Row, read_dialogue_mixture
from osum.training.mixture import Mixture, read_mixture
from osum.training.objective import DialogueObjective, Losses, Objective
from osum.training.start import start, with_speech


class Kind:
    """A model that answers tasks: `kind: osum`."""

    objective: type[Losses] = Objective
    collator_type: type[Collator] = Collator

    def start(self, config: TrainConfig, source: Path | None, _tasks: TaskSet) -> tuple[Any, OsumProcessor]:
        """From the checkpoint to begin with, and the tasks to learn."""
        return start(config, source)

    def read(
        self,
        parts: Mapping[str, Part],
        _config: TrainConfig,
        tasks: TaskSet,
        processor: OsumProcessor,
        sources: Mapping[str, float] | None,
    ) -> Mixture[Any]:
        """The rows of a mixture, `sources` as in `read_mixture`."""
        return read_mixture(parts, tasks, processor.max_samples / SAMPLE_RATE, sources)

    def collator(
        self,
        mixture: Mixture[Any],
        clips: ClipAudio,
        processor: OsumProcessor,
        tasks: TaskSet,
        config: TrainConfig,
        learns: bool,
    ) -> Collate:
        """What makes batches of a mixture, augmented where they are learned from."""
        augmenter = None
        if learns:
            changes = Augmentation.from_mapping(config.augmentation)
            augmenter = Augmenter.from_rows(mixture.rows, clips, config.augment, changes)
        questions = Questions(config.questions_per_clip, weights_of(config, tasks), config.timed_share)
        return self.collator_type(mixture.rows, clips, processor, tasks, questions, augmenter)


class WhisperKind(Kind):
    """`kind: whisper`."""

    objective = whisper.WhisperObjective
    collator_type = whisper.WhisperCollator

    def start(self, config: TrainConfig, source: Path | None, tasks: TaskSet) -> tuple[Any, OsumProcessor]:
        """A Whisper with a tag for each task."""
        return whisper.start(config, source, tasks)


class DialogueKind(Kind):
    """`kind: dialogue`: an OSUM that learns to talk."""

    objective = DialogueObjective

    def start(
        self, config: TrainConfig, source: Path | None, _tasks: TaskSet
    ) -> tuple[OsumForConditionalGeneration, OsumProcessor]:
        """The model, with a speech head where the recipe gives it one.

        Raises:
            RecipeError: an option that dialogues do not have.
        """
        if config.answered_clips or config.encoder_copies or not config.batch_tokens:
            raise RecipeError(
                f"answered_clips is {config.answered_clips}, encoder_copies is {config.encoder_copies}, "
                f"batch_tokens is {config.batch_tokens}: dialogues are validated by their loss, their encoder runs for "
                "every batch, and tokens bound it; set answered_clips=0 encoder_copies=0 batch_tokens=3700"
            )
        return with_speech(*start(config, source), config.dialogue.num_codes)

    def read(
        self,
        parts: Mapping[str, Part],
        config: TrainConfig,
        tasks: TaskSet,
        processor: OsumProcessor,
        sources: Mapping[str, float] | None,
    ) -> Mixture[Row]:
        """Dialogues, and utterances that are asked their tasks."""
        return read_dialogue_mixture(parts, config.dialogue, tasks, processor, sources)

    def collator(
        self,
        mixture: Mixture[Any],
        clips: ClipAudio,
        processor: OsumProcessor,
        tasks: TaskSet,
        config: TrainConfig,
        learns: bool,
    ) -> Collate:
        """What makes batches of dialogues."""
        changes = Augmentation.from_mapping(config.augmentation)
        augmenter = Augmenter((), config.augment, changes) if learns else None
        weights = weights_of(config, tasks)
        return DialogueCollator(mixture.rows, clips, processor, tasks, weights, config.dialogue, augmenter)


def weights_of(config: TrainConfig, tasks: TaskSet) -> Mapping[str, float]:
    """Task name to how often it is asked."""
    return config.tasks or dict.fromkeys(tasks, 1.0)


KINDS: Mapping[str, Kind] = {"osum": Kind(), "dialogue": DialogueKind(), "whisper": WhisperKind()}
"""What `kind` of a recipe may be."""
