"""What differs between the models that a run can train: how one starts, what it reads, and what it minimises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.checkpoints.locate import TASKS_FILE, first_line
from osum.corpus.clips import ClipAudio
from osum.errors import RecipeError
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.tasks import TaskSet
from osum.training import whisper
from osum.training.augment import Augmentation
from osum.training.batch import Augmenter, Collate, Collator, QuestionDraw
from osum.training.config import MixturePart, TrainConfig
from osum.training.dialogue_batch import DialogueCollator, Row, read_dialogue_mixture
from osum.training.mixture import Mixture, read_mixture
from osum.training.objective import DialogueObjective, Losses, Objective
from osum.training.start import start, with_speech
from osum.training.voice import Listener, VoiceCollator, VoiceLosses, VoiceModel, read_voice_mixture


@dataclass(frozen=True)
class Collated:
    """What batches are made of."""

    rows: Sequence[Any]
    clips: ClipAudio
    processor: Any
    tasks: TaskSet
    config: TrainConfig
    learns: bool
    """Whether the batches are learned from, and so augmented."""


class Kind:
    """A model that answers tasks: `kind: osum`."""

    objective: type[Losses] = Objective
    collator_type: type[Collator] = Collator

    def start(self, config: TrainConfig, source: Path | None, _tasks: TaskSet) -> tuple[Any, OsumProcessor]:
        """From the checkpoint to begin with, and the tasks to learn."""
        return start(config, source)

    def read(
        self,
        parts: Mapping[str, MixturePart],
        _config: TrainConfig,
        tasks: TaskSet,
        processor: OsumProcessor,
        sources: Mapping[str, float] | None,
    ) -> Mixture[Any]:
        """The rows of a mixture, `sources` as in `read_mixture`."""
        return read_mixture(parts, tasks, processor.max_samples / SAMPLE_RATE, sources)

    def prepare(self, model: Any, config: TrainConfig) -> None:
        """Make a model ready to learn.

        Raises:
            RecipeError: an attention that it does not have.
        """
        try:
            model.set_attn_implementation(config.attention)
        except (ValueError, ImportError) as fault:
            raise RecipeError(f"attention is {config.attention!r} ({first_line(fault)}): give eager or sdpa") from fault
        if config.activation_checkpointing:
            model.activation_checkpointing_enable()

    def collator(self, given: Collated) -> Collate:
        """What makes batches of a mixture, augmented where they are learned from."""
        config, augmenter = given.config, None
        if given.learns:
            changes = Augmentation.from_mapping(config.augmentation)
            augmenter = Augmenter.from_rows(given.rows, given.clips, config.augment, changes)
        questions = QuestionDraw(config.questions_per_clip, weights_of(config, given.tasks), config.timed_share)
        return self.collator_type(given.rows, given.clips, given.processor, given.tasks, questions, augmenter)

    def write_tasks(self, folder: Path, tasks: TaskSet) -> None:
        """Write what a checkpoint answers."""
        text = json.dumps(tasks.to_dict(), ensure_ascii=False, indent=1)
        (folder / TASKS_FILE).write_text(text + "\n", "utf8")


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
        parts: Mapping[str, MixturePart],
        config: TrainConfig,
        tasks: TaskSet,
        processor: OsumProcessor,
        sources: Mapping[str, float] | None,
    ) -> Mixture[Row]:
        """Dialogues, and utterances that are asked their tasks."""
        return read_dialogue_mixture(parts, config.dialogue, tasks, processor, sources)

    def collator(self, given: Collated) -> Collate:
        """What makes batches of dialogues."""
        config, tasks = given.config, given.tasks
        changes = Augmentation.from_mapping(config.augmentation)
        augmenter = Augmenter((), config.augment, changes) if given.learns else None
        weights = weights_of(config, tasks)
        return DialogueCollator(given.rows, given.clips, given.processor, tasks, weights, config.dialogue, augmenter)


class VoiceKind(Kind):
    """`kind: voice`: the flow and the vocoder of a speech model."""

    objective = VoiceLosses

    def start(self, config: TrainConfig, source: Path | None, _tasks: TaskSet) -> tuple[Any, Any]:
        """The half of a speech model that speaks, and the one that listens.

        Raises:
            RecipeError: no folder of a speech model, or an option that a voice does not have.
        """
        if source is None:
            raise RecipeError(f"model is {config.model!r}: kind voice begins with a folder that osum convert has made")
        if config.dtype != "float32" or config.shard or config.encoder_copies or config.answered_clips:
            raise RecipeError(
                f"dtype is {config.dtype}, shard is {str(config.shard).lower()}, encoder_copies is "
                f"{config.encoder_copies}, answered_clips is {config.answered_clips}: a voice learns whole, in "
                "float32, by its losses; set dtype=float32 shard=false encoder_copies=0 answered_clips=0"
            )
        return VoiceModel.from_folder(source), Listener(source)

    def prepare(self, _model: Any, _config: TrainConfig) -> None:
        """Nothing is to be chosen."""

    def read(
        self,
        parts: Mapping[str, MixturePart],
        _config: TrainConfig,
        _tasks: TaskSet,
        _processor: Any,
        _sources: Mapping[str, float] | None,
    ) -> Mixture[Any]:
        """Clips of speech."""
        return read_voice_mixture(parts)

    def collator(self, given: Collated) -> Collate:
        """What makes batches of codes, mels and waveforms."""
        return VoiceCollator(given.rows, given.clips, given.processor)

    def write_tasks(self, _folder: Path, _tasks: TaskSet) -> None:
        """A voice answers no task."""


def weights_of(config: TrainConfig, tasks: TaskSet) -> Mapping[str, float]:
    """Task name to how often it is asked."""
    return config.tasks or dict.fromkeys(tasks, 1.0)


KINDS: Mapping[str, Kind] = {"osum": Kind(), "dialogue": DialogueKind(), "voice": VoiceKind(), "whisper": WhisperKind()}
"""What `kind` of a recipe may be."""
