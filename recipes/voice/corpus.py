"""The spoken clips as the trainers read them: 16 kHz, cut to whole codes, with the fundamental of each mel frame.

Shapes: S samples, F mel frames of 10 ms, N codes of 40 ms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from osum.speech.small_voice import MEL
from recipes.nano.speak import INDEX, spoken
from recipes.voice.speak import SPEAKERS

CODE_SAMPLES = MEL.sampling_rate // 25
FRAMES_PER_CODE = CODE_SAMPLES // MEL.hop_length
PITCH_RATE = 80.0
"""Values of Kokoro's fundamental per second."""
VOICED_ABOVE = 60.0
"""Hz: below this, Kokoro's fundamental means that there is none."""
CODES = "codes.jsonl"


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip."""

    name: str
    text: str
    speaker: int
    """Place in `SPEAKERS`."""
    wave: Tensor
    """(S,) int16."""
    hz: Tensor
    """(F,) the fundamental, in a straight line where there is none."""
    voiced: Tensor
    """(F,) bool."""
    row: dict[str, Any]
    """The line of the index, with phonemes and their frames of 25 ms."""
    codes: Tensor | None
    """(N,) where they are known."""

    @property
    def samples(self) -> Tensor:
        """(S,) in [-1, 1]."""
        return self.wave.float() / 32768


def read_clips(folder: Path, split: str, with_codes: bool = False) -> list[Clip]:
    """All clips of a split, in the order in which they were spoken."""
    codes = {row["name"]: row["codes"] for row in read_lines(folder / CODES)}
    rows = [row for row in spoken(folder / INDEX) if row["split"] == split]
    return [_clip(folder, row, codes.get(row["name"])) for row in rows if not with_codes or row["name"] in codes]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that may still grow; none where there is no file."""
    if path.is_file():
        content = path.read_bytes()
        yield from map(json.loads, content[: content.rfind(b"\n") + 1].splitlines())


def _clip(folder: Path, row: dict[str, Any], codes: Sequence[int] | None) -> Clip:
    wave, rate = soundfile.read(folder / "audio" / f"{row['name']}.flac", dtype="float32")
    wave = soxr.resample(wave, rate, MEL.sampling_rate)
    num_codes = len(wave) // CODE_SAMPLES
    wave = wave[: num_codes * CODE_SAMPLES]
    hz, voiced = pitch(np.asarray(row["hz"], np.float32), num_codes * FRAMES_PER_CODE)
    given = None if codes is None else torch.tensor(codes)
    stored = torch.from_numpy((wave * 32767).clip(-32768, 32767).astype(np.int16))
    place = list(SPEAKERS).index(row["speaker"])
    return Clip(row["name"], row["text"], place, stored, hz, voiced, row, given)


def pitch(hz: np.ndarray[Any, Any], num_frames: int) -> tuple[Tensor, Tensor]:
    """Kokoro's fundamental at the mel's frames: Hz (F,), in a straight line over octaves where there is no voice."""
    times = (np.arange(len(hz)) + 0.5) / PITCH_RATE
    wanted = (np.arange(num_frames) + 0.5) * MEL.hop_length / MEL.sampling_rate
    voiced = hz > VOICED_ABOVE
    if not voiced.any():
        return torch.full((num_frames,), 150.0), torch.zeros(num_frames, dtype=torch.bool)
    octaves = np.interp(wanted, times[voiced], np.log2(hz[voiced]))
    near = np.clip(np.round(wanted * PITCH_RATE - 0.5).astype(int), 0, len(hz) - 1)
    return torch.from_numpy(np.exp2(octaves)).float(), torch.from_numpy(voiced[near])
