"""Model: what `osum.load` returns: a `Recognizer` that also replies, in text and, where it has a voice, aloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from os import PathLike
from typing import Any

from osum.checkpoints.checkpoint import open_checkpoint
from osum.dialogue.conversation import Messages
from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Piece, Reply, Talker
from osum.errors import UsageError
from osum.listening.placement import DTYPES, placement
from osum.listening.recognizer import Recognizer
from osum.speech.checkpoint import load_synthesizer
from osum.speech.synthesizer import Token2Wav
from osum.speech.voice import Voice, load_voice


class Model(Recognizer):
    """A checkpoint that labels speech and takes part in conversations, by one engine.

    Example:
        >>> model = osum.load("echat/", codec="voice/", voice="anna.safetensors")
        >>> model.reply([{"role": "user", "content": [{"type": "audio", "path": "question.wav"}]}]).text
        'gladly'
    """

    speech: Token2Wav[Any] | None = None
    """Speaks the codes that the model says."""
    voice: Voice | None = None
    """In whose voice."""

    @cached_property
    def talker(self) -> Talker:
        """What replies.

        Raises:
            InputError: what speaks without a voice, or a voice without what speaks.
            CheckpointError: what speaks has other codes than the model says.
        """
        return Talker(self.engine, self.speech, self.voice)

    def reply(self, conversation: Messages, options: TalkOptions | None = None) -> Reply:
        """See `Talker.reply`."""
        return self.talker.reply(conversation, options)

    def replies(self, conversations: Sequence[Messages], options: TalkOptions | None = None) -> list[Reply]:
        """See `Talker.replies`."""
        return self.talker.replies(conversations, options)

    def stream_reply(self, conversation: Messages, options: TalkOptions | None = None) -> Iterator[Piece]:
        """See `Talker.stream_reply`."""
        return self.talker.stream_reply(conversation, options)

    def speak(self, text: str, options: TalkOptions | None = None, emotion: str | None = None) -> Iterator[AudioPiece]:
        """See `Talker.speak`."""
        return self.talker.speak(text, options, emotion)


def load(
    name: str | PathLike[str] = "nano",
    *,
    codec: str | PathLike[str] | None = None,
    voice: str | PathLike[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    offline: bool = False,
    notice: Callable[[str], None] | None = None,
    base: str | PathLike[str] | None = None,
) -> Model:
    """Open a checkpoint, and what speaks for it.

    Args:
        name: `nano` (inside the package), a folder, or a hub name.
        codec: folder of a speech model, by `osum convert COSYVOICE DIR`; without it replies are text.
        voice: voice file for it, by `osum voice make`.
        device: `cpu`, `cuda`, `mps` ...; None takes an accelerator when there is one.
        dtype: `float32`, `bfloat16` or `float16`; None is float32 on a CPU, where equal answers are
            promised whatever the batch, and bfloat16 elsewhere.
        offline: never ask a hub.
        notice: gets one line (size, licence) before any download.
        base: folder of the language model, where the checkpoint leaves it out; without it the hub's.

    Raises:
        CheckpointError: nothing usable under one of the names.
        UsageError: an unknown dtype or device, a codec without a voice, or a voice without a codec.
    """
    if (codec is None) != (voice is None):
        raise UsageError(f"codec is {codec!r}, voice is {voice!r}: a voice is made for a codec; give both or neither")
    place, kind = placement(device, dtype)
    spoken = None if voice is None else load_voice(str(voice))  # small files first
    speech = None if codec is None else load_synthesizer(str(codec), place)
    model = Model(
        open_checkpoint(str(name), place, DTYPES[kind], offline, notice, None if base is None else str(base)), kind
    )
    model.speech, model.voice = speech, spoken
    return model
