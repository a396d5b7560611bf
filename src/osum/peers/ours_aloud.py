"""Ours, aloud: a checkpoint of osum that replies to a conversation with a voice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Reply, Talker
from osum.errors import InputError
from osum.listening.recognizer import load
from osum.peers.ours import Ours
from osum.peers.recogniser import Options
from osum.peers.talking import DialogueModel, Messages, SpokenReply, folder_of
from osum.speech.checkpoint import load_synthesizer
from osum.speech.voice import load_voice


class OursAloud(DialogueModel):
    """A checkpoint of ours that speaks with a voice: `talk:MODEL`."""

    def __init__(
        self, talker: Talker, name: str, facts: Mapping[str, Any], options: TalkOptions, folder: Path | None = None
    ) -> None:
        super().__init__(name, folder)
        self._talker, self._facts, self._options = talker, facts, options

    @classmethod
    def open(cls, name: str, options: Options) -> OursAloud:
        """Open a checkpoint; `extra` may hold `codec` and `voice` (both or none), `thinking`, and `replies`.

        Raises:
            CheckpointError: nothing usable under that name.
            InputError: a codec without a voice, or an unknown setting.
        """
        extra = options.extra
        if ("codec" in extra) != ("voice" in extra):
            raise InputError("a voice is made for a speech model: set codec=DIR and voice=FILE together")
        voice = load_voice(extra["voice"]) if "voice" in extra else None
        speech = load_synthesizer(extra["codec"], options.device or "cpu") if "codec" in extra else None
        recognizer = load(name, device=options.device, dtype=options.dtype)
        ours = Ours(recognizer)
        how = TalkOptions(thinking=extra.get("thinking", "off"), aloud=speech is not None)  # type: ignore[arg-type]
        facts = {**ours.describe(), "thinking": how.thinking, "voice": Path(extra["voice"]).name if voice else None}
        return cls(Talker(recognizer.engine, speech, voice), ours.name, facts, how, folder_of(options))

    def reply(self, conversation: Messages) -> SpokenReply:
        """See `DialogueModel`."""
        begun, first = time.perf_counter(), None
        for piece in self._talker.stream_reply(conversation, self._options):
            if first is None and isinstance(piece, AudioPiece):
                first = time.perf_counter() - begun
        assert isinstance(piece, Reply)  # the whole comes last
        seconds = time.perf_counter() - begun
        return SpokenReply(piece.text, piece.audio, piece.sampling_rate, piece.emotion, first, seconds)

    def describe(self) -> Mapping[str, Any]:
        """See `DialogueModel`."""
        return self._facts
