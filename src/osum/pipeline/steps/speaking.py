"""Text to sound: rows spoken by a synthesizer in a voice that fits their labels, and replies as speech codes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from osum.audio import load
from osum.corpus.manifest import unit_hash
from osum.corpus.sound_file import flac
from osum.errors import CheckpointError, EndpointError, EndpointUnusableError, MissingExtraError, OsumError
from osum.pipeline.row import NO_SOUND, DropError, Row, words_of
from osum.pipeline.step import ModelStep, a_file, digest, stamp, step
from osum.pipeline.steps.filters import script_of
from osum.pipeline.synthesizers import SpeechMade, SynthesizerOptions, open_synthesizer
from osum.speech.checkpoint import load_voice_encoder
from osum.speech.voice_encoder import VoiceEncoder

MANNER_OF_REPLY = {
    **dict.fromkeys(("开心", "愉悦"), "happy"),
    **dict.fromkeys(("悲伤", "哭腔", "抱歉"), "sad"),
    **{"愤怒": "anger", "惊讶": "surprise", "害怕": "fear", "厌恶": "disgust"},
}
"""Feeling of a reply to the emotion with which a synthesizer says it; the others are said plainly."""


@dataclass(frozen=True)
class SpeakOptions:
    """Of `speak`."""

    synthesizer: SynthesizerOptions = field(default_factory=SynthesizerOptions)
    seed: int = 0
    parallel: Annotated[int, Meta(ge=1, le=256)] = 4


@step("speak", version=1)
class Speak(ModelStep):
    """Speak rows of text in a voice that fits their gender, age and emotion; rows with sound stay as they are."""

    options: SpeakOptions
    batch = 32

    def __init__(self, options: SpeakOptions) -> None:
        super().__init__(options)
        self._synthesizer = open_synthesizer(options.synthesizer)
        self._name = f"{options.synthesizer.kind} {options.synthesizer.model}".strip()

    def identity(self) -> str:
        """See `ModelStep`."""
        return f"{self._synthesizer.identity()} {self.options.seed}"

    def said(self, row: Row) -> SpeechMade:
        """What is spoken of a row.

        Raises:
            DropError: nothing can be.
        """
        if not (row.utterance.text or "").strip():
            raise DropError("no text", "to speak")
        text, labels = row.utterance.text or "", row.utterance.labels
        language = row.utterance.language or script_of(text)[0] or "en"
        number = unit_hash(row.utterance.speaker or row.id, self.options.seed)
        return SpeechMade(text, language, number, labels.get("gender"), labels.get("age"), labels.get("emotion"))

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        return digest(str(asdict(self.said(row)))) if row.utterance.path == NO_SOUND else "as it is"

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        with ThreadPoolExecutor(min(self.options.parallel, len(rows))) as pool:
            return list(pool.map(self._spoken, rows))

    def _spoken(self, row: Row) -> Any:
        if row.utterance.path != NO_SOUND:
            return {}
        try:
            spoken = self._synthesizer.speak(self.said(row))
        except (EndpointUnusableError, MissingExtraError, CheckpointError):
            raise
        except EndpointError as fault:
            return DropError("the synthesizer refused", str(fault))
        except OsumError as fault:
            return DropError("cannot be spoken", str(fault))
        sound = base64.b64encode(flac(spoken.samples)).decode()
        words = [asdict(word) for word in spoken.words]
        return {"flac": sound, "voice": spoken.voice, "gender": spoken.gender, "words": words}

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        if not answer:
            return row
        made = row.heard_as(load(base64.b64decode(answer["flac"]))).noting(voice=answer["voice"], synthetic=True)
        speaker = row.utterance.speaker or answer["voice"]
        made = made.with_(speaker=speaker, language=self.said(row).language, source=row.utterance.source or "synthetic")
        if answer["gender"]:
            made = made.labelled("gender", answer["gender"], self._name)
        return made.labelled("words", words_of(answer["words"]), self._name) if answer["words"] else made


@dataclass(frozen=True)
class ReplyCodesOptions:
    """Of `reply_codes`."""

    tokenizer: str = a_file()
    """Folder of a speech model with a tokenizer, by `osum convert COSYVOICE DIR`."""
    synthesizer: SynthesizerOptions = field(default_factory=SynthesizerOptions)
    speaker: str = "assistant"
    """Who replies: one name, one voice."""
    device: str = "cpu"


@step("reply_codes", version=1)
class ReplyCodes(ModelStep):
    """Speak each reply in one voice with its feeling, and keep it as speech codes, which dialogue training reads."""

    options: ReplyCodesOptions
    batch = 8

    def __init__(self, options: ReplyCodesOptions) -> None:
        super().__init__(options)
        self._synthesizer = open_synthesizer(options.synthesizer)
        self._encoder: VoiceEncoder | None = None

    def identity(self) -> str:
        """See `ModelStep`."""
        return f"{self._synthesizer.identity()} {stamp(Path(self.options.tokenizer))} {self.options.speaker}"

    def _said(self, row: Row) -> SpeechMade:
        if not row.utterance.reply:
            raise DropError("no reply", "to speak")
        feeling = row.utterance.labels.get("reply_emotion", "")
        language = row.utterance.language or script_of(row.utterance.reply)[0] or "en"
        return SpeechMade(
            row.utterance.reply, language, unit_hash(self.options.speaker), emotion=MANNER_OF_REPLY.get(feeling)
        )

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        return digest(str(asdict(self._said(row))))

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        if self._encoder is None:
            found = load_voice_encoder(self.options.tokenizer, self.options.device)
            if not isinstance(found, VoiceEncoder):
                raise CheckpointError(f"{self.options.tokenizer} has no tokenizer: take the folder of a CosyVoice")
            self._encoder = found
        return [self._codes(row, self._encoder) for row in rows]

    def _codes(self, row: Row, encoder: VoiceEncoder) -> Any:
        try:
            spoken = self._synthesizer.speak(self._said(row))
            return {"codes": encoder.codes((spoken.samples, 16_000)), "voice": spoken.voice}
        except (EndpointUnusableError, MissingExtraError, CheckpointError):
            raise
        except OsumError as fault:
            return DropError("the reply cannot be spoken", str(fault))

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        if len(answer["codes"]) < 2:
            raise DropError("the reply is no sound")
        return row.noting(reply_codes=answer["codes"], reply_voice=answer["voice"])
