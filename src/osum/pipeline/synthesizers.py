"""Synthesizers behind one interface: text, language and how it is said in, 16 kHz sound out.

Each knows its voices and which gender they have. The same request gives the same sound, in any process and order, as
far as the synthesizer itself allows it.
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import soxr
from msgspec import Meta

from osum.audio import SAMPLE_RATE, load
from osum.corpus.packed import Float32
from osum.corpus.synthesis import FEMALE, MALE, SynthesisVoice, espeak
from osum.corpus.transcript import chinese_units, english_units, pinyin_units
from osum.errors import (
    AudioError,
    CheckpointError,
    EndpointError,
    EndpointUnusableError,
    InputError,
    MissingExtraError,
    OsumError,
    RecipeError,
)
from osum.utterance import Word

KEY_VARIABLE = "OSUM_TTS_KEY"
"""Environment variable with the key of a synthesizer's endpoint."""
_CLOSED = frozenset({401, 402, 403, 404, 405})
ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029")
PITCHES = {"child": (88, 99), "adult": (35, 65), "old": (20, 40)}
"""Of espeak-ng, 0 to 100."""
MANNERS = {
    "sad": (0.8, 20),
    "happy": (1.1, 80),
    "anger": (1.15, 70),
    "surprise": (1.1, 95),
    "fear": (1.2, 60),
    "disgust": (0.9, 30),
}
"""Emotion to a factor on the rate of speech and espeak-ng's range of pitch."""


@dataclass(frozen=True)
class SpeechMade:
    """What is to be said, and how."""

    text: str
    language: str
    number: float
    """From 0 to below 1; picks one of the voices that fit."""
    gender: str | None = None
    age: str | None = None
    emotion: str | None = None


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class SpokenText:
    """What was said."""

    samples: Float32
    """(S,) at 16 kHz."""
    voice: str
    gender: str | None
    """Of the voice, where it is known."""
    words: tuple[Word, ...] = ()
    """With times, where the synthesizer knows them."""


class TextSynthesizer(Protocol):
    """Speaks."""

    def identity(self) -> str:
        """What distinguishes it from any other."""
        ...

    def speak(self, said: SpeechMade) -> SpokenText:
        """The sound of a text.

        Raises:
            InputError: it cannot say this text.
            EndpointError, EndpointUnusableError: there is no answer to this request, or to any.
        """
        ...


@dataclass(frozen=True)
class SynthesizerOptions:
    """Which synthesizer."""

    kind: Literal["espeak", "kokoro", "endpoint"] = "espeak"
    model: str = ""
    """kokoro: folder of its ONNX file and voices; endpoint: the model as the server names it."""
    url: str = ""
    """endpoint: base address of an OpenAI-compatible server; the key is in `OSUM_TTS_KEY`."""
    voices: dict[str, str] = field(default_factory=dict)
    """Voice to gender (`female`, `male`, or empty for not known); those of kind without it."""
    instruct: bool = False
    """endpoint: send how to speak as `instructions`, which newer models follow."""
    tries: Annotated[int, Meta(ge=1, le=100)] = 8
    timeout: Annotated[float, Meta(gt=0)] = 60.0  # s

    def __post_init__(self) -> None:
        needed = {"espeak": (), "kokoro": ("model",), "endpoint": ("url", "model", "voices")}[self.kind]
        if missing := [name for name in needed if not getattr(self, name)]:
            raise RecipeError(f"a synthesizer of kind {self.kind} needs {missing[0]}: name it in the plan")


def open_synthesizer(options: SynthesizerOptions) -> TextSynthesizer:
    """The synthesizer of a plan; nothing is loaded before it speaks."""
    if options.kind == "kokoro":
        return Kokoro(options)
    return SpeechEndpoint(options) if options.kind == "endpoint" else EspeakNg(options)


def pick(voices: dict[str, str], said: SpeechMade) -> str:
    """A voice that fits the wanted gender, by the request's number; any where none fits."""
    fitting = [name for name, gender in voices.items() if said.gender in (None, gender)] or list(voices)
    return sorted(fitting)[int(said.number * len(fitting))]


# espeak-ng


class EspeakNg:
    """espeak-ng: many timbres, emotions by rate and range of pitch. Each text in a process of its own.

    Its voices jitter by numbers that continue from text to text, so a text would sound otherwise after a restart.
    """

    def __init__(self, options: SynthesizerOptions) -> None:
        self._voices = options.voices or {**dict.fromkeys(MALE, "male"), **dict.fromkeys(FEMALE, "female")}

    def identity(self) -> str:
        """See `TextSynthesizer`."""
        return f"espeak-ng {sorted(self._voices)}"

    def speak(self, said: SpeechMade) -> SpokenText:
        """See `TextSynthesizer`."""
        units = english_units(said.text) if said.language == "en" else chinese_units(said.text)
        if units is None:
            raise InputError(f"espeak-ng cannot say {said.text[:40]!r}: write it in words of one language, no digits")
        name = pick(self._voices, said)
        low, high = PITCHES.get(said.age or "adult", PITCHES["adult"])
        speed, span = MANNERS.get(said.emotion or "", (1.0, 50))
        part = said.number * 997 % 1  # another number than that of the voice, and as fixed
        accent = ACCENTS[int(part * len(ACCENTS))] if said.language == "en" else "cmn-latn-pinyin"
        voice = SynthesisVoice(accent, name, round(speed * (150 + 40 * part)), round(low + (high - low) * part), span)
        spoken = units if said.language == "en" else pinyin_units(units)
        samples, words = _in_a_process(spoken, voice)
        timed = tuple(Word(unit.rstrip(",.?"), word.start, word.end) for unit, word in zip(units, words, strict=False))
        return SpokenText(
            samples, f"espeak-ng {voice.name}", self._voices[name], timed if len(words) == len(units) else ()
        )


def _in_a_process(units: list[str], voice: SynthesisVoice) -> tuple[Float32, tuple[Word, ...]]:
    """What espeak-ng says first after it was started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["osum.corpus.synthesis"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_say, args=(theirs, units, voice))
    process.start()
    theirs.close()
    try:
        samples, words, fault = ours.recv()
    except EOFError as ended:
        raise OsumError("espeak-ng ended in the middle of a text: start again") from ended
    finally:
        ours.close()
        process.join()
        process.close()
    if fault:
        raise OsumError(fault)
    return samples, words


def _say(out: Any, units: list[str], voice: SynthesisVoice) -> None:
    try:
        found = espeak().speak(units, voice)
        out.send((found.samples, found.words, ""))
    except OsumError as fault:
        out.send((np.zeros(0, np.float32), (), str(fault)))


# Kokoro


class Kokoro:
    """Kokoro by `kokoro-onnx`: English and Mandarin; the second letter of a voice's name is its gender.

    English phonemes are those of espeak-ng, Mandarin ones those of `misaki`, which its Mandarin voices learned from.
    """

    def __init__(self, options: SynthesizerOptions) -> None:
        self._folder, self._given = Path(options.model), options.voices

    def identity(self) -> str:
        """See `TextSynthesizer`."""
        sizes = [(path.name, path.stat().st_size) for path in sorted(self._folder.glob("*"))]
        return f"kokoro {sizes} {sorted(self._given)}"

    @cached_property
    def _model(self) -> Any:
        try:
            from kokoro_onnx import Kokoro as Model
        except ImportError as fault:
            raise MissingExtraError("kokoro-onnx", "speak") from fault
        model, voices = (next(iter(sorted(self._folder.glob(form))), None) for form in ("*.onnx", "voices*.bin"))
        if model is None or voices is None:
            raise CheckpointError(f"{self._folder} has no *.onnx and voices*.bin: fetch those of kokoro-onnx's release")
        return Model(str(model), str(voices))

    @cached_property
    def _mandarin(self) -> Any:
        try:
            from misaki.zh import ZHG2P
        except ImportError as fault:
            raise MissingExtraError("misaki[zh]", "speak") from fault
        return ZHG2P()

    def speak(self, said: SpeechMade) -> SpokenText:
        """See `TextSynthesizer`."""
        wanted = "z" if said.language == "zh" else ("a", "b")
        known = self._given or {
            name: "female" if name[1] == "f" else "male"
            for name in self._model.get_voices()
            if name.startswith(wanted) and name[1] in "fm"
        }
        name = pick(known, said)
        speed = MANNERS.get(said.emotion or "", (1.0, 0))[0] * {"old": 0.9, "child": 1.05}.get(said.age or "", 1.0)
        try:
            if said.language == "zh":
                spoken = self._mandarin(said.text)[0]
                samples, rate = self._model.create(spoken, voice=name, speed=speed, is_phonemes=True)
            else:
                samples, rate = self._model.create(said.text, voice=name, speed=speed, lang="en-us")
        except (ValueError, IndexError, RuntimeError, AssertionError) as fault:
            raise InputError(f"kokoro cannot say {said.text[:40]!r} ({' '.join(str(fault).split())})") from fault
        sound = soxr.resample(np.asarray(samples, np.float32), rate, SAMPLE_RATE).astype(np.float32)
        return SpokenText(sound, f"kokoro {name}", known[name] or None)


# Any OpenAI-compatible endpoint


class SpeechEndpoint:
    """`/v1/audio/speech` of any OpenAI-compatible server, by the openai SDK."""

    def __init__(self, options: SynthesizerOptions) -> None:
        self._options = options

    def identity(self) -> str:
        """See `TextSynthesizer`."""
        return f"{self._options.model} {sorted(self._options.voices)} {self._options.instruct}"

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as fault:
            raise MissingExtraError("openai", "eval") from fault
        key = os.environ.get(KEY_VARIABLE, "").strip() or "none"
        options = self._options
        return openai.OpenAI(base_url=options.url, api_key=key, max_retries=options.tries - 1, timeout=options.timeout)

    def speak(self, said: SpeechMade) -> SpokenText:
        """See `TextSynthesizer`."""
        import openai

        name = pick(self._options.voices, said)
        asked: dict[str, Any] = {"model": self._options.model, "voice": name, "input": said.text}
        if self._options.instruct:
            asked["instructions"] = _instructions(said)
        try:
            content = self._client.audio.speech.create(**asked, response_format="wav").content
            return SpokenText(load(content), name, self._options.voices[name] or None)
        except openai.APIConnectionError as fault:  # a timeout is one
            raise EndpointUnusableError(f"{self._options.url} does not answer: start again when it does") from fault
        except openai.APIStatusError as fault:
            why = f"{self._options.url}: HTTP {fault.status_code}"
            if fault.status_code in _CLOSED or fault.status_code >= 500 or fault.status_code == 429:
                raise EndpointUnusableError(f"{why}: correct {KEY_VARIABLE} or the plan, or try later") from fault
            raise EndpointError(f"{why} for {said.text[:40]!r}") from fault
        except AudioError as fault:
            raise EndpointError(f"{self._options.url} answers no sound for {said.text[:40]!r} ({fault})") from fault


def _instructions(said: SpeechMade) -> str:
    parts = [said.age, said.gender, "speaker" if said.age or said.gender else None]
    who = " ".join(filter(None, parts))
    return ". ".join(filter(None, (f"A {who}" if who else "", f"Sound {said.emotion}" if said.emotion else "")))
