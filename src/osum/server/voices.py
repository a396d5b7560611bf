"""Voices: who a server speaks as, and sound in the formats that clients ask for."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from osum.corpus.sound_file import flac, wav
from osum.dialogue.voiced import EspeakVoice
from osum.errors import InputError, MissingExtraError, OsumError
from osum.server.faults import ApiError
from osum.server.options import ServerOptions
from osum.speech.checkpoint import load_synthesizer
from osum.speech.synthesizer import Token2Wav
from osum.speech.voice import Voice, load_voice

Samples = NDArray[np.float32]
PCM_RATE = 24_000
"""Hz of `pcm` and `pcm16`, which have no header."""
VOICE_SUFFIX = ".safetensors"


class Voices:
    """The voices of one server: made for speech codes, by `--codec` and `--voices`; else espeak-ng's, for any text."""

    def __init__(self, synthesizer: Token2Wav[Any] | None = None, named: Mapping[str, Voice] | None = None) -> None:
        self._synthesizer, self._named = synthesizer, dict(named or {})

    @classmethod
    def open(cls, options: ServerOptions) -> Voices:
        """Those that the options name.

        Raises:
            OsumError: a file or a folder that holds none.
        """
        if not (options.voices and options.codec):
            return cls()
        place = Path(options.voices)
        files = sorted(place.glob(f"*{VOICE_SUFFIX}")) if place.is_dir() else [place]
        if not files:
            raise InputError(f"{place} holds no voice: make one with: osum voice make prompt.wav voice{VOICE_SUFFIX}")
        return cls(load_synthesizer(options.codec), {file.stem: load_voice(file) for file in files})

    @property
    def of_codes(self) -> bool:
        """Whether speech codes of a model can be spoken."""
        return self._synthesizer is not None

    def pick(self, name: str | None) -> tuple[Token2Wav[Any] | None, Voice | None]:
        """What speaks codes, and the voice of a name; a foreign name means the first, as stock clients send theirs."""
        if self._synthesizer is None:
            return None, None
        return self._synthesizer, self._named.get(name or "") or next(iter(self._named.values()))

    @staticmethod
    def of_text() -> EspeakVoice:
        """What speaks text.

        Raises:
            ApiError: espeak-ng is not installed.
        """
        try:
            return EspeakVoice()
        except OsumError as fault:
            raise ApiError(501, f"this server cannot speak ({fault})", "modalities", "unsupported_model") from fault


def encoded(samples: Samples, rate: int, kind: str) -> bytes:
    """Samples (S,) as a file of a format, or as bare 16 bit numbers."""
    return _ENCODERS[kind](samples, rate)


def _pcm(samples: Samples, rate: int) -> bytes:
    moved = samples if rate == PCM_RATE else soxr.resample(samples, rate, PCM_RATE)
    return bytes((np.clip(moved, -1, 1) * 32767).astype("<i2").tobytes())


def _file(form: str, subtype: str, rates: tuple[int, ...] = ()) -> Callable[[Samples, int], bytes]:
    def write(samples: Samples, rate: int) -> bytes:
        to = rate if not rates or rate in rates else PCM_RATE
        moved = samples if to == rate else soxr.resample(samples, rate, to)
        file = io.BytesIO()
        soundfile.write(file, np.clip(moved, -1, 1), to, format=form, subtype=subtype)
        return file.getvalue()

    return write


def _aac(samples: Samples, rate: int) -> bytes:
    try:
        import av
    except ImportError:
        raise MissingExtraError("PyAV, which writes aac,", "media") from None
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None].astype(np.float32), "fltp", "mono")
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


_ENCODERS: dict[str, Callable[[Samples, int], bytes]] = {
    "wav": wav,
    "flac": flac,
    "mp3": _file("MP3", "MPEG_LAYER_III", (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "opus": _file("OGG", "OPUS", (8_000, 12_000, 16_000, 24_000, 48_000)),
    "aac": _aac,
    "pcm": _pcm,
    "pcm16": _pcm,
}
FORMATS = tuple(_ENCODERS)
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac",
               "pcm": "audio/pcm", "pcm16": "audio/pcm"}  # fmt: skip
