"""Synthetic speech with exact word times: espeak-ng through its C library.

Knows nothing of manifests. English is spoken as written; Mandarin is spoken from toned pinyin
("ni3 hao3"), one unit per character, because the Mandarin voice of espeak-ng 1.51 reads characters
through its English rules ("xiang-three"). The library's state is one per process: for two voices at
once use two processes. A voice's jitter continues from what was spoken before: the same calls in a new
process give the same samples.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import soxr

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.errors import InputError, OsumError
from osum.utterance import Word

LIBRARY = "libespeak-ng.so.1"

_MALE = """
m1 m2 m3 m4 m5 m6 m7 m8 Andy Denis Diogo Henrique Hugo Lee Marco michel miguel sandro travis victor antonio adam
benjamin caleb david ed edward gustave iven john max norbert pablo paul pedro quincy rob robert Alex Mike Michael Gene
"""
MALE = tuple(_MALE.split())
_FEMALE = "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda linda steph steph2 steph3"
FEMALE = tuple(_FEMALE.split())
OTHER = ("croak", "whisper", "whisperf", "klatt2", "klatt4")
"""Timbres that are used without a gender label."""
HELD_OUT = {
    "valid": ("m4", "Hugo", "f4", "belinda"),
    "test": ("m7", "Denis", "robert", "f5", "Alicia", "steph3"),
}
"""Timbres that `nano` never learns from."""

_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1  # espeak_AUDIO_OUTPUT, espeak_Initialize options
_UTF8, _POSITION_CHARACTER = 1, 1
_LIST_TERMINATED, _WORD, _PHONEME = 0, 1, 7  # espeak_EVENT_TYPE
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_TAIL = 0.1  # seconds of the final pause that stay


@dataclass(frozen=True, slots=True)
class SynthesisVoice:
    """How a text is spoken."""

    accent: str
    """espeak voice: en-us, en-gb ..., or cmn-latn-pinyin."""
    variant: str = ""
    """espeak variant, a timbre: m1, f3, croak; empty for the accent's own."""
    rate: int = 170
    """Words per minute."""
    pitch: int = 50
    """0 to 100."""
    pitch_range: int = 50
    """0 (monotonous) to 100."""

    @property
    def name(self) -> str:
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken text: waveform (S,) at 16 kHz, and a time for each unit (none where espeak reported no time)."""

    samples: Float32
    words: tuple[Word, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, opened once per process: take it from `espeak()`."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as fault:
            raise OsumError(f"{LIBRARY} is not installed; install it with: apt install espeak-ng") from fault
        self.native_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._words: list[tuple[int, int]] = []  # (position in the text, sample)
        self._pauses: list[int] = []  # samples
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, units: list[str], voice: SynthesisVoice) -> Speech:
        """Speak units that are joined by spaces; a unit may end in a comma, full stop or question mark."""
        self._select(voice)
        for heap in (self._chunks, self._words, self._pauses):
            heap.clear()
        text = " ".join(units).encode() + b"\0"
        self._library.espeak_Synth(text, len(text), 0, _POSITION_CHARACTER, 0, _UTF8, None, None)
        native = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)
        words = self._times(units, native.size)
        if words:
            native = native[: round((words[-1].end + _TAIL) * self.native_rate)]
        samples = soxr.resample(native.astype(np.float32) / np.float32(32768), self.native_rate, SAMPLE_RATE)
        return Speech(samples.astype(np.float32), words)

    def _select(self, voice: SynthesisVoice) -> None:
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice.name!r}: see espeak-ng --voices and --voices=variant")
        settings = ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range))
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, value, 0)

    def _receive(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wave and count > 0:
            self._chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while (event := events[index]).type != _LIST_TERMINATED:
            index += 1
            if event.type == _WORD and event.length > 0:
                self._words.append((event.text_position - 1, event.sample))
            elif event.type == _PHONEME and event.id.string in (b"_:", b"_", b"_!", b"_^"):
                self._pauses.append(event.sample)
        return 0

    def _times(self, units: list[str], num_samples: int) -> tuple[Word, ...]:
        """A word lasts to the next word or to the pause before it; () where espeak reported no times.

        espeak speaks some pairs ("of the") as one word with one event: they share its time by letters.
        """
        groups: list[tuple[list[str], int]] = []  # (units of one event, its sample)
        position = 0
        for unit in units:
            starts = [sample for at, sample in self._words if position <= at < position + len(unit)]
            position += len(unit) + 1
            if starts:
                groups.append(([unit], min(starts)))
            elif not groups:
                return ()
            else:
                groups[-1][0].append(unit)
        words: list[Word] = []
        for index, (group, start) in enumerate(groups):
            limit = groups[index + 1][1] if index + 1 < len(groups) else num_samples
            end = min([limit, *(pause for pause in self._pauses if start < pause < limit)])
            if end <= start:
                return ()
            words += _share(group, start / self.native_rate, end / self.native_rate)
        return tuple(words)


def _share(units: list[str], start: float, end: float) -> list[Word]:
    """Units spoken as one between two times, each with a share that goes by its letters."""
    edges = np.cumsum([0, *(len(unit) for unit in units)]) / sum(len(unit) for unit in units)
    times = [round(start + float(edge) * (end - start), 4) for edge in edges]
    return [Word(unit.strip(",.?"), times[i], times[i + 1]) for i, unit in enumerate(units)]


@cache
def espeak() -> Espeak:
    """The library of this process.

    Raises:
        OsumError: it is not installed.
    """
    return Espeak()
