"""A cascade as the floor of spoken dialogue: recogniser, language model, synthesizer, each replaceable.

`cascade:RECOGNISER` reads the question, the model of `--set cascade.endpoint=URL --set cascade.llm=MODEL` answers it,
and espeak-ng says the answer. It cannot notice how somebody sounds: only words reach the language model.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.corpus.sound_file import wav
from osum.corpus.synthesis import SynthesisVoice, espeak
from osum.errors import AudioError, InputError
from osum.peers import open_recogniser
from osum.peers.language_model import ENDPOINT_VARIABLE, Endpoint, LanguageModel
from osum.peers.recogniser import Options, Question, Recogniser
from osum.peers.talking import DialogueModel, Messages, SpokenReply, folder_of, samples_of
from osum.text import is_chinese
from osum.utterance import Utterance

SYSTEM = "You are talking with somebody. Answer in their language, in one or two short sentences that can be spoken."
SPEAKER = "espeak"
VOICE = SynthesisVoice("en-us", "f2")


class Cascade(DialogueModel):
    """Three models one after the other; see `DialogueModel`."""

    def __init__(
        self,
        recogniser: Recogniser,
        language_model: LanguageModel,
        llm: str,
        aloud: bool,
        folder: Path | None = None,
    ) -> None:
        super().__init__(f"{recogniser.name}+{llm}" + (f"+{SPEAKER}" if aloud else ""), folder)
        self._recogniser, self._language_model, self._llm, self._aloud = recogniser, language_model, llm, aloud

    @classmethod
    def open(cls, name: str, options: Options) -> Cascade:
        """Open all three; `extra` holds `endpoint` and `llm`, and may hold `speaker` and `replies`.

        Raises:
            InputError: no endpoint or language model, or an unknown speaker.
            CheckpointError: no recogniser of that name.
        """
        extra = options.extra
        url = extra.get("endpoint") or os.environ.get(ENDPOINT_VARIABLE, "")
        if not url or "llm" not in extra:
            raise InputError(
                f"cascade:{name} needs a language model: "
                "give --set cascade.endpoint=http://HOST/v1 --set cascade.llm=MODEL"
            )
        if (speaker := extra.get("speaker", SPEAKER)) not in (SPEAKER, "none"):
            raise InputError(f"speaker {speaker!r} of a cascade: choose {SPEAKER} or none")
        recogniser = open_recogniser(name, replace(options, extra={}))
        language_model = LanguageModel(Endpoint.from_environment(url), extra["llm"])
        return cls(recogniser, language_model, extra["llm"], speaker == SPEAKER, folder_of(options))

    def reply(self, conversation: Messages) -> SpokenReply:
        """See `DialogueModel`; Mandarin is not said aloud, since espeak-ng reads no characters."""
        begun = time.perf_counter()
        messages = [{"role": "system", "content": SYSTEM}, *map(self._written, conversation)]
        text = self._language_model.complete(messages).text.strip()
        if not self._aloud or not text or any(map(is_chinese, text)):
            return SpokenReply(text, seconds=time.perf_counter() - begun)
        samples = espeak().speak(text.split(), VOICE).samples
        seconds = time.perf_counter() - begun
        return SpokenReply(text, samples, SAMPLE_RATE, first_sound=seconds, seconds=seconds)

    def describe(self) -> Mapping[str, Any]:
        """See `DialogueModel`."""
        return {"recogniser": self._recogniser.describe(), "language_model": self._llm, "speaks": self._aloud}

    def _written(self, message: Mapping[str, Any]) -> dict[str, str]:
        """A message with its sounds as what the recogniser reads in them."""
        content = message["content"]
        if isinstance(content, str):
            return {"role": message["role"], "content": content}
        texts = [self._read(part) if part["type"] == "audio" else part.get("text", "") for part in content]
        return {"role": message["role"], "content": " ".join(filter(None, texts))}

    def _read(self, part: Mapping[str, Any]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "question.wav"
            path.write_bytes(wav(samples_of(part)))
            (answer,) = self._recogniser.recognise([Utterance("question", str(path))], Question("ASR"))
        if answer.error is not None:
            raise AudioError(answer.error)
        return answer.text or ""
