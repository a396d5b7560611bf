"""DialogueModel: a model that replies to a conversation, in text and perhaps aloud, and can be asked as a recogniser.

A conversation is Hugging Face messages, as `osum.dialogue.conversation` reads them. Shapes: S samples.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.corpus.sound_file import wav
from osum.errors import OsumError, TaskError
from osum.files import atomic_file
from osum.peers.clips import LoadedClip, Samples, in_batches
from osum.peers.facts import check_question
from osum.peers.recogniser import Options, Question, Recogniser, Recognition
from osum.utterance import Utterance

TASK = "STTC"
_EMOTION = ("SER-only", "SER")
"""Tasks that name an emotion, the shorter first."""
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class SpokenReply:
    """One reply."""

    text: str
    samples: Samples | None = None
    """(S,) of the reply aloud; None where the model did not speak."""
    sampling_rate: int = 0
    """Hz of `samples`."""
    emotion: str | None = None
    """The feeling that the model says it replies with."""
    first_sound: float | None = None
    """Seconds until the first piece of sound was there."""
    seconds: float = 0.0
    """Seconds until the reply was whole."""


class DialogueModel(ABC):
    """A model that talks; as a recogniser, it takes each clip as a question and replies.

    Args:
        name: as a table shows it.
        folder: where replies aloud are written as WAV, named by clip; None keeps their text alone.
    """

    tasks = frozenset({TASK})

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        self._folder = folder

    @abstractmethod
    def reply(self, conversation: Messages) -> SpokenReply:
        """The reply to the last turn of a conversation.

        Raises:
            InputError, AudioError, EndpointError: this conversation cannot be replied to.
        """

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`; a prompt is asked in writing behind the clip."""
        check_question(self, question)
        return in_batches(clips, 1, lambda batch: [self._answer(loaded, question.prompt) for loaded in batch])

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002
        """See `Recogniser`; a dialogue has no prompt of its own."""
        return ()

    def _answer(self, loaded: LoadedClip, prompt: str | None) -> Recognition:
        sound = [{"type": "audio", "audio": loaded.samples}]
        written = [] if prompt is None else [{"type": "text", "text": prompt}]
        try:
            reply = self.reply([{"role": "user", "content": [*sound, *written]}])
        except OsumError as fault:
            return Recognition(error=f"{loaded.clip.id}: {fault}")
        kept = self._kept(loaded, reply)
        return Recognition(raw=reply.text, prompt=prompt, reply=reply.text.strip(), reply_audio=kept)

    def _kept(self, loaded: LoadedClip, reply: SpokenReply) -> str | None:
        if self._folder is None or reply.samples is None:
            return None
        # Ids of corpora hold slashes, and are longer than a file's name may be.
        path = self._folder / f"{hashlib.sha256(loaded.clip.id.encode()).hexdigest()[:16]}.wav"
        with atomic_file(path) as file:
            file.write(wav(reply.samples, reply.sampling_rate))
        return str(path.absolute())


class WithEmotion:
    """A recogniser whose replies aloud are given to another, which names the emotion of their sound.

    Raises:
        TaskError: the other recognises no emotion.
    """

    def __init__(self, recogniser: Recogniser, emotion_by: Recogniser) -> None:
        self._task = next((task for task in _EMOTION if task in emotion_by.tasks), "")
        if not self._task:
            raise TaskError(
                f"{emotion_by.name} recognises no emotion: it answers {', '.join(sorted(emotion_by.tasks))}"
            )
        self.name, self.tasks = recogniser.name, recogniser.tasks
        self._recogniser, self._emotion_by = recogniser, emotion_by

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`; a reply whose sound cannot be recognised has no emotion."""
        for answer in self._recogniser.recognise(clips, question):
            if answer.reply_audio is None:
                yield answer
                continue
            (recognised,) = self._emotion_by.recognise([Utterance("reply", answer.reply_audio)], Question(self._task))
            yield replace(answer, reply_emotion=recognised.label or recognised.said or "not recognised")

    def prompts(self, task: str) -> tuple[str, ...]:
        """See `Recogniser`."""
        return self._recogniser.prompts(task)

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        return {**self._recogniser.describe(), "emotion_by": self._emotion_by.describe()}


def folder_of(options: Options) -> Path | None:
    """Where `--set replies=DIR` wants replies aloud."""
    return Path(options.extra["replies"]) if "replies" in options.extra else None


def samples_of(part: Mapping[str, Any]) -> Samples:
    """Samples (S,) at 16 kHz of a part of a conversation.

    Raises:
        AudioError: it cannot be read.
    """
    source = part.get("audio", part.get("path"))
    return audio.load((source, SAMPLE_RATE) if isinstance(source, np.ndarray) else source)
